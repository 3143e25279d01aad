"""Distances from N(0, I) by the moment generating function of a cloud: tails and skewness."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_positive
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.multivariate.pairs import Pair, check_cloud, expm1, mean_over_pairs
from lejepa_jax.statistics.reductions import AxisName


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
    check_cloud(samples, mask)
    d = samples.shape[1]

    def term(pair: Pair) -> Array:
        s = pair.row + pair.column + 2 * pair.inner
        polynomial = pair.inner - s / (2 * gamma) + d / (2 * gamma) + s / (4 * gamma**2)
        return jnp.exp(s / (4 * gamma)) * polynomial

    mean, count = mean_over_pairs(term, samples, mask, axis_name)
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
    check_cloud(samples, mask)
    half_dim = samples.shape[1] / 2
    log_single, log_target = (half_dim * math.log(beta / (beta - c)) for c in (0.5, 1.0))
    # All terms less 1: with a large beta they are near it, and nearly cancel.
    constant = math.expm1(log_target) - 2 * math.expm1(log_single)

    def feature(squared: Array) -> Array:
        return math.exp(log_single) * expm1(squared / (4 * beta - 2))

    def term(pair: Pair) -> Array:
        both = expm1((pair.row + pair.column + 2 * pair.inner) / (4 * beta))
        return both - pair.row_feature - pair.column_feature + constant

    mean, count = mean_over_pairs(term, samples, mask, axis_name, feature)
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
    check_cloud(samples, mask)

    def term(pair: Pair) -> Array:
        growth = expm1((pair.row - pair.column) / (4 * gamma))
        angle = pair.inner / (2 * gamma)
        # exp(g) cos(a) - 1 without subtracting from 1.
        return growth * jnp.cos(angle) - 2 * jnp.square(jnp.sin(angle / 2))

    mean, count = mean_over_pairs(term, samples, mask, axis_name)
    return jnp.sqrt(count) * mean
