"""The distance of sorted columns from normal quantiles: the shape statistic of VISReg."""

import math

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_positive
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.statistics.sorting import SortedColumns, over_sorted_columns, sum_of_valid

# Nodes of integrals over a normal sample.
_NUM_NODES = 240


def quantile_distance(
    projections: Float[Array, "*batch n k"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Squared Wasserstein distance of each column from the quantiles of N(0, 1).

    .. math:: \frac1n \sum_i \left(x_{(i)} - \Phi^{-1}\left(\tfrac i{n + 1}\right)\right)^2

    without a factor n: the null mean falls a little slower than 1/n, see
    :func:`quantile_distance_null_mean`. Blind to nothing; the gradient of an outlier grows
    linearly, and does not vanish as the sample narrows.

    Args:
        projections: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded. The devices swap rows for
            columns: n k floats, divided by the number of devices.

    Returns:
        One value a column, float32.

    Raises:
        ValueError: For a wrong rank, an empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> print(f"{quantile_distance(jnp.array([[-1.0], [0.0], [1.0]]))[0]:.4f}")
        0.0706

    References:
        H. Wu, R. Balestriero, M. Levine, VISReg, arXiv 2606.02572, 2026.
    """

    def statistic(columns: SortedColumns) -> Array:
        n, rank = columns.count, columns.rank
        # By the nearer end, so that the upper tail is as exact as the lower one.
        from_end = jnp.where(columns.valid, jnp.minimum(rank, n + 1 - rank), 1)
        side = jnp.where(columns.valid, jnp.sign(2 * rank - n - 1), 0)
        wanted = -side * ndtri(from_end / (n + 1))
        squared = jnp.square(columns.values - wanted)
        return (sum_of_valid(columns, squared) / n)[..., 0, :]

    return over_sorted_columns(statistic, projections, mask=mask, axis_name=axis_name)


def quantile_distance_null_mean(num_samples: int) -> float:
    r"""Mean of :func:`quantile_distance` when the samples are N(0, 1).

    .. math:: 1 - \frac2n \sum_i q_i\, E\, x_{(i)} + \frac1n \sum_i q_i^2,
        \qquad q_i = \Phi^{-1}\left(\tfrac i{n+1}\right)

    Args:
        num_samples: Samples over all devices.

    Returns:
        The mean.

    Raises:
        ValueError: If `num_samples` is not positive.

    Examples:
        >>> round(quantile_distance_null_mean(256), 4)
        0.0118
    """
    squares, products = quantile_moments(num_samples)
    return 1 - 2 * products + squares


def quantile_moments(num_samples: int) -> tuple[float, float]:
    r"""Return :math:`\frac1n \sum_i q_i^2` and :math:`\frac1n \sum_i q_i\, E\, x_{(i)}`.

    The second is an integral: a sample at x has, by the binomial law, rank i with probability
    :math:`b_i(\Phi(x))`, so that it is :math:`\int x\, \varphi(x) \sum_i q_i\, b_i(\Phi(x))\, dx`.

    Args:
        num_samples: Samples over all devices.

    Returns:
        Both, in float64.

    Raises:
        ValueError: If `num_samples` is not positive.
    """
    from scipy import special, stats  # takes longer to import than jax

    check_positive("num_samples", num_samples)
    n = num_samples
    q = special.ndtri(np.arange(1, n + 1) / (n + 1))
    nodes, weights = np.polynomial.legendre.leggauss(_NUM_NODES)
    x, weights = 8.5 * nodes, 8.5 * weights
    density = np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi)
    ranks = np.arange(n)
    expected = [q @ stats.binom.pmf(ranks, n - 1, special.ndtr(at)) for at in x]
    return float(np.square(q).mean()), float((weights * x * density) @ np.array(expected))
