"""Statistics of moments: Jarque-Bera, its extended form, mean and variance, moments to any order.

Cheap, and blind by construction: finitely many moments never identify a distribution (LeJEPA,
Theorem 3), and the gradient of the k-th grows like the (k - 1)-th power of a sample (Theorem 4).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_samples
from lejepa_jax.statistics.reductions import (
    AxisName,
    center_rows,
    masked_rows,
    over_devices,
    row_count,
)

# Below this variance a sample counts as collapsed: ratios to it stay finite, and pull no longer.
_MIN_VARIANCE = 1e-8


def jarque_bera(
    projections: Float[Array, "*batch n k"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Jarque-Bera distance of each column from the normal family.

    .. math:: \mathrm{JB} = \frac n6 \left[\frac{m_3^2}{m_2^3}
        + \frac14 \left(\frac{m_4}{m_2^2} - 3\right)^2\right]

    with central moments :math:`m_j`. Chi-squared with 2 degrees of freedom for large n: null mean
    2, critical values 5.99 (5 %) and 9.21 (1 %), approached slowly. Blind to location, scale and to
    everything beyond the fourth moment.

    Args:
        projections: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; 5 sums a column cross devices.

    Returns:
        One value a column, float32.

    Raises:
        ValueError: For a wrong rank, an empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{jarque_bera(column)[0]:.4f}")
        0.1838

    References:
        C. M. Jarque, A. K. Bera, A test for normality of observations and regression residuals,
        International Statistical Review 55, 1987.
    """
    central = _central_moments(projections, mask, axis_name)
    return _shape_term(central, central.second)


def extended_jarque_bera(
    projections: Float[Array, "*batch n k"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Jarque-Bera extended by mean and variance, a distance from N(0, 1).

    .. math:: \frac{n \bar x^2}{s^2} + \frac{(n - 1)(s^2 - 1)^2}2 + \frac n6 \left[
        \frac{m_3^2}{s^6} + \frac14 \left(\frac{m_4}{s^4} - 3\right)^2\right]

    with the unbiased variance :math:`s^2` everywhere. Chi-squared with 4 degrees of freedom for
    large n: null mean 4, critical values 9.49 (5 %) and 13.28 (1 %). Blind to everything beyond the
    fourth moment. At collapse the variance counts as 1e-8, so that the value stays finite.

    Args:
        projections: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; 5 sums a column cross devices.

    Returns:
        One value a column, float32.

    Raises:
        ValueError: For a wrong rank, an empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{extended_jarque_bera(column)[0]:.4f}")
        1.5591

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 4.2.1.
    """
    central = _central_moments(projections, mask, axis_name)
    variance = _unbiased_variance(central)
    return _mean_variance_term(central, variance) + _shape_term(central, variance)


def vcreg(
    projections: Float[Array, "*batch n k"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Distance of the mean and variance of each column from 0 and 1.

    .. math:: \frac{n \bar x^2}{s^2} + \frac{(n - 1)(s^2 - 1)^2}2

    The first two terms of :func:`extended_jarque_bera`. Chi-squared with 2 degrees of freedom for
    large n: null mean 2. Asked of every direction it is zero when mean and covariance are 0 and I,
    what VICReg asks for; blind to everything beyond the second moment.

    Args:
        projections: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; 3 sums a column cross devices.

    Returns:
        One value a column, float32.

    Raises:
        ValueError: For a wrong rank, an empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{vcreg(column)[0]:.4f}")
        1.0247

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Sections 4.2.1 and 5.2.
    """
    central = _central_moments(projections, mask, axis_name)
    return _mean_variance_term(central, _unbiased_variance(central))


def moments(
    projections: Float[Array, "*batch n k"],
    *,
    order: int = 4,
    weights: Sequence[float] | None = None,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    r"""Weighted distance of the raw moments of each column from those of N(0, 1).

    .. math:: \sum_{j=1}^{J} w_j \left|\tfrac1n \textstyle\sum_i x_i^j - \mu_j\right|,
        \qquad \mu_j = (j - 1)!! \text{ for even } j, \text{ else } 0

    No factor n: the null mean falls like :math:`n^{-1/2}`, to
    :math:`\sum_j w_j \sqrt{2 (\mu_{2j} - \mu_j^2) / \pi n}`. Blind beyond the order.

    Args:
        projections: Samples on the last axis but one.
        order: Highest moment J.
        weights: One weight a moment; by default 1 for the mean and :math:`e^{-j}` for the others.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded; J sums a column cross devices.

    Returns:
        One value a column, float32.

    Raises:
        ValueError: If `order` is not positive or `weights` are not as many; for a wrong rank, an
            empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> column = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
        >>> print(f"{moments(column)[0]:.4f}")
        0.4319

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 4.2.1 and Theorem 3.
    """
    check_samples("projections", projections, mask)
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    powers = np.arange(1, order + 1)
    shares = np.where(powers == 1, 1.0, np.exp(-powers)) if weights is None else np.array(weights)
    if len(shares) != order:
        raise ValueError(f"weights must hold {order} numbers, one a moment, got {len(shares)}")
    x = masked_rows(projections, mask)
    sums = []
    power = x
    for _ in powers:
        sums.append(power.sum(-2))
        power = power * x
    count = row_count(x, mask=mask, axis_name=axis_name)
    means = over_devices(jnp.stack(sums), axis_name) / count[None]
    value = jnp.zeros_like(means[0])
    for j, share, mean in zip(powers, shares, means, strict=True):
        target = 0.0 if j % 2 else float(np.prod(np.arange(j - 1, 0, -2)))
        value += float(share) * jnp.abs(mean - target)
    return value


class _Central(NamedTuple):
    """Count `(*#batch, 1)`, mean and biased central moments `(*batch, k)`."""

    count: jax.Array
    mean: jax.Array
    second: jax.Array
    third: jax.Array
    fourth: jax.Array


def _central_moments(x: jax.Array, mask: jax.Array | None, axis_name: AxisName | None) -> _Central:
    check_samples("projections", x, mask)
    # Powers in a second pass, from the mean: sums of powers of x itself would cancel in float32.
    centered, mean, count = center_rows(x, mask=mask, axis_name=axis_name)
    squared = jnp.square(centered)
    sums = [squared.sum(-2), (squared * centered).sum(-2), jnp.square(squared).sum(-2)]
    second, third, fourth = over_devices(jnp.stack(sums), axis_name) / count[None]
    return _Central(count, mean, second, third, fourth)


def _unbiased_variance(central: _Central) -> jax.Array:
    return central.second * central.count / jnp.maximum(central.count - 1, 1)


def _mean_variance_term(central: _Central, variance: jax.Array) -> jax.Array:
    location = central.count * jnp.square(central.mean) / jnp.maximum(variance, _MIN_VARIANCE)
    return location + (central.count - 1) * jnp.square(variance - 1) / 2


def _shape_term(central: _Central, variance: jax.Array) -> jax.Array:
    scale = lax.rsqrt(jnp.maximum(variance, _MIN_VARIANCE))
    skewness = central.third * scale**3
    excess = central.fourth * scale**4 - 3
    return central.count / 6 * (jnp.square(skewness) + jnp.square(excess) / 4)
