r"""Statistics of the distance of a whole cloud from N(0, I), without slices.

All look at pairs of samples: time is quadratic in n, memory linear (rows are handled in blocks).
Sharded over devices, each handles the pairs of its own rows with all samples. All carry the factor
n (n^1/2 for :func:`comb`) of the literature and test N(0, I) itself: for tests that no affine map
changes, whiten the cloud first (:func:`lejepa_jax.diagnostics.covariance.whiten`).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_positive, check_samples
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.reductions import AxisName, masked_rows, over_devices, sample_count

# Pairs are formed for this many rows at once.
_BLOCK_ROWS = 256


def bhep(
    samples: Float[Array, "n d"],
    *,
    beta: float = 1.0,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Baringhaus-Henze-Epps-Pulley distance of a cloud from N(0, I).

    .. math:: n \int \left|\hat\varphi(t) - e^{-\|t\|^2/2}\right|^2 N(t; 0, \beta^2 I)\, dt
        = n \left[\overline{e^{-\beta^2 \|x_j - x_k\|^2 / 2}}
        - 2 (1 + \beta^2)^{-d/2}\, \overline{e^{-\beta^2 \|x_j\|^2 / 2 (1 + \beta^2)}}
        + (1 + 2 \beta^2)^{-d/2}\right]

    Null mean :math:`1 - (1 + 2\beta^2)^{-d/2}` for every n. In one dimension, beta 1, it is
    Epps-Pulley divided by :math:`\sqrt{2\pi}`. A large beta sees fine structure, a small one low
    moments; in many dimensions every kernel of fixed beta goes blind, all distances being alike.

    Args:
        samples: One sample a row.
        beta: Width of the window over frequencies.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; the samples cross devices.

    Returns:
        The statistic, float32. Published code of LeJEPA leaves the factor n out.

    Raises:
        ValueError: If `beta` is not positive; for a wrong rank, dtype or mask.

    Examples:
        >>> points = jnp.array([[0.5, -1], [1.2, 0.3], [-0.7, 0.8], [-1.1, 1.5]])
        >>> print(f"{bhep(points):.4f}")
        0.4181

    References:
        N. Henze, T. Wagner, A new approach to the BHEP tests for multivariate normality, Journal of
        Multivariate Analysis 62, 1997. R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025,
        Appendix F.
    """
    check_positive("beta", beta)
    return _bhep(samples, np.float64(beta), mask, axis_name)


@accept_explicit_axes
def henze_zirkler(
    samples: Float[Array, "n d"],
    *,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Henze-Zirkler distance of a cloud from N(0, I).

    :func:`bhep` with :math:`\beta = 2^{-1/2} \left(\tfrac{(2d + 1) n}4\right)^{1/(d+4)}`, which is
    the bandwidth of an optimal density estimate: a wider window for larger samples. Null mean
    :math:`1 - (1 + 2\beta^2)^{-d/2}`.

    Args:
        samples: One sample a row.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; the samples cross devices.

    Returns:
        The statistic, float32. Published code of LeJEPA leaves the factor n out.

    Raises:
        ValueError: For a wrong rank, dtype or mask.

    Examples:
        >>> points = jnp.array([[0.5, -1], [1.2, 0.3], [-0.7, 0.8], [-1.1, 1.5]])
        >>> print(f"{henze_zirkler(points):.4f}")
        0.3721

    References:
        N. Henze, B. Zirkler, A class of invariant consistent tests for multivariate normality,
        Communications in Statistics 19, 1990.
    """
    _check(samples, mask)
    d = samples.shape[1]
    count = sample_count(samples.shape[:1], mask=mask, axis_name=axis_name)
    beta = 2**-0.5 * ((2 * d + 1) * count / 4) ** (1 / (d + 4))
    return _bhep(samples, beta, mask, axis_name)


@accept_explicit_axes
def henze_visagie(
    samples: Float[Array, "n d"],
    *,
    gamma: float = 5.0,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Henze-Visagie distance of a cloud from N(0, I), by the moment generating function.

    .. math:: n \int \left\|\nabla \hat M(t) - t \hat M(t)\right\|^2 w(t)\, dt = \frac1n \sum_{jk}
        e^{\|s\|^2 / 4\gamma} \left(x_j \cdot x_k - \frac{\|s\|^2}{2\gamma} + \frac d{2\gamma}
        + \frac{\|s\|^2}{4\gamma^2}\right), \qquad s = x_j + x_k

    since :math:`\nabla M = t M` singles out the normal law. Null mean
    :math:`\left(\frac\gamma{\gamma - 2}\right)^{d/2} \left(d + \frac d{2 (\gamma - 2)}\right)`,
    infinite up to gamma 2. Sees tails and skewness above all. The exponentials leave float32 beyond
    :math:`\|x\|^2 \approx 88 \gamma`: choose gamma like d in many dimensions, or standardize.

    Args:
        samples: One sample a row.
        gamma: Decay of the window :math:`w = N(0, I / 2 \gamma)`. It is a probability density here;
            the textbook's :math:`e^{-\gamma \|t\|^2}` multiplies all by :math:`(\pi/\gamma)^{d/2}`,
            which in many dimensions is 0 or infinity in float32.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; the samples cross devices.

    Returns:
        The statistic, float32.

    Raises:
        ValueError: If `gamma` is not positive; for a wrong rank, dtype or mask.

    Examples:
        >>> points = jnp.array([[0.5, -1], [1.2, 0.3], [-0.7, 0.8], [-1.1, 1.5]])
        >>> print(f"{henze_visagie(points, gamma=3.0):.4f}")
        1.5157

    References:
        N. Henze, J. Visagie, Testing for normality in any dimension based on a partial differential
        equation involving the moment generating function, Annals of the Institute of Statistical
        Mathematics 72, 2020. R. Balestriero, Y. LeCun, LeJEPA, 2025, Appendix F.
    """
    check_positive("gamma", gamma)
    _check(samples, mask)
    d = samples.shape[1]

    def term(pair: _Pair) -> Array:
        s = pair.row + pair.column + 2 * pair.inner
        polynomial = pair.inner - s / (2 * gamma) + d / (2 * gamma) + s / (4 * gamma**2)
        return jnp.exp(s / (4 * gamma)) * polynomial

    mean, count = _mean_over_pairs(term, samples, mask, axis_name)
    return count * mean


@accept_explicit_axes
def bhep_mgf(
    samples: Float[Array, "n d"],
    *,
    beta: float = 10.0,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Distance of the moment generating function of a cloud from that of N(0, I).

    .. math:: n \int \left(\hat M(t) - e^{\|t\|^2/2}\right)^2 w(t)\, dt = n \left[
        \overline{e^{\|x_j + x_k\|^2 / 4 \beta}}
        - 2 \left(\tfrac\beta{\beta - 1/2}\right)^{d/2} \overline{e^{\|x_j\|^2 / (4\beta - 2)}}
        + \left(\tfrac\beta{\beta - 1}\right)^{d/2} \right]

    Null mean :math:`(1 - 2/\beta)^{-d/2} - (1 - 1/\beta)^{-d/2}`, infinite up to beta 2. Sees
    location, scale and tails above all; a large beta leaves the lowest moments only. Float32 ends
    as for :func:`henze_visagie`.

    Args:
        samples: One sample a row.
        beta: Decay of the window :math:`w = N(0, I / 2 \beta)`, above 1; the window is a
            probability density, as in :func:`henze_visagie`.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; the samples cross devices.

    Returns:
        The statistic, float32. Published code of LeJEPA lacks the last term.

    Raises:
        ValueError: If `beta` is not above 1; for a wrong rank, dtype or mask.

    Examples:
        >>> points = jnp.array([[0.5, -1], [1.2, 0.3], [-0.7, 0.8], [-1.1, 1.5]])
        >>> print(f"{bhep_mgf(points):.4f}")
        0.0427

    References:
        N. Henze, M. D. Jimenez-Gamero, A class of tests for multinormality with i.i.d. and GARCH
        data based on the empirical moment generating function, TEST 28, 2019. R. Balestriero,
        Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Appendix F.
    """
    if not beta > 1:
        raise ValueError(f"beta must be above 1, got {beta}")
    _check(samples, mask)
    half_dim = samples.shape[1] / 2
    log_single, log_target = (half_dim * math.log(beta / (beta - c)) for c in (0.5, 1.0))
    # All terms less 1: with a large beta they are near it, and nearly cancel.
    constant = math.expm1(log_target) - 2 * math.expm1(log_single)

    def feature(squared: Array) -> Array:
        return math.exp(log_single) * _expm1(squared / (4 * beta - 2))

    def term(pair: _Pair) -> Array:
        both = _expm1((pair.row + pair.column + 2 * pair.inner) / (4 * beta))
        return both - pair.row_feature - pair.column_feature + constant

    mean, count = _mean_over_pairs(term, samples, mask, axis_name, feature)
    return count * mean


@accept_explicit_axes
def comb(
    samples: Float[Array, "n d"],
    *,
    gamma: float = 5.0,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Signed distance from N(0, I), by both the characteristic and the moment generating function.

    .. math:: \sqrt n \int \left(\mathrm{Re}\, \hat\varphi(t)\, \hat M(t) - 1\right) w(t)\, dt
        = \sqrt n \left[\overline{e^{(\|x_j\|^2 - \|x_k\|^2) / 4 \gamma}
        \cos \frac{x_j \cdot x_k}{2 \gamma}} - 1\right]

    since :math:`\varphi M = 1` for N(0, I), and for every N(0, S): it is blind to covariance. Null
    mean :math:`n^{-1/2} \left[\mathrm{Re}\, (1 - i/\gamma)^{-d/2} - 1\right]`. Positive and
    negative values both show departures: to train, take its square.

    Args:
        samples: One sample a row.
        gamma: Decay of the window :math:`w = N(0, I / 2 \gamma)`, a probability density here, as in
            :func:`henze_visagie`. The variance is infinite up to gamma 1/2.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; the samples cross devices.

    Returns:
        The statistic, float32.

    Raises:
        ValueError: If `gamma` is not positive; for a wrong rank, dtype or mask.

    Examples:
        >>> points = jnp.array([[0.5, -1], [1.2, 0.3], [-0.7, 0.8], [-1.1, 1.5]])
        >>> print(f"{comb(points, gamma=1.0):.4f}")
        -0.4589

    References:
        N. Henze, M. D. Jimenez-Gamero, S. G. Meintanis, Characterizations of multinormality and
        corresponding tests of fit, including for GARCH models, Econometric Theory 35, 2019.
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Appendix F.
    """
    check_positive("gamma", gamma)
    _check(samples, mask)

    def term(pair: _Pair) -> Array:
        growth = _expm1((pair.row - pair.column) / (4 * gamma))
        angle = pair.inner / (2 * gamma)
        # exp(g) cos(a) - 1 without subtracting from 1.
        return growth * jnp.cos(angle) - 2 * jnp.square(jnp.sin(angle / 2))

    mean, count = _mean_over_pairs(term, samples, mask, axis_name)
    return jnp.sqrt(count) * mean


class Mardia(NamedTuple):
    """Multivariate skewness and kurtosis, scaled to their null laws."""

    skewness: Float[Array, ""]
    kurtosis: Float[Array, ""]


@accept_explicit_axes
def mardia(
    samples: Float[Array, "n d"],
    *,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Mardia:
    r"""Mardia's skewness and kurtosis of a cloud.

    .. math:: \frac n6\, \overline{(x_j \cdot x_k)^3}, \qquad
        \frac{\overline{\|x\|^4} - d (d + 2)}{\sqrt{8 d (d + 2) / n}}

    For whitened clouds, as Mardia has them, the null laws are chi-squared with
    :math:`d(d+1)(d+2)/6` degrees of freedom and N(0, 1). For N(0, I) as it comes the null means are
    :math:`d(d+2)(d+4)/6` and 0, the variance of the second is :math:`d + 3`: without whitening
    they also see location and scale. The skewness is blind to symmetric departures, the kurtosis,
    which is signed, to all that leave :math:`\|x\|^4` alone.

    Args:
        samples: One sample a row.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; the samples cross devices.

    Returns:
        The two statistics, float32.

    Raises:
        ValueError: For a wrong rank, dtype or mask.

    Examples:
        >>> corners = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> mardia(corners)
        Mardia(skewness=Array(0., dtype=float32), kurtosis=Array(-1., dtype=float32))

    References:
        K. V. Mardia, Measures of multivariate skewness and kurtosis with applications, Biometrika
        57, 1970.
    """
    _check(samples, mask)
    d = samples.shape[1]
    cubes, count = _mean_over_pairs(lambda pair: pair.inner**3, samples, mask, axis_name)
    fourth = jnp.square(jnp.square(masked_rows(samples, mask)).sum(-1)).sum()
    fourth = over_devices(fourth, axis_name)
    excess = fourth / count - d * (d + 2)
    return Mardia(count * cubes / 6, excess * jnp.sqrt(count / (8 * d * (d + 2))))


@accept_explicit_axes
def energy_distance(
    samples: Float[Array, "n d"],
    *,
    mask: Bool[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Energy distance of a cloud to N(0, I).

    .. math:: n \left[2\, \overline{E \|x_j - Z\|} - E \|Z - Z'\| - \overline{\|x_j - x_k\|}\right]

    with Z and Z' from N(0, I). Null mean :math:`E\|Z - Z'\| = 2 \Gamma(\frac{d+1}2) / \Gamma(\frac
    d2)` for every n. No bandwidth, and the pull of an outlier neither grows nor vanishes. Blind to
    nothing; in many dimensions it sees mostly mean and covariance.

    Args:
        samples: One sample a row.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; the samples cross devices.

    Returns:
        The statistic, float32.

    Raises:
        ValueError: For a wrong rank, dtype or mask.

    Examples:
        >>> print(f"{energy_distance(jnp.zeros((1, 1))):.4f}")
        0.4674

    References:
        G. J. Szekely, M. L. Rizzo, A new test for multivariate normality, Journal of Multivariate
        Analysis 93, 2005.
    """
    _check(samples, mask)
    d = samples.shape[1]
    between = 2 * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))

    def term(pair: _Pair) -> Array:
        squared = pair.row + pair.column - 2 * pair.inner
        # The distance of a sample to itself is 0 and has no direction; nor have those of ties.
        apart = ~pair.same & (squared > 0)
        distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1)), 0)
        return pair.row_feature + pair.column_feature - between - distance

    def feature(squared: Array) -> Array:
        return _mean_distance_to_normal(squared, d)

    mean, count = _mean_over_pairs(term, samples, mask, axis_name, feature)
    return count * mean


def _mean_distance_to_normal(squared: jax.Array, dim: int) -> jax.Array:
    r"""Evaluate :math:`E\|x - Z\|` from :math:`\|x\|^2`.

    From :math:`\sqrt q = \frac1{2\sqrt\pi} \int (1 - e^{-sq}) s^{-3/2} ds` and the Laplace
    transform of the noncentral chi-squared law, with :math:`2s = \tan^2\theta`:

    .. math:: \sqrt{\tfrac2\pi} \int_0^{\pi/2} \left(1 - \cos^d\theta\, e^{-\|x\|^2 \sin^2\theta /2}
        \right) \frac{d\theta}{\sin^2\theta}

    The integrand is smooth; the nodes are enough for float32 up to d and squared norms of 10^4.
    """
    u, weights = np.polynomial.legendre.leggauss(64)
    # Squared, since large d and |x| crowd what matters at small angles.
    v = (u + 1) / 2
    theta = np.pi / 2 * v**2
    weights = weights / 2 * np.pi * v * np.sqrt(2 / np.pi) / np.sin(theta) ** 2
    log_cos = jnp.asarray(dim * np.log(np.cos(theta)), jnp.float32)
    half_sin = jnp.asarray(np.sin(theta) ** 2 / 2, jnp.float32)
    exponent = log_cos[None, :] - squared[:, None] * half_sin[None, :]
    return -_expm1(exponent) @ jnp.asarray(weights, jnp.float32)


@accept_explicit_axes
def _bhep(
    samples: jax.Array,
    beta: np.float64 | jax.Array,
    mask: jax.Array | None,
    axis_name: AxisName | None,
) -> jax.Array:
    _check(samples, mask)
    # A bandwidth known while tracing gets its constants in float64; that of Henze and Zirkler
    # depends on the count.
    xp: Any = jnp if isinstance(beta, jax.Array) else np
    half_dim = samples.shape[1] / 2
    b2 = beta**2
    log_single = -half_dim * xp.log1p(b2)
    # All terms less 1: with a small beta they are near it, and nearly cancel.
    constant = xp.expm1(-half_dim * xp.log1p(2 * b2)) - 2 * xp.expm1(log_single)
    single, rate, constant, b2 = (
        jnp.asarray(value, jnp.float32)
        for value in (xp.exp(log_single), b2 / (2 * (1 + b2)), constant, b2)
    )

    def feature(squared: Array) -> Array:
        return single * _expm1(-rate * squared)

    def term(pair: _Pair) -> Array:
        both = _expm1(-b2 / 2 * (pair.row + pair.column - 2 * pair.inner))
        # A sample is at distance 0 of itself, exactly: large gradients would have to cancel.
        both = jnp.where(pair.same, 0, both)
        return both - pair.row_feature - pair.column_feature + constant

    mean, count = _mean_over_pairs(term, samples, mask, axis_name, feature)
    return count * mean


class _Pair(NamedTuple):
    """Some rows against all samples: squared norms and features broadcast against `inner`."""

    inner: jax.Array
    row: jax.Array
    column: jax.Array
    row_feature: jax.Array
    column_feature: jax.Array
    same: jax.Array


def _mean_over_pairs(
    term: Callable[[_Pair], jax.Array],
    samples: jax.Array,
    mask: jax.Array | None,
    axis_name: AxisName | None,
    feature: Callable[[jax.Array], jax.Array] = jnp.zeros_like,
) -> tuple[jax.Array, jax.Array]:
    """Average a symmetric term over all pairs of the global sample, and return the count too.

    Terms combine all that nearly cancels before anything is summed: means of large parts,
    subtracted afterwards, would leave few digits in float32.
    """
    x = masked_rows(samples, mask)
    weight = jnp.ones(x.shape[:1], jnp.float32) if mask is None else mask.astype(jnp.float32)
    start = jnp.int32(0)
    everyone, everyones_weight = x, weight
    if axis_name is not None:
        everyone, everyones_weight = (
            lax.all_gather(value, axis_name, axis=0, tiled=True) for value in (x, weight)
        )
        start = lax.axis_index(axis_name) * x.shape[0]
    column = jnp.square(everyone).sum(-1)
    column_feature = feature(column)

    # Blocks of rows, padded with rows of weight 0.
    num_blocks = -(-x.shape[0] // _BLOCK_ROWS)
    rows = -(-x.shape[0] // num_blocks)
    padding = num_blocks * rows - x.shape[0]
    x = jnp.pad(x, [(0, padding), (0, 0)]).reshape(num_blocks, rows, -1)
    weight = jnp.pad(weight, [(0, padding)]).reshape(num_blocks, rows)
    index = start + jnp.arange(num_blocks * rows, dtype=jnp.int32).reshape(num_blocks, rows)

    @jax.checkpoint
    def block(operands: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        x, weight, index = operands
        row = jnp.square(x).sum(-1)
        pair = _Pair(
            inner=jnp.matmul(x, everyone.T, precision=lax.Precision.HIGHEST),
            row=row[:, None],
            column=column[None, :],
            row_feature=feature(row)[:, None],
            column_feature=column_feature[None, :],
            same=index[:, None] == jnp.arange(everyone.shape[0], dtype=jnp.int32)[None, :],
        )
        return (term(pair) * weight[:, None] * everyones_weight[None, :]).sum()

    total = over_devices(lax.map(block, (x, weight, index)).sum(), axis_name)
    count = sample_count(samples.shape[:1], mask=mask, axis_name=axis_name)
    return total / jnp.square(count), count


@jax.custom_jvp
def _expm1(x: jax.Array) -> jax.Array:
    """Evaluate exp(x) - 1 with derivative exp(x), where JAX has (exp(x) - 1) + 1, rounded at 1."""
    return jnp.expm1(x)


_expm1.defjvps(lambda tangent, _, x: tangent * jnp.exp(x))


def _check(samples: jax.Array, mask: jax.Array | None) -> None:
    check_samples("samples", samples, mask)
    if samples.ndim != 2:
        raise ValueError(f"samples must have shape (n, d), got {samples.shape}")
