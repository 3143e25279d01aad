r"""Positional kernels to design with: what a token should see, as a function of distance.

A positional kernel :math:`K` enters attention in one of two ways.

* As a **bias**: :math:`\log K(|x_i - x_j|)` is added to the scores, so that attention weights are
  multiplied by it. Any non-negative function will do, on any space with a distance
  (:func:`pairwise_bias`).
* As a **rotary spectrum**: by Bochner's theorem a stationary positive-definite kernel is the
  characteristic function of a distribution of frequencies. An encoding with frequencies drawn from
  it (:func:`rope_jax.from_frequencies`) makes of :math:`\langle q, k\rangle` about
  :math:`K(x_i - x_j) \langle q, k\rangle` for vectors whose energy is spread over the pairs, at no
  cost in memory. Kernels that have no such density here have ``frequencies = None``.

The two differ: a spectrum scales the *score*, a bias the *weight*.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from rope_jax.checks import check_choice
from rope_jax.weighted_attention import LOG_ZERO


class Kernel(NamedTuple):
    """A positional kernel.

    Attributes:
        log: Log of the kernel at a distance, zero at distance zero.
        frequencies: ``(key, num, dim)`` to ``num`` frequency vectors drawn from the spectrum of the
            kernel in ``dim`` dimensions, or ``None`` where Bochner's theorem gives none.
    """

    log: Callable[[Float[Array, "*b"]], Float[Array, "*b"]]
    frequencies: Callable[[PRNGKeyArray, int, int], Float[Array, "n m"]] | None


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def matern(smoothness: float, *, length_scale: float = 1.0) -> Kernel:
    r"""Matérn kernels: smoothness 1/2 (exponential), 3/2, 5/2, or infinity (Gaussian, RBF).

    .. math:: K_{1/2} = e^{-r/\ell},\quad K_{3/2} = (1 + t) e^{-t},\ t = \sqrt3\, r/\ell,\quad
       K_{5/2} = (1 + t + t^2/3) e^{-t},\ t = \sqrt5\, r/\ell,\quad K_\infty = e^{-r^2/2\ell^2}

    The spectrum is Student's t with :math:`2\nu` degrees of freedom (normal at infinity), so the
    fields it describes have :math:`\lceil\nu\rceil - 1` derivatives.

    Positive definite in flat space. Of the geodesic distance on a sphere, the exponential is so at
    any length, the smoother ones only while :math:`\ell` is short. The smallest eigenvalue over the
    192 centers of ``healpix_grid(4)`` (their trace is 192): Gaussian -0.0004 at :math:`\ell = 0.8`,
    -0.008 at 1, -1.6 at 2; 5/2: -0.0006, -0.004, -0.18; 3/2: 0.006, -0.0002, -0.08. The same holds
    of the shortest way around a torus (Gaussian on 64 points of a circle: -0.01 at 1, -1.2 at 2).
    As a bias any length will do; where definiteness counts, :func:`von_mises_fisher` and
    :func:`periodic` have it.

    Args:
        smoothness: :math:`\nu`, one of 0.5, 1.5, 2.5 and infinity.
        length_scale: :math:`\ell`.

    Returns:
        The kernel.

    Raises:
        ValueError: If the smoothness has no closed form here, or the length is not positive.

    Examples:
        >>> matern(0.5, length_scale=2.0).log(jnp.array([2.0, 4.0]))
        Array([-1., -2.], dtype=float32)
        >>> matern(jnp.inf).frequencies(jax.random.key(0), 5, 2).shape
        (5, 2)

    References:
        Rasmussen and Williams, "Gaussian processes for machine learning", 2006, section 4.2.
        Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 2007.
    """
    check_choice("smoothness", smoothness, (0.5, 1.5, 2.5, float("inf")))
    _positive("length_scale", length_scale)

    def log(distance: Float[Array, "*b"]) -> Float[Array, "*b"]:
        r = distance.astype(jnp.float32) / length_scale
        if smoothness == 0.5:
            return -r
        if smoothness == 1.5:
            return jnp.log1p(3**0.5 * r) - 3**0.5 * r
        if smoothness == 2.5:
            return jnp.log1p(5**0.5 * r + 5 / 3 * r * r) - 5**0.5 * r
        return -0.5 * r * r

    def frequencies(key: PRNGKeyArray, num: int, dim: int) -> Float[Array, "n m"]:
        normal_key, gamma_key = jax.random.split(key)
        normal = jax.random.normal(normal_key, (num, dim), jnp.float32) / length_scale
        if np.isinf(smoothness):
            return normal
        # A normal over the root of a mean-one gamma is Student's t.
        mixing = jax.random.gamma(gamma_key, smoothness, (num, 1), jnp.float32) / smoothness
        return normal / jnp.sqrt(mixing)

    return Kernel(log=log, frequencies=frequencies)


def gaussian(length_scale: float = 1.0) -> Kernel:
    r"""Locality with a smooth shoulder, :math:`e^{-r^2 / 2\ell^2}`.

    Examples:
        >>> gaussian(2.0).log(jnp.array([2.0]))
        Array([-0.5], dtype=float32)
    """
    return matern(float("inf"), length_scale=length_scale)


def exponential(length_scale: float = 1.0) -> Kernel:
    r"""Locality with a cusp and a longer tail, :math:`e^{-r/\ell}`; as a bias, ALiBi.

    Examples:
        >>> exponential(2.0).log(jnp.array([2.0]))
        Array([-1.], dtype=float32)
    """
    return matern(0.5, length_scale=length_scale)


def wendland(radius: float) -> Kernel:
    r"""Compact support: :math:`(1 - t)_+^4\, (1 + 4t)`, :math:`t = r / \text{radius}`.

    Positive definite up to three dimensions, twice differentiable. Its spectrum has no simple law
    to draw from, and no finite set of frequencies would vanish outside the radius: bias only.

    Args:
        radius: Beyond it nothing is seen.

    Returns:
        The kernel.

    Raises:
        ValueError: If the radius is not positive.

    Examples:
        >>> bool(wendland(1.0).log(jnp.array([1.0]))[0] < -1e8)
        True

    References:
        H. Wendland, "Piecewise polynomial, positive definite and compactly supported radial
        functions of minimal degree", 1995.
    """
    _positive("radius", radius)

    def log(distance: Float[Array, "*b"]) -> Float[Array, "*b"]:
        t = distance.astype(jnp.float32) / radius
        inside = jnp.where(t < 1, t, 0.0)
        return jnp.where(t < 1, 4 * jnp.log1p(-inside) + jnp.log1p(4 * inside), LOG_ZERO)

    return Kernel(log=log, frequencies=None)


def periodic(period: float = float(2 * np.pi), *, length_scale: float = 1.0) -> Kernel:
    r"""Same after every period: :math:`e^{-2 \sin^2(\pi r/T)/\ell^2}`.

    Its spectrum is on the multiples of :math:`2\pi/T`, with the weights
    :math:`I_k(\ell^{-2}) e^{-\ell^{-2}}` of a von Mises bump, independently along each axis: as a
    rotary spectrum the kernel is a product over the axes of a torus.

    Args:
        period: :math:`T`.
        length_scale: :math:`\ell`, relative to the chord of the unit circle.

    Returns:
        The kernel.

    Raises:
        ValueError: If the period or the length is not positive.

    Examples:
        >>> periodic(1.0).log(jnp.array([0.5, 1.5]))
        Array([-2., -2.], dtype=float32)

    References:
        D. MacKay, "Introduction to Gaussian processes", 1998, equation 47.
    """
    _positive("period", period)
    _positive("length_scale", length_scale)

    def log(distance: Float[Array, "*b"]) -> Float[Array, "*b"]:
        r = distance.astype(jnp.float32)
        return -2 * jnp.square(jnp.sin(jnp.pi * r / period) / length_scale)

    # The characteristic weights of a von Mises bump, by the discrete Fourier transform of the
    # kernel over one period: exact to rounding once it resolves the bump.
    size = 64 * int(np.ceil(1 + 1 / length_scale))
    samples = np.exp(-2 * (np.sin(np.pi * np.arange(size) / size) / length_scale) ** 2)
    weights = np.maximum(np.fft.fft(samples).real, 0.0)
    harmonics = np.fft.fftfreq(size, 1 / size) * 2 * np.pi / period

    def frequencies(key: PRNGKeyArray, num: int, dim: int) -> Float[Array, "n m"]:
        probability = jnp.asarray(weights / weights.sum(), jnp.float32)
        return jax.random.choice(
            key, jnp.asarray(harmonics, jnp.float32), (num, dim), p=probability
        )

    return Kernel(log=log, frequencies=frequencies)


def von_mises_fisher(concentration: float) -> Kernel:
    r"""Locality on the sphere: :math:`e^{\kappa(\cos\gamma - 1)}` of the geodesic distance.

    The rotation group does not commute, so no rotary spectrum is relative on the sphere: bias only.

    Args:
        concentration: :math:`\kappa`; about :math:`1/\ell^2` for an angle :math:`\ell`.

    Returns:
        The kernel, for distances in radians.

    Raises:
        ValueError: If the concentration is not positive.

    Examples:
        >>> von_mises_fisher(3.0).log(jnp.array([jnp.pi]))
        Array([-6.], dtype=float32)
    """
    _positive("concentration", concentration)

    def log(distance: Float[Array, "*b"]) -> Float[Array, "*b"]:
        # 2 sin^2 instead of 1 - cos: no cancellation among neighbors.
        return -2 * concentration * jnp.square(jnp.sin(distance.astype(jnp.float32) / 2))

    return Kernel(log=log, frequencies=None)


def scale_free(exponent: float, *, min_distance: float) -> Kernel:
    r"""A power law, :math:`(1 + r/r_0)^{-\alpha}`: the same shape at every scale above :math:`r_0`.

    Scale invariance proper (scores that do not change when an image is enlarged) is a matter of
    coordinates: use :func:`rope_jax.log_polar` with any relative encoding.

    Args:
        exponent: :math:`\alpha`.
        min_distance: :math:`r_0`, below which it is flat.

    Returns:
        The kernel; bias only.

    Raises:
        ValueError: If an argument is not positive.

    Examples:
        >>> scale_free(2.0, min_distance=1.0).log(jnp.array([0.0])) + 0.0
        Array([0.], dtype=float32)
    """
    _positive("exponent", exponent)
    _positive("min_distance", min_distance)

    def log(distance: Float[Array, "*b"]) -> Float[Array, "*b"]:
        return -exponent * jnp.log1p(distance.astype(jnp.float32) / min_distance)

    return Kernel(log=log, frequencies=None)
