"""Statistics of the empirical distribution function: Anderson-Darling, Cramer-von Mises, Watson.

All compare the sorted sample with N(0, 1) itself (no parameter is fitted), grow like n off the null
and have a null mean that depends on no n.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lejepa_jax.statistics.normal import log_normal_cdf, normal_cdf
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.statistics.sorting import SortedColumns, over_sorted_columns, sum_of_valid

_LOG_GLAISHER = 0.2487544770337843


def anderson_darling(
    projections: Float[Array, "*batch n k"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Anderson-Darling distance of each column from N(0, 1).

    .. math:: A^2 = n \int \frac{(F_n - \Phi)^2}{\Phi (1 - \Phi)}\, d\Phi
        = -n - \frac1n \sum_i (2i - 1) \left[\log \Phi(x_{(i)}) + \log \Phi(-x_{(n+1-i)})\right]

    Null mean 1 for every n; critical values 2.492 (5 %) and 3.857 (1 %). The weight makes it the
    distance of this family that sees tails best; the gradient of an outlier grows linearly with its
    distance. Blind to nothing, but slow to see what moves the center of the distribution little,
    such as narrow peaks.

    Args:
        projections: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded. The devices swap rows for
            columns.

    Returns:
        One value a column, float32.

    Raises:
        ValueError: For a wrong rank, an empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{anderson_darling(column)[0]:.4f}")
        0.5015

    References:
        T. W. Anderson, D. A. Darling, A test of goodness of fit, JASA 49, 1954. R. Balestriero,
        Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 4.2.2.
    """

    def statistic(columns: SortedColumns) -> Array:
        # With p_i = (2i - 1) / 2n this is twice the sum of the Kullback-Leibler divergences of
        # coins, p_i from Phi(x_i), plus what is left at Phi(x_i) = p_i. Every term is positive, and
        # no two numbers of size n are subtracted, which in float32 would cost the third digit.
        p, q = _midpoints(columns)
        divergence = p * (jnp.log(p) - log_normal_cdf(columns.values))
        divergence += q * (jnp.log(q) - log_normal_cdf(-columns.values))
        n = columns.count
        # log of the product of (2i - 1)^(2i - 1), by the expansion of the hyperfactorial.
        rest = jnp.log(n / 2) / 12 + _LOG_GLAISHER + 7 / (2880 * n**2) - 31 / (80640 * n**4)
        return (2 * sum_of_valid(columns, divergence) + 2 * rest / n)[..., 0, :]

    return over_sorted_columns(statistic, projections, mask=mask, axis_name=axis_name)


def cramer_von_mises(
    projections: Float[Array, "*batch n k"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Cramer-von Mises distance of each column from N(0, 1).

    .. math:: W^2 = n \int (F_n - \Phi)^2\, d\Phi
        = \frac1{12 n} + \sum_i \left[\Phi(x_{(i)}) - \frac{2i - 1}{2n}\right]^2

    Null mean 1/6 for every n; critical values 0.461 (5 %) and 0.743 (1 %). Nearly blind to tails:
    there the gradient, a normal density, vanishes. Published code of LeJEPA returns
    :math:`(W^2 - 1/12n)/n`.

    Args:
        projections: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded. The devices swap rows for
            columns.

    Returns:
        One value a column, float32.

    Raises:
        ValueError: For a wrong rank, an empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{cramer_von_mises(column)[0]:.4f}")
        0.0713

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 4.2.2. Tables: M. A.
        Stephens, EDF statistics for goodness of fit and some comparisons, JASA 69, 1974.
    """

    def statistic(columns: SortedColumns) -> Array:
        return _cramer_von_mises(columns)[..., 0, :]

    return over_sorted_columns(statistic, projections, mask=mask, axis_name=axis_name)


def watson(
    projections: Float[Array, "*batch n k"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Watson distance of each column from N(0, 1).

    .. math:: U^2 = W^2 - n \left(\tfrac1n \textstyle\sum_i \Phi(x_i) - \tfrac12\right)^2

    Cramer-von Mises without the mean of the ranks. Null mean 1/12 for every n; critical values
    0.187 (5 %) and 0.268 (1 %). Insensitive to small shifts, sensitive to scale, nearly blind to
    tails.

    Args:
        projections: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded. The devices swap rows for
            columns.

    Returns:
        One value a column, float32.

    Raises:
        ValueError: For a wrong rank, an empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{watson(column)[0]:.4f}")
        0.0217

    References:
        G. S. Watson, Goodness-of-fit tests on a circle, Biometrika 48, 1961. R. Balestriero,
        Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 4.2.2.
    """

    def statistic(columns: SortedColumns) -> Array:
        mean = sum_of_valid(columns, normal_cdf(columns.values) - 0.5) / columns.count
        return (_cramer_von_mises(columns) - columns.count * jnp.square(mean))[..., 0, :]

    return over_sorted_columns(statistic, projections, mask=mask, axis_name=axis_name)


def _midpoints(columns: SortedColumns) -> tuple[Array, Array]:
    """Return (2i - 1) / 2n and its complement, one half where no sample is."""
    p = (columns.rank - 0.5) / columns.count
    q = (columns.count - columns.rank + 0.5) / columns.count
    return jnp.where(columns.valid, p, 0.5), jnp.where(columns.valid, q, 0.5)


def _cramer_von_mises(columns: SortedColumns) -> Array:
    p, _ = _midpoints(columns)
    return 1 / (12 * columns.count) + sum_of_valid(
        columns, jnp.square(normal_cdf(columns.values) - p)
    )
