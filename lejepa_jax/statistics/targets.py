r"""Characteristic functions of the one-dimensional laws that a projection may be drawn towards.

Each takes frequencies and returns :math:`\varphi(t) = E\, e^{i t X}` in float64 NumPy, evaluated
while tracing; `epps_pulley` takes one as its `target`. Bind the parameters with
`functools.partial`. Any other function of that kind will do.

A cloud whose every projection has the same law is rotation-invariant: of the laws here the normal
and the marginals of spheres can be met along all directions at once. The others are targets for
coordinates (the identity as `directions`), not for random slices.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from lejepa_jax.checks import check_positive


@runtime_checkable
class CharacteristicFunction(Protocol):
    """A characteristic function, real or complex; its value at -t is the conjugate."""

    def __call__(self, t: np.ndarray, /) -> np.ndarray:
        """Return one value a frequency."""
        ...


def normal_target(t: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
    r"""Characteristic function :math:`e^{-\sigma^2 t^2 / 2}` of N(0, sigma^2).

    Args:
        t: Frequencies.
        scale: Standard deviation.

    Returns:
        One real value a frequency.

    Examples:
        >>> normal_target(np.array([0.0]))
        array([1.])
    """
    check_positive("scale", scale)
    return np.exp(-np.square(scale * np.asarray(t, np.float64)) / 2)


def laplace_target(t: np.ndarray, *, scale: float = 2**-0.5) -> np.ndarray:
    r"""Characteristic function :math:`1 / (1 + s^2 t^2)` of the Laplace law.

    Args:
        t: Frequencies.
        scale: Mean absolute value; by default that of unit variance.

    Returns:
        One real value a frequency.

    Examples:
        >>> laplace_target(np.array([1.0]), scale=1.0)
        array([0.5])
    """
    check_positive("scale", scale)
    return 1 / (1 + np.square(scale * np.asarray(t, np.float64)))


def generalized_normal_target(
    t: np.ndarray,
    *,
    power: float,
    location: float = 0.0,
    scale: float = 1.0,
    rectified: bool = False,
) -> np.ndarray:
    r"""Characteristic function of the generalized normal law, rectified or not.

    .. math:: f(x) \propto \exp\left(-\frac1p \left|\frac{x - \mu}{\sigma}\right|^p\right)

    Power 2 is the normal law of standard deviation sigma, power 1 the Laplace law, a large power
    nearly uniform. Rectified, it is the law of :math:`\max(0, X)`, with an atom at 0: sparse codes.

    Args:
        t: Frequencies.
        power: Exponent p, at least 0.5.
        location: Center before rectification.
        scale: Width sigma; the variance of power 2.
        rectified: Replace negative values by 0.

    Returns:
        One value a frequency, complex unless the law is even.

    Raises:
        ValueError: If `power` is below 0.5 or `scale` is not positive.

    Examples:
        >>> t = np.array([0.5, 1.0])
        >>> bool(np.allclose(generalized_normal_target(t, power=2.0), normal_target(t)))
        True

    References:
        The rectified law as a target: Rectified LpJEPA, arXiv 2602.01456, 2026.
    """
    check_positive("scale", scale)
    if power < 0.5:
        raise ValueError(f"power must be at least 0.5, got {power}")
    # In units of the scale from the center; at the end what is left is 1e-17 of the mass.
    end = (40 * power) ** (1 / power)
    zero = -location / scale
    below = _branch(power, 0.0, end if not rectified else min(max(-zero, 0.0), end))
    above = _branch(power, 0.0 if not rectified else min(max(zero, 0.0), end), end)
    total = 2 * _branch(power, 0.0, end)[1].sum()
    x = np.concatenate([location - scale * below[0], location + scale * above[0]])
    mass = np.concatenate([below[1], above[1]]) / total
    phi = np.exp(1j * np.asarray(t, np.float64)[..., None] * x) @ mass
    if rectified:
        return phi + (1 - mass.sum())
    return phi.real if location == 0 else phi


def sphere_target(t: np.ndarray, *, dim: int, radius: float | None = None) -> np.ndarray:
    r"""Characteristic function of one coordinate of a uniform point on a sphere.

    .. math:: \varphi(t) = \Gamma(\tfrac d2) \left(\frac 2{r t}\right)^{d/2 - 1} J_{d/2-1}(r t)
        = \frac{\int_0^\pi \cos(r t \cos\theta) \sin^{d-2}\theta\, d\theta}{
        \int_0^\pi \sin^{d-2}\theta\, d\theta}

    Every projection of the sphere has this law, and it tends to the normal one as the dimension
    grows: what embeddings of unit length can be drawn towards.

    Args:
        t: Frequencies.
        dim: Dimension of the space.
        radius: Of the sphere; by default the square root of the dimension, for unit variance.

    Returns:
        One real value a frequency.

    Raises:
        ValueError: If `dim` is below 2 or `radius` is not positive.

    Examples:
        >>> t = np.array([1.0])
        >>> bool(np.allclose(sphere_target(t, dim=3, radius=1.0), np.sin(t) / t))
        True
    """
    if dim < 2:
        raise ValueError(f"dim must be at least 2, got {dim}")
    if radius is None:
        radius = float(np.sqrt(dim))
    check_positive("radius", radius)
    u, weights = np.polynomial.legendre.leggauss(400)
    # From the equator: in high dimensions nothing is elsewhere (e^-40 of it is left out).
    latitude = min(np.pi / 2, 9 / dim**0.5) * u
    mass = weights * np.cos(latitude) ** (dim - 2)
    argument = radius * np.asarray(t, np.float64)[..., None] * np.sin(latitude)
    return np.cos(argument) @ (mass / mass.sum())


def _branch(power: float, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and unnormalized masses of exp(-y^p / p) on one side of the center."""
    # Panels, since heavy tails are long and oscillate many times; crowded towards the cusp at 0.
    num_panels = 32
    u, weights = np.polynomial.legendre.leggauss(64)
    u = ((np.arange(num_panels)[:, None] + (u + 1) / 2) / num_panels).ravel()
    weights = np.tile(weights / (2 * num_panels), num_panels)
    y = start + (end - start) * u**3
    return y, weights * 3 * (end - start) * u**2 * np.exp(-(y**power) / power)
