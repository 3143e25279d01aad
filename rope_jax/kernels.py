r"""Positional kernels to design with: what a token should see, as a function of distance.

A positional kernel :math:`K` enters attention in one of two ways.

* As a **bias**: :math:`\log K(|x_i - x_j|)` is added to the scores, so that attention weights are
  multiplied by it. Any non-negative function will do, on any space with a distance
  (:func:`pairwise_bias`).
* As a **rotary spectrum**: by Bochner's theorem a stationary positive-definite kernel is the
  characteristic function of a distribution of frequencies. An encoding with frequencies drawn from
  it (:func:`rope_jax.rotary.from_frequencies`) turns :math:`\langle q, k\rangle` into about
  :math:`K(x_i - x_j) \langle q, k\rangle` for vectors whose energy is spread over the pairs, at no
  cost in memory. Kernels that have no such density here have ``frequencies = None``.

The two differ: a spectrum scales the *score*, a bias the *weight*.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rope_jax.coordinates import unit_vectors, wrap
from rope_jax.encoding import check_choice

# The logarithm of a kernel that is zero: finite, so that -inf never meets -inf.
_LOG_ZERO = -1e9


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
        normal = jax.random.normal(normal_key, (num, dim)) / length_scale
        if np.isinf(smoothness):
            return normal
        # A normal over the root of a mean-one gamma is Student's t.
        mixing = jax.random.gamma(gamma_key, smoothness, (num, 1)) / smoothness
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
        return jnp.where(t < 1, 4 * jnp.log1p(-inside) + jnp.log1p(4 * inside), _LOG_ZERO)

    return Kernel(log=log, frequencies=None)


def periodic(period: float = float(2 * np.pi), *, length_scale: float = 1.0) -> Kernel:
    r"""Same after every period: :math:`e^{-2 \sin^2(\pi r/T)/\ell^2}`.

    Its spectrum is on the multiples of :math:`2\pi/T`, with the weights
    :math:`I_k(\ell^{-2}) e^{-\ell^{-2}}` of a von Mises bump, independently along each axis: as a
    rotary spectrum the kernel is a product over the axes of a torus.

    Args:
        period: :math:`T`.
        length_scale: :math:`\ell`, in turns of the unit circle.

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


def euclidean(offsets: Float[Array, "*b m"]) -> Float[Array, "*b"]:
    """Length of an offset, with a zero gradient (not NaN) where it is zero.

    Examples:
        >>> euclidean(jnp.array([3.0, 4.0]))
        Array(5., dtype=float32)
    """
    square = jnp.sum(jnp.square(offsets.astype(jnp.float32)), axis=-1)
    away = square > 0
    return jnp.where(away, jnp.sqrt(jnp.where(away, square, 1.0)), 0.0)


def distances(
    queries: Float[Array, "*b n m"],
    keys: Float[Array, "*b s m"],
    *,
    space: str = "flat",
    period: float | Sequence[float] = float(2 * np.pi),
) -> Float[Array, "*b n s"]:
    r"""Distance of every query to every key.

    Args:
        queries: Positions.
        keys: Positions.
        space: ``"flat"``; ``"torus"``, the shortest way around; or ``"sphere"``, the geodesic
            between ``(longitude, latitude)`` on the unit sphere.
        period: Way around the torus, for all axes or for each.

    Returns:
        Distances, in units of position, on the sphere in radians.

    Raises:
        ValueError: If the space is unknown, or positions on the sphere are not two angles.

    Examples:
        >>> antipode = jnp.array([[jnp.pi, 0.0]])
        >>> round(float(distances(jnp.zeros((1, 2)), antipode, space="sphere")[0, 0]), 4)
        3.1416
    """
    check_choice("space", space, ("flat", "torus", "sphere"))
    if space == "sphere":
        if queries.shape[-1] != 2:
            raise ValueError(f"positions must be (longitude, latitude), got {queries.shape[-1]}")
        queries, keys = unit_vectors(queries), unit_vectors(keys)
    offsets = queries[..., :, None, :] - keys[..., None, :, :]
    if space == "torus":
        offsets = wrap(offsets, period)
    length = euclidean(offsets)
    if space == "sphere":
        # Half the angle from its sine and cosine: accurate at both ends; arccos is at neither.
        opposite = euclidean(queries[..., :, None, :] + keys[..., None, :, :])
        return 2 * jnp.arctan2(length, opposite)
    return length


def pairwise_bias(
    kernel: Kernel,
    queries: Float[Array, "*b n m"],
    keys: Float[Array, "*b s m"],
    *,
    space: str = "flat",
    period: float | Sequence[float] = float(2 * np.pi),
) -> Float[Array, "*b 1 n s"]:
    """The log of a kernel between every query and key, for the ``bias`` of attention.

    Args:
        kernel: Any kernel.
        queries: Positions.
        keys: Positions.
        space: See :func:`distances`.
        period: See :func:`distances`.

    Returns:
        One bias for all heads.

    Examples:
        >>> pairwise_bias(exponential(1.0), jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]))
        Array([[[-5.]]], dtype=float32)
    """
    return kernel.log(distances(queries, keys, space=space, period=period))[..., None, :, :]


def alibi_slopes(num_heads: int) -> Float[Array, " {num_heads}"]:
    r"""ALiBi's slopes, :math:`2^{-8(i+1)/H}`, and its rule for numbers that are no power of two.

    Args:
        num_heads: :math:`H`.

    Returns:
        One slope for each head.

    Examples:
        >>> alibi_slopes(4).tolist()
        [0.25, 0.0625, 0.015625, 0.00390625]

    References:
        Press et al., "Train short, test long", arXiv 2108.12409, 2021, section 3.
    """

    def powers(num: int) -> np.ndarray:
        return 2.0 ** (-8 * np.arange(1, num + 1) / num)

    power = 2 ** int(np.log2(num_heads))
    slopes = np.concatenate([powers(power), powers(2 * power)[::2][: num_heads - power]])
    return jnp.asarray(slopes, jnp.float32)


def alibi(
    queries: Float[Array, "*b n m"],
    keys: Float[Array, "*b s m"],
    slopes: Float[Array, " h"],
    *,
    space: str = "flat",
) -> Float[Array, "*b h n s"]:
    r"""Linear bias :math:`-m_h\, |x_i - x_j|`, in any number of dimensions.

    Args:
        queries: Positions, integer in the paper.
        keys: Positions.
        slopes: One for each head, see :func:`alibi_slopes`.
        space: See :func:`distances`.

    Returns:
        A bias for each head.

    Examples:
        >>> alibi(jnp.zeros((1, 1)), jnp.array([[2.0]]), alibi_slopes(8))[0]
        Array([[-1.]], dtype=float32)

    References:
        Press et al., "Train short, test long", arXiv 2108.12409, 2021.
    """
    length = distances(queries, keys, space=space)[..., None, :, :]
    return -slopes.reshape((1,) * (length.ndim - 3) + (-1, 1, 1)) * length


def relative_index(shape: Sequence[int]) -> Int[np.ndarray, "n n"]:
    """Row of the relative-bias table for every pair of cells of a grid.

    Args:
        shape: Cells along each axis, rows first.

    Returns:
        Indices into ``prod(2 P - 1)`` displacements, flattened row-major.

    Examples:
        >>> relative_index((2,))
        array([[1, 0],
               [2, 1]])
    """
    cells = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape))
    offset = cells[:, None, :] - cells[None, :, :] + np.asarray(shape) - 1
    displacements = tuple(2 * size - 1 for size in shape)
    return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(offset, -1, 0)), displacements))


def relative_bias(table: Float[Array, "h k"], shape: Sequence[int]) -> Float[Array, "h n n"]:
    """Learned bias for every displacement on a grid, as in Swin.

    Args:
        table: One value for each head and displacement, ``prod(2 P - 1)`` of them.
        shape: Cells along each axis, rows first.

    Returns:
        The bias of every head.

    Raises:
        ValueError: If the table has another number of displacements.

    Examples:
        >>> relative_bias(jnp.arange(3.0)[None, :], (2,))
        Array([[[1., 0.],
                [2., 1.]]], dtype=float32)

    References:
        Liu et al., "Swin transformer", arXiv 2103.14030, 2021, equation 4.
    """
    wanted = int(np.prod([2 * size - 1 for size in shape]))
    if table.shape[-1] != wanted:
        raise ValueError(f"table must have {wanted} displacements, got {table.shape[-1]}")
    return table[:, relative_index(shape)]
