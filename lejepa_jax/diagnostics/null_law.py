"""The law of SIGReg with Epps-Pulley when the cloud is N(0, I)."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaincc
from jaxtyping import Array, Float

from lejepa_jax.checks import check_positive
from lejepa_jax.statistics.quadrature import window_rule


class SigregNull(NamedTuple):
    """Mean, standard deviation and skewness of SIGReg at N(0, I)."""

    mean: float
    std: float
    skewness: float


def sigreg_null(
    *, dim: int, num_slices: int, t_max: float = 3.0, num_knots: int = 17
) -> SigregNull:
    r"""First three moments of `sigreg` with Epps-Pulley, for many samples of N(0, I).

    Slices of one cloud are not independent. Those at an angle with cosine :math:`\rho` see normal
    variables of that correlation, for which the real and imaginary parts of the characteristic
    functions have the covariances

    .. math:: C_\rho = e^{-(s^2 + t^2)/2} (\cosh \rho s t - 1), \qquad
        S_\rho = e^{-(s^2 + t^2)/2} \sinh \rho s t

    The statistic is a quadratic form of them, so that its second and third cumulants are
    :math:`2\, \mathrm{tr}\, K^2` and :math:`8\, \mathrm{tr}\, K^3` of the covariance over knots and
    directions, here averaged over directions: some of a pair or a triple of slices are the same
    slice, the others have random angles.

    Args:
        dim: Dimension of the embeddings.
        num_slices: Number of independent random directions.
        t_max: As in :func:`epps_pulley`.
        num_knots: As in :func:`epps_pulley`.

    Returns:
        Mean (exact for every n), standard deviation and skewness (for n to infinity).

    Raises:
        ValueError: If `dim` or `num_slices` is not positive.

    Examples:
        >>> null = sigreg_null(dim=64, num_slices=1024)
        >>> print(f"{null.mean:.3f} +- {null.std:.3f}")
        1.052 +- 0.091
    """
    check_positive("dim", dim)
    check_positive("num_slices", num_slices)
    t, weights = window_rule("trapezoid", t_max, num_knots)
    mean = float(weights @ (1 - np.exp(-np.square(t))))
    root = np.sqrt(weights) * np.exp(-np.square(t) / 2)
    product = t[:, None] * t

    def covariance(rho: np.ndarray) -> np.ndarray:
        """Both parts, weights included; shape `(2, *rho, knots, knots)`."""
        angle = np.asarray(rho)[..., None, None] * product
        return root[:, None] * root * np.stack([np.cosh(angle) - 1, np.sinh(angle)])

    rho, mass = _cosines(dim, 24)
    same, other = covariance(np.ones(())), covariance(rho)
    share = 1 / num_slices
    between = mass @ np.square(other).sum((0, 2, 3))
    variance = 2 * (share * np.square(same).sum() + (1 - share) * between)

    all_same = np.trace(same @ same @ same, axis1=1, axis2=2).sum()
    two_same = np.einsum("pst,prtu,prus,r->", same, other, other, mass, optimize=True)
    # The third cosine by the law of cosines on the sphere, around which a third angle is free.
    around, around_mass = _cosines(max(dim - 1, 1), 8)
    sine = np.sqrt(np.maximum(1 - np.square(rho), 0))
    third = rho[:, None, None] * rho[:, None] + sine[:, None, None] * sine[:, None] * around
    closing = np.einsum("pabcst,c->pabst", covariance(third), around_mass, optimize=True)
    pairs = np.einsum("past,pbtu->pabsu", other, other, optimize=True)
    none_same = np.einsum("pabst,pabts,a,b->", pairs, closing, mass, mass, optimize=True)
    cumulant = 8 * (
        share**2 * all_same
        + 3 * share * (1 - share) * two_same
        + (1 - share) * (1 - 2 * share) * none_same
    )
    return SigregNull(mean, float(variance**0.5), float(cumulant / variance**1.5))


def _cosines(dim: int, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of the angle between two random directions, and their probabilities."""
    if dim == 1:
        return np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    # The sine of a latitude of density cos^(d-2); in high dimensions all are near the equator.
    u, mass = np.polynomial.legendre.leggauss(num)
    latitude = min(np.pi / 2, 6 / dim**0.5) * u
    mass = mass * np.cos(latitude) ** (dim - 2)
    return np.sin(latitude), mass / mass.sum()


def sigreg_p_value(
    value: Float[Array, "*s"],
    *,
    dim: int,
    num_slices: int,
    t_max: float = 3.0,
    num_knots: int = 17,
) -> Float[Array, "*s"]:
    """Find the probability that `sigreg` with Epps-Pulley at N(0, I) exceeds a value.

    By the gamma law, shifted, that has the three moments of :func:`sigreg_null`. To log beside the
    loss, for 64 samples or more; `python -m benchmarks.calibrate` measures how far it is off.

    Args:
        value: Value of `sigreg`, one view (the mean over views varies less).
        dim: Dimension of the embeddings.
        num_slices: Number of independent random directions.
        t_max: As in :func:`epps_pulley`.
        num_knots: As in :func:`epps_pulley`.

    Returns:
        The p-value.

    Raises:
        ValueError: If `dim` or `num_slices` is not positive.

    Examples:
        >>> print(f"{sigreg_p_value(jnp.array(1.05), dim=64, num_slices=1024):.1f}")
        0.5
    """
    null = sigreg_null(dim=dim, num_slices=num_slices, t_max=t_max, num_knots=num_knots)
    shape = (2 / null.skewness) ** 2
    start, scale = null.mean - 2 * null.std / null.skewness, null.std * null.skewness / 2
    excess = jnp.maximum((value.astype(jnp.float32) - start) / scale, 0)
    return gammaincc(jnp.full_like(excess, shape), excess)
