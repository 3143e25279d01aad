"""Statistics of single order statistics: Shapiro-Wilk, Vasicek entropy, their likelihood."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, ndtri
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.statistics.normal import log_normal_cdf
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.statistics.sorting import SortedColumns, over_sorted_columns, sum_of_valid

Positions = Literal["elfving", "blom", "rahman"]
Covariance = Literal["francia", "rahman"]

_HALF_LOG_2PI = 0.9189385332046727


def shapiro_wilk(
    projections: Float[Array, "*batch n k"],
    *,
    positions: Positions = "elfving",
    covariance: Covariance = "francia",
    center: bool = True,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Angle between the sorted column and the expected normal order statistics.

    .. math:: 1 - \frac{a^\top x_{(\cdot)}}{\|a\|\, \|x - \bar x\|}, \qquad a = V^{-1} m, \quad
        m_i = \Phi^{-1}(p_i)

    that is :math:`1 - \sqrt W`, between 0 and 1, without a factor n: the null mean falls, roughly
    like :math:`\log n / n`. Blind to scale; blind to location when centered. The gradient is that
    of an angle: it vanishes as the sample widens.

    Args:
        projections: Samples on the last axis but one.
        positions: Plotting positions: `elfving` :math:`(i - \pi/8)/(n + 1 - \pi/4)`, `blom`
            :math:`(i - 3/8)/(n + 1/4)`, `rahman` :math:`i/(n + 1)`.
        covariance: Of the order statistics: `francia` takes V as the identity (the Shapiro-Francia
            statistic), `rahman` the asymptotic :math:`V^{-1}`, tridiagonal, of Rahman and
            Govindarajulu.
        center: Subtract the mean. Published code of LeJEPA does not, so that it also sees shifts.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded. The devices swap rows for
            columns.

    Returns:
        One value a column, float32; 1 where all samples are equal.

    Raises:
        ValueError: For an unknown choice, a wrong rank, an empty axis, a mask of another shape, an
            integer dtype.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{shapiro_wilk(column)[0]:.4f}")
        0.0018

    References:
        S. S. Shapiro, M. B. Wilk, An analysis of variance test for normality, Biometrika 52, 1965.
        M. M. Rahman, Z. Govindarajulu, A modification of the test of Shapiro and Wilk for
        normality, Journal of Applied Statistics 24, 1997. R. Balestriero, Y. LeCun, LeJEPA, arXiv
        2511.08544, 2025, Section 4.2.2 and Appendix E.
    """
    check_choice("positions", positions, ("elfving", "blom", "rahman"))
    check_choice("covariance", covariance, ("francia", "rahman"))
    # (i - offset) / (n + 1 - 2 offset) is antisymmetric about the median. The published code has
    # n + 1/4 below Elfving's i - pi/8, which is not.
    offset = {"elfving": np.pi / 8, "blom": 3 / 8, "rahman": 0.0}[positions]

    def statistic(columns: SortedColumns) -> Array:
        weights = _weights(columns, offset, covariance)
        x = columns.values
        if center:
            mean = sum_of_valid(columns, x) / columns.count
            x = jnp.where(columns.valid, x - mean, 0)
        direction, not_zero = _unit(x)
        # Half the squared chord, and not 1 - cosine: exact where the two nearly agree.
        chord = jnp.square(direction - weights).sum(-2) / 2
        return jnp.where(not_zero[..., 0, :], chord, 1.0)

    return over_sorted_columns(statistic, projections, mask=mask, axis_name=axis_name)


def vasicek_entropy(
    projections: Float[Array, "*batch n k"],
    *,
    window: int = 8,
    standardize: bool = True,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Entropy that each column lacks, by Vasicek's estimator.

    .. math:: \log\left(\hat\sigma \sqrt{2 \pi e}\right) - \frac1n \sum_i
        \log \frac{n}{2 w} \left(x_{(i + w)} - x_{(i - w)}\right)

    where ranks beyond the ends are the ends. In nats, no factor n: the null mean falls to 0 when
    the window grows like the square root of n, and stays near 0.27 at a window of 1. Blind to
    location and scale, unless not standardized; blind to structure finer than the window.

    Args:
        projections: Samples on the last axis but one.
        window: Ranks to either side, well below half the sample; the square root of n is a good
            choice.
        standardize: Compare with the normal distribution of the same mean and variance. Otherwise
            with N(0, 1): the first term is then :math:`\tfrac12 \log 2 \pi + \tfrac12
            \overline{x^2}`, and the value estimates the Kullback-Leibler divergence from it.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded. The devices swap rows for
            columns.

    Returns:
        One value a column, float32. Spacings below 1e-5 of the largest absolute value (ties) count
        as that and pull no more.

    Raises:
        ValueError: If `window` is below 1; for a wrong rank, an empty axis, a mask of another
            shape, an integer dtype.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{vasicek_entropy(column, window=2)[0]:.4f}")
        0.3320

    References:
        O. Vasicek, A test for normality based on sample entropy, JRSS B 38, 1976.
    """
    check_positive("window", window)

    def statistic(columns: SortedColumns) -> Array:
        n = columns.count
        top = jnp.where(columns.rank == n, columns.values, 0).sum(-2, keepdims=True)
        x = jnp.where(columns.valid, columns.values, top)
        padding = [(0, 0)] * (x.ndim - 2) + [(window, window), (0, 0)]
        padded = jnp.pad(x, padding, mode="edge")
        spacing = padded[..., 2 * window :, :] - padded[..., : -2 * window, :]
        size = jax.lax.stop_gradient(jnp.abs(x).max(-2, keepdims=True))
        floor = 1e-5 * jnp.maximum(size, 1e-10)
        log_spacing = jnp.log(jnp.maximum(spacing, floor))
        entropy = sum_of_valid(columns, log_spacing) / n + jnp.log(n / (2 * window))
        if standardize:
            mean = sum_of_valid(columns, x) / n
            variance = sum_of_valid(columns, jnp.square(x - mean)) / n
            normal = _HALF_LOG_2PI + 0.5 + 0.5 * jnp.log(jnp.maximum(variance, floor**2))
        else:
            normal = _HALF_LOG_2PI + 0.5 * sum_of_valid(columns, jnp.square(x)) / n
        return (normal - entropy)[..., 0, :]

    return over_sorted_columns(statistic, projections, mask=mask, axis_name=axis_name)


def order_statistic_nll(
    projections: Float[Array, "*batch n k"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Mean negative log-likelihood of the order statistics of each column under N(0, 1).

    .. math:: -\frac1n \sum_i \log \left[\frac{n!}{(i-1)!\,(n-i)!}\, \Phi(x_{(i)})^{i-1}
        \left(1 - \Phi(x_{(i)})\right)^{n-i} \varphi(x_{(i)})\right]

    each order statistic by its own density, as if they were independent. The null mean is no
    constant but known for every n, see :func:`order_statistic_nll_null_mean`; what exceeds it grows
    like n off the null. Blind to nothing; the gradient of an outlier grows linearly.

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
        >>> print(f"{order_statistic_nll(column)[0]:.4f}")
        0.5103

    References:
        H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed., 2003, Equation 2.1.6. The numerical
        form: C. Loader, Fast and accurate computation of binomial probabilities, 2000.
    """

    def statistic(columns: SortedColumns) -> Array:
        # The factorials and powers are n times the binomial probability of i - 1 successes in n - 1
        # trials. Written as its value at the best rate p and the divergence of Phi from p, nothing
        # of size n log n cancels.
        x, n = columns.values, columns.count
        below = jnp.where(columns.valid, columns.rank - 1, 0)
        above = jnp.where(columns.valid, n - columns.rank, 0)
        trials = jnp.maximum(n - 1, 1)
        divergence = _times_log(below, below / trials, log_normal_cdf(x))
        divergence += _times_log(above, above / trials, log_normal_cdf(-x))
        inner = (below > 0) & (above > 0)
        spread = jnp.where(inner, below * above, 1) / trials
        best = _stirling_error(trials) - _stirling_error(below) - _stirling_error(above)
        best = jnp.where(inner, best - 0.5 * jnp.log(spread) - _HALF_LOG_2PI, 0)
        nll = divergence - best + 0.5 * jnp.square(x) + _HALF_LOG_2PI
        return (sum_of_valid(columns, nll) / n - jnp.log(n))[..., 0, :]

    return over_sorted_columns(statistic, projections, mask=mask, axis_name=axis_name)


def order_statistic_nll_null_mean(num_samples: int) -> float:
    r"""Mean of :func:`order_statistic_nll` when the samples are N(0, 1).

    .. math:: \tfrac12 \log 2 \pi e + \frac{n - 1}2 - \log n
        - \frac1n \sum_{i=1}^n \log \binom{n-1}{i-1}

    since a random order statistic is a random sample, and its rank binomial.

    Args:
        num_samples: Samples over all devices.

    Returns:
        The value at which normal samples settle; it falls like half the logarithm of n.

    Raises:
        ValueError: If `num_samples` is not positive.

    Examples:
        >>> round(order_statistic_nll_null_mean(256), 3)
        -0.94
    """
    check_positive("num_samples", num_samples)
    n = num_samples
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n)))])
    binomials = log_factorials[-1] - 2 * log_factorials.mean()
    return float(_HALF_LOG_2PI + n / 2 - np.log(n) - binomials)


def _weights(columns: SortedColumns, offset: float, covariance: Covariance) -> jax.Array:
    """Unit vectors of the expected order statistics, 0 where no sample is."""
    n, rank = columns.count, columns.rank
    # By the nearer end, so that the upper tail is as exact as the lower one.
    from_end = jnp.where(columns.valid, jnp.minimum(rank, n + 1 - rank), 1)
    side = jnp.where(columns.valid, jnp.sign(2 * rank - n - 1), 0)
    step = 1 / (n + 1 - 2 * offset)
    m = -side * ndtri((from_end - offset) * step)
    if covariance == "rahman":
        # V^-1 m is a second difference of g = m phi(m), itself about step^2 small: where the
        # density is high, float32 wants the expansion of the difference.
        density = jnp.where(columns.valid, jnp.exp(-jnp.square(m) / 2 - _HALF_LOG_2PI), 0)
        g = m * density
        ends = [(0, 0)] * (g.ndim - 2) + [(1, 1), (0, 0)]
        padded = jnp.pad(g, ends)
        difference = density * (2 * g - padded[..., 2:, :] - padded[..., :-2, :])
        ratio = step / jnp.where(columns.valid, density, 1)
        expansion = 2 * step**2 * m * (1 + jnp.square(ratio) * (2 + jnp.square(m)) / 6)
        m = jnp.where(ratio < 1 / 20, expansion, difference)
    return _unit(m)[0]


def _unit(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Divide by the norm over samples; zero vectors stay zero, and the second value is False."""
    # By the largest entry first: squares of tiny samples would underflow.
    size = jax.lax.stop_gradient(jnp.abs(x).max(-2, keepdims=True))
    not_zero = size > 0
    x = x / jnp.where(not_zero, size, 1)
    squared = jnp.square(x).sum(-2, keepdims=True)
    return x * jax.lax.rsqrt(jnp.where(not_zero, squared, 1)), not_zero


def _times_log(weight: jax.Array, p: jax.Array, log_q: jax.Array) -> jax.Array:
    """Evaluate `weight * log(p / q)`, 0 where the weight is."""
    return jnp.where(weight > 0, weight * (jnp.log(jnp.where(weight > 0, p, 1)) - log_q), 0)


def _stirling_error(n: jax.Array) -> jax.Array:
    """Evaluate log n! minus Stirling's formula (n + 1/2) log n - n + log(2 pi)/2."""
    small = jnp.clip(n, 1, 16)
    exact = gammaln(small + 1) - (small + 0.5) * jnp.log(small) + small - _HALF_LOG_2PI
    large = jnp.maximum(n, 16)
    series = (1 - 1 / (30 * large**2)) / (12 * large)
    return jnp.where(n < 16, exact, series)
