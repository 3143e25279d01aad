"""BHEP and Henze-Zirkler: distances from N(0, I) by the characteristic function of a cloud."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_positive
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.multivariate.pairs import Pair, check_cloud, expm1, mean_over_pairs
from lejepa_jax.statistics.reductions import AxisName, sample_count


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
    check_cloud(samples, mask)
    d = samples.shape[1]
    count = sample_count(samples.shape[:1], mask=mask, axis_name=axis_name)
    beta = 2**-0.5 * ((2 * d + 1) * count / 4) ** (1 / (d + 4))
    return _bhep(samples, beta, mask, axis_name)


@accept_explicit_axes
def _bhep(
    samples: jax.Array,
    beta: np.float64 | jax.Array,
    mask: jax.Array | None,
    axis_name: AxisName | None,
) -> jax.Array:
    check_cloud(samples, mask)
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
        return single * expm1(-rate * squared)

    def term(pair: Pair) -> Array:
        both = expm1(-b2 / 2 * (pair.row + pair.column - 2 * pair.inner))
        # A sample is at distance 0 of itself, exactly: large gradients would have to cancel.
        both = jnp.where(pair.same, 0, both)
        return both - pair.row_feature - pair.column_feature + constant

    mean, count = mean_over_pairs(term, samples, mask, axis_name, feature)
    return count * mean
