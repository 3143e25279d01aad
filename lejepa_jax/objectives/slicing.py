"""SIGReg: sketched isotropic Gaussian regularization."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive, check_samples
from lejepa_jax.objectives.directions import DirectionSampler, unit_directions
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.normality import Statistic, epps_pulley
from lejepa_jax.statistics.reductions import AxisName

# Fewer samples than the first, in a batch with a leading axis of the second or more: a slip.
_FEW_SAMPLES, _MANY_LEADING = 8, 32


@accept_explicit_axes
def slice_statistics(
    embeddings: Float[Array, "*batch n d"],
    directions: Float[Array, "k d"],
    *,
    statistic: Statistic = epps_pulley,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    """Evaluate a normality statistic on the projections along each direction.

    Args:
        embeddings: Samples on the last axis but one; leading axes are separate samples.
        directions: Unit rows.
        statistic: Statistic of one-dimensional samples.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        One value a slice, float32.

    Raises:
        ValueError: For directions of another width, and as the statistic does.

    Examples:
        >>> points = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.1], [0.0, -0.1]])
        >>> print([f"{value:.2f}" for value in slice_statistics(points, jnp.eye(2))])
        ['0.15', '1.58']

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Definition 2.
    """
    check_samples("embeddings", embeddings, mask)
    if directions.ndim != 2 or directions.shape[1] != embeddings.shape[-1]:
        raise ValueError(
            f"directions must have shape (k, {embeddings.shape[-1]}) for embeddings of shape "
            f"{embeddings.shape}, got {directions.shape}"
        )
    # In bfloat16 the projections would carry errors of the size of the statistic's null spread.
    projections = jnp.matmul(
        embeddings.astype(jnp.float32),
        directions.astype(jnp.float32).T,
        precision=lax.Precision.HIGHEST,
    )
    return statistic(projections, mask=mask, axis_name=axis_name)


@accept_explicit_axes
def sigreg(
    key: PRNGKeyArray,
    embeddings: Float[Array, "*batch n d"],
    *,
    num_slices: int = 1024,
    statistic: Statistic = epps_pulley,
    directions: DirectionSampler | Float[Array, "k d"] = unit_directions,
    pool: bool = False,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Mean of a normality statistic over random slices of a cloud of embeddings.

    .. math:: \mathrm{SIGReg} = \frac1{|A|} \sum_{a \in A} T(\{a^\top z_j\}_j)

    Leading axes (views) are tested separately and averaged. At N(0, I) the value is the null mean
    of the statistic (about 1.05 for `epps_pulley`), not 0. At exact collapse, all embeddings equal
    to 0, the gradient is 0: start from a cloud that is not a point.

    Args:
        key: Random key of the directions, the same on every device; fold the step into it.
        embeddings: Samples on the last axis but one, in any floating dtype.
        num_slices: Number of random directions.
        statistic: Statistic of one-dimensional samples. For `jax.jvp` and `jax.jacfwd` take
            `functools.partial(epps_pulley, derivatives="all")`.
        directions: What draws the directions (see :mod:`lejepa_jax.objectives.directions`), or
            unit rows to slice along; `key` and `num_slices` are then unused.
        pool: Test all leading axes as one sample. The views of an image are no independent
            samples: pooled, even a perfect cloud scores up to as many times the null mean as there
            are views, so that agreement between views costs.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded. The value is then that of the
            global sample, the same on every device. Take the gradient inside the mapped function
            and average it with `jax.lax.pmean` once, at the end of the step.

    Returns:
        The mean over slices and leading axes, float32.

    Raises:
        ValueError: If `num_slices` is not positive, and as :func:`slice_statistics` does.

    Warns:
        UserWarning: If there are fewer than 8 samples beside a leading axis of 32 or more: the axes
            must be confused.

    Examples:
        >>> key, sample_key = jax.random.split(jax.random.key(0))
        >>> cloud = jax.random.normal(sample_key, (512, 16))
        >>> print(f"round {sigreg(key, cloud):.1f}, too wide {sigreg(key, 3 * cloud):.0f}")
        round 1.5, too wide 264

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Definition 2 and Algorithm 1.
    """
    check_samples("embeddings", embeddings, mask)
    if not isinstance(directions, (jax.Array, np.ndarray)):
        check_positive("num_slices", num_slices)
        directions = directions(key, embeddings.shape[-1], num_slices)
    if pool:
        embeddings = embeddings.reshape(-1, embeddings.shape[-1])
        mask = None if mask is None else mask.reshape(-1)
    else:
        _warn_of_transposed_axes(embeddings, axis_name)
    return slice_statistics(
        embeddings, directions, statistic=statistic, mask=mask, axis_name=axis_name
    ).mean()


def _warn_of_transposed_axes(embeddings: jax.Array, axis_name: AxisName | None) -> None:
    """Warn where samples are so few, and leading axes so long, that they must be confused."""
    *leading, num_samples, _ = embeddings.shape
    num_samples *= 1 if axis_name is None else lax.axis_size(axis_name)
    if num_samples >= _FEW_SAMPLES or max(leading, default=1) < _MANY_LEADING:
        return
    warnings.warn(
        f"embeddings of shape {embeddings.shape} are {math.prod(leading)} samples of {num_samples} "
        "rows, each tested on its own: the axis of samples is the last but one. For views on that "
        "axis, pass jnp.swapaxes(embeddings, 0, -2); to test all rows as one sample, pool=True "
        "(pool_views=True)",
        stacklevel=3,
    )
