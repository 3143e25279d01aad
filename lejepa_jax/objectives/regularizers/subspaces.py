"""SIGReg in subspaces: each frozen part of the coordinates must look normal by itself."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive, check_samples
from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.names import null_mean
from lejepa_jax.statistics.normality import Statistic, epps_pulley
from lejepa_jax.statistics.reductions import AxisName


@accept_explicit_axes
def subspace(
    key: PRNGKeyArray,
    embeddings: Float[Array, "*batch n d"],
    *,
    num_subspaces: int = 4,
    seed: int = 0,
    num_slices: int = 1024,
    statistic: Statistic = epps_pulley,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Mean of SIGReg over frozen subspaces that are orthogonal to each other.

    .. math:: \frac1K \sum_k \mathrm{SIGReg}(P_k z), \qquad P_k P_k^\top = I_{d / K}

    The rows of all :math:`P_k` are one random rotation, drawn from `seed` and the same at every
    step: d^2 floats of the compiled program. A slice of a subspace is a slice :math:`P_k^\top u`
    of the whole, so that this is SIGReg along directions that are not uniform on the sphere:
    dependence between subspaces is not seen.

    Over devices goes what the statistic sends for `num_slices` columns: 2 k m + 1 floats for
    `epps_pulley`, which is a function of sums over samples.

    Args:
        key: Random key of the directions, the same on every device; fold the step into it.
        embeddings: Samples on the last axis but one.
        num_subspaces: How many there are, at most as many as features.
        seed: Names the rotation.
        num_slices: Directions over all subspaces, an equal number in each, rounded up.
        statistic: Statistic of one-dimensional samples.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        The mean over slices and leading axes, float32.

    Raises:
        ValueError: If a number is not positive, and as `sigreg` does.

    Examples:
        >>> cloud = jax.random.normal(jax.random.key(0), (512, 16))
        >>> print(f"{subspace(jax.random.key(1), cloud):.0f}")
        1

    References:
        Sub-JEPA, arXiv 2605.09241, 2026.
    """
    check_samples("embeddings", embeddings, mask)
    check_positive("num_slices", num_slices)
    directions = subspace_directions(
        key, embeddings.shape[-1], num_slices, num_subspaces=num_subspaces, seed=seed
    )
    return sigreg(
        key, embeddings, directions=directions, statistic=statistic, mask=mask, axis_name=axis_name
    )


def subspace_directions(
    key: PRNGKeyArray, dim: int, num: int, *, num_subspaces: int = 4, seed: int = 0
) -> Float[Array, "k {dim}"]:
    """Draw directions inside frozen subspaces, an equal number in each.

    Args:
        key: Random key.
        dim: Dimension of the space.
        num: Number of directions, rounded up to a multiple of the number of subspaces.
        num_subspaces: Subspaces, at most `dim`.
        seed: Names the rotation.

    Returns:
        Unit rows, float32.

    Raises:
        ValueError: If a number is not positive.

    Examples:
        >>> subspace_directions(jax.random.key(0), 6, 8, num_subspaces=2).shape
        (8, 6)
    """
    check_positive("num_subspaces", num_subspaces)
    count = min(num_subspaces, dim)
    rotation = jnp.asarray(frozen_rotation(dim, seed))
    parts = np.array_split(np.arange(dim), count)
    share = -(-num // count)
    rows = [
        jnp.matmul(
            unit_directions(jax.random.fold_in(key, index), len(part), share),
            rotation[part[0] : part[-1] + 1],
            precision=lax.Precision.HIGHEST,
        )
        for index, part in enumerate(parts)
    ]
    return jnp.concatenate(rows)


def frozen_rotation(dim: int, seed: int) -> Float[np.ndarray, "{dim} {dim}"]:
    """Draw the rotation whose rows span the subspaces, in NumPy: once, while tracing.

    Args:
        dim: Dimension of the space.
        seed: Names it.

    Returns:
        An orthogonal matrix, uniformly distributed over seeds, float32.

    Examples:
        >>> rotation = frozen_rotation(4, 0)
        >>> bool(np.allclose(rotation @ rotation.T, np.eye(4), atol=1e-6))
        True
    """
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    # QR leaves the signs to the algorithm; only with a positive diagonal of R is Q uniform.
    return (q * np.where(np.diagonal(r) < 0, -1.0, 1.0)).T.astype(np.float32)


def subspace_null_mean(
    num_samples: int, dim: int, *, statistic: Statistic = epps_pulley
) -> float | None:
    """Mean of :func:`subspace` on independent N(0, I) samples: that of its statistic.

    Args:
        num_samples: Samples over all devices.
        dim: Dimension of the embeddings.
        statistic: As in :func:`subspace`.

    Returns:
        The mean, or None where it is not known.

    Examples:
        >>> round(subspace_null_mean(256, 64), 4)
        1.0525
    """
    del num_samples, dim
    return null_mean(statistic)
