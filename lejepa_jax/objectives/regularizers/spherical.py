"""SIGReg on a sphere: embeddings of one length, slices against the sphere's own marginal."""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_samples
from lejepa_jax.objectives.directions import DirectionSampler, unit_directions
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.normality import epps_pulley, epps_pulley_null_mean
from lejepa_jax.statistics.reductions import AxisName, masked_rows
from lejepa_jax.statistics.targets import sphere_target

# Shorter vectors than this are only scaled: their direction is rounding.
_SHORTEST = 1e-12


def to_sphere(embeddings: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    r"""Normalize embeddings to the sphere of radius :math:`\sqrt d`.

    .. math:: \sqrt d\, \frac z{\max(\|z\|, 10^{-12})}

    Args:
        embeddings: Vectors on the last axis.

    Returns:
        Vectors of mean square 1, float32; 0 stays 0, with a finite gradient.

    Examples:
        >>> print(jnp.linalg.norm(to_sphere(jnp.array([3.0, 4.0]))).round(3))
        1.414
    """
    z = embeddings.astype(jnp.float32)
    squared = jnp.square(z).sum(-1, keepdims=True)
    long = squared > _SHORTEST**2
    length = jnp.where(long, jnp.sqrt(jnp.where(long, squared, 1)), _SHORTEST)
    return math.sqrt(z.shape[-1]) * z / length


@accept_explicit_axes
def sphere(
    key: PRNGKeyArray,
    embeddings: Float[Array, "*batch n d"],
    *,
    num_slices: int = 1024,
    directions: DirectionSampler | Float[Array, "k d"] = unit_directions,
    t_max: float = 3.0,
    num_knots: int = 17,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""SIGReg of normalized embeddings against the uniform law on the sphere.

    .. math:: \frac1{|A|} \sum_{a \in A} \mathrm{EP}\left(\{a^\top \hat z_i\}_i,\;
        \text{marginal of the sphere}\right), \qquad \hat z = \sqrt d\, z / \|z\|

    The length of embeddings is free, and the loss compares normalized ones: the projector ends in
    :func:`to_sphere`. Slices have the law of a coordinate of the sphere (`sphere_target`), which is
    not normal in few dimensions.

    Over devices go 2 k m + 1 floats, whatever n and d are. A function of sums over samples.

    Args:
        key: Random key of the directions, the same on every device; fold the step into it.
        embeddings: Samples on the last axis but one, of any length.
        num_slices: Number of random directions.
        directions: What draws the directions, or unit rows.
        t_max: Largest frequency, see `epps_pulley`.
        num_knots: Knots on `[0, t_max]`.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        The mean over slices and leading axes, float32.

    Raises:
        ValueError: As `sigreg` and `epps_pulley` do.

    Examples:
        >>> import jax
        >>> cloud = jax.random.normal(jax.random.key(0), (512, 16))
        >>> value = sphere(jax.random.key(1), 100 * cloud)
        >>> print(f"{value:.1f}, null mean {sphere_null_mean(512, 16):.1f}")
        0.8, null mean 1.1

    References:
        SPHERE-JEPA, arXiv 2605.26900, 2026.
    """
    check_samples("embeddings", embeddings, mask)
    statistic = functools.partial(
        epps_pulley, t_max=t_max, num_knots=num_knots, target=_marginal(embeddings.shape[-1])
    )
    return sigreg(
        key,
        to_sphere(masked_rows(embeddings, mask)),
        num_slices=num_slices,
        statistic=statistic,
        directions=directions,
        mask=mask,
        axis_name=axis_name,
    )


def sphere_null_mean(
    num_samples: int, dim: int, *, t_max: float = 3.0, num_knots: int = 17
) -> float:
    """Mean of :func:`sphere` on samples of the uniform law, or of N(0, I), for any number of them.

    Args:
        num_samples: Samples over all devices; it does not matter.
        dim: Dimension of the embeddings.
        t_max: As in :func:`sphere`.
        num_knots: As in :func:`sphere`.

    Returns:
        The mean; exact but in one dimension, where slices have both signs and nothing else.

    Examples:
        >>> round(sphere_null_mean(256, 64), 3)
        1.056
    """
    del num_samples
    return epps_pulley_null_mean(t_max=t_max, num_knots=num_knots, target=_marginal(dim))


def _marginal(dim: int):
    # In one dimension the sphere is two points.
    return functools.partial(sphere_target, dim=dim) if dim > 1 else np.cos
