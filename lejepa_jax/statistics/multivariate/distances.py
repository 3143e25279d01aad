"""Mardia's skewness and kurtosis, and the energy distance."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.multivariate.pairs import Pair, check_cloud, expm1, mean_over_pairs
from lejepa_jax.statistics.reductions import AxisName, masked_rows, over_devices


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
    check_cloud(samples, mask)
    d = samples.shape[1]
    cubes, count = mean_over_pairs(lambda pair: pair.inner**3, samples, mask, axis_name)
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
    check_cloud(samples, mask)
    d = samples.shape[1]
    between = 2 * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))

    def term(pair: Pair) -> Array:
        squared = pair.row + pair.column - 2 * pair.inner
        # The distance of a sample to itself is 0 and has no direction; nor have those of ties.
        apart = ~pair.same & (squared > 0)
        distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1)), 0)
        return pair.row_feature + pair.column_feature - between - distance

    def feature(squared: Array) -> Array:
        return _mean_distance_to_normal(squared, d)

    mean, count = mean_over_pairs(term, samples, mask, axis_name, feature)
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
    return -expm1(exponent) @ jnp.asarray(weights, jnp.float32)
