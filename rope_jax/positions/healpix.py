"""HEALPix: cells of equal area on the sphere, four children in each cell."""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rope_jax.checks import check_choice
from rope_jax.positions.coordinates import Coordinates

HealpixOrder = Literal["ring", "nested"]


def healpix_grid(num_sides: int, *, order: HealpixOrder = "ring") -> Coordinates:
    r"""HEALPix pixel centers: :math:`12\, n^2` cells of equal area.

    Args:
        num_sides: :math:`n`, divisions of the side of a base pixel.
        order: ``"ring"``, from the north pole along circles of latitude; or ``"nested"``, see
            :func:`healpix_nested`.

    Returns:
        ``(longitude, latitude)`` in radians, longitude in :math:`[0, 2\pi)`; equal measures that
        sum to :math:`4\pi`.

    Raises:
        ValueError: If ``num_sides`` is not positive, or of nested pixels no power of 2.

    Examples:
        >>> healpix_grid(2).positions.shape
        (48, 2)

    References:
        Górski et al., "HEALPix", ApJ 622, 2005, equations 2 to 9.
    """
    check_choice("order", order, get_args(HealpixOrder))
    if num_sides < 1:
        raise ValueError(f"num_sides must be positive, got {num_sides}")
    n = num_sides
    longitude, height = [], []
    for ring in range(1, 4 * n):
        cap = min(ring, 4 * n - ring)  # distance from the nearer pole
        if cap < n:
            count, shift = 4 * cap, 0.5
            z = (1 - cap**2 / (3 * n**2)) * (1 if ring < 2 * n else -1)
        else:
            # Equatorial rings are staggered by half a pixel, starting with ring n.
            count, shift = 4 * n, 0.5 * ((ring - n + 1) % 2)
            z = 4 / 3 - 2 * ring / (3 * n)
        longitude.append(2 * np.pi * (np.arange(count) + shift) / count)
        height.append(np.full(count, z))
    lon, z = np.concatenate(longitude), np.concatenate(height)
    positions = np.stack([lon, np.arcsin(z)], axis=-1)
    if order == "nested":
        positions = positions[healpix_nested(n)]
    measure = np.full(len(lon), 4 * np.pi / len(lon))
    return Coordinates(jnp.asarray(positions, jnp.float32), jnp.asarray(measure, jnp.float32))


def healpix_nested(num_sides: int) -> Int[np.ndarray, " n"]:
    r"""Where the pixels of the nested order are in the ring order.

    In the nested order the four children of pixel :math:`p` on the next finer grid are
    :math:`4p, \dots, 4p + 3`, so that a run of :math:`4^k` pixels is a cell of a coarser grid. In
    base pixel :math:`f`, with :math:`x` (northeast) and :math:`y` (northwest) made of every other
    bit,

    .. math:: i = F_1 n - (x + y) - 1, \qquad j = \frac{F_2 c + (x - y) + s}{2}, \qquad
        F_1 = \lfloor f/4 \rfloor + 2

    are the ring and the pixel in it: :math:`F_2 = 2 (f \bmod 4) - (F_1 \bmod 2) + 1` counts eighths
    of a turn, :math:`c` is a quarter of the pixels of the ring, and :math:`s` its shift.

    Args:
        num_sides: :math:`n`, a power of 2.

    Returns:
        The number in the ring order of each pixel of the nested order.

    Raises:
        ValueError: If ``num_sides`` is no power of 2.

    Examples:
        >>> healpix_nested(1).tolist() == list(range(12))
        True
        >>> healpix_nested(2)[:4]
        array([13,  5,  4,  0])

    References:
        Górski et al., "HEALPix", ApJ 622, 2005, equations 10 to 22.
    """
    n = num_sides
    if n < 1 or n & (n - 1):
        raise ValueError(f"num_sides must be a power of 2 for nested pixels, got {n}")
    face, inside = np.divmod(np.arange(12 * n * n), n * n)
    x, y = np.zeros_like(inside), np.zeros_like(inside)
    for bit in range(n.bit_length() - 1):
        x |= ((inside >> (2 * bit)) & 1) << bit
        y |= ((inside >> (2 * bit + 1)) & 1) << bit
    first = face // 4 + 2
    ring = first * n - (x + y) - 1
    quarter = np.minimum(np.minimum(ring, 4 * n - ring), n)
    # Rings of the caps, and every other ring of the belt, begin half a pixel after the meridian.
    shifted = (quarter < n) | ((ring - n) % 2 == 0)
    eighths = 2 * (face % 4) - first % 2 + 1
    place = (eighths * quarter + (x - y) - shifted) // 2 % (4 * quarter)
    return ring_starts(n)[ring - 1] + place


def ring_starts(num_sides: int) -> Int[np.ndarray, " r"]:
    """Number of the first pixel of each ring, from the north, in the ring order.

    Args:
        num_sides: Divisions of the side of a base pixel.

    Returns:
        One number a ring, ``4 * num_sides - 1`` of them.

    Examples:
        >>> ring_starts(2)
        array([ 0,  4, 12, 20, 28, 36, 44])
    """
    ring = np.arange(1, 4 * num_sides)
    counts = 4 * np.minimum(np.minimum(ring, 4 * num_sides - ring), num_sides)
    return np.cumsum(counts) - counts


def healpix_interpolation(
    points: Float[Array, "*b 3"], num_sides: int
) -> tuple[Int[Array, "*b 4"], Float[Array, "*b 4"]]:
    r"""Pixels around a direction, and their weights: linear along two rings and between them.

    The value of a pole is the mean of the four pixels around it.

    Args:
        points: Unit vectors.
        num_sides: :math:`n`, divisions of the side of a base pixel.

    Returns:
        Numbers of pixels in the ring order, and weights that sum to 1.

    Examples:
        >>> from rope_jax import unit_vectors
        >>> centers = unit_vectors(healpix_grid(2).positions)
        >>> pixels, weights = healpix_interpolation(centers, 2)
        >>> bool((jnp.take_along_axis(pixels, weights.argmax(-1)[:, None], 1)[:, 0]
        ...       == jnp.arange(48)).all())
        True
    """
    n = num_sides
    points = points.astype(jnp.float32)
    z = jnp.clip(points[..., 2], -1.0, 1.0)
    longitude = jnp.arctan2(points[..., 1], points[..., 0]) % (2 * np.pi)
    # The number of the ring as a real number, from its height; colatitudes between two rings.
    belt = n * (2 - 1.5 * z)
    across = jnp.sqrt(jnp.square(points[..., 0]) + jnp.square(points[..., 1]))
    cap = n * jnp.sqrt(3.0) * across / jnp.sqrt(1 + jnp.abs(z))  # n sqrt(3 (1 - |z|)), exact at 0
    number = jnp.where(jnp.abs(z) <= 2 / 3, belt, jnp.where(z > 0, cap, 4 * n - cap))
    upper = jnp.clip(jnp.floor(number), 0, 4 * n - 1).astype(jnp.int32)
    ring = np.arange(4 * n + 1)
    near = np.minimum(ring, 4 * n - ring)
    height = np.where(near <= n, 1 - near**2 / (3 * n**2), 4 / 3 - 2 * near / (3 * n))
    colatitude = jnp.asarray(np.arccos(np.where(ring > 2 * n, -height, height)), jnp.float32)
    here = jnp.arctan2(across, z)
    above, below = colatitude[upper], colatitude[upper + 1]
    part = jnp.clip((here - above) / (below - above), 0.0, 1.0)
    counts = 4 * np.minimum(np.maximum(near, 1), n)
    shift = np.where((near < n) | ((ring - n) % 2 == 0), 0.5, 0.0)
    starts = np.concatenate([[0], ring_starts(n), [12 * n * n - 4]])
    tables = [jnp.asarray(x) for x in (starts.astype(np.int32), counts.astype(np.int32))]
    shifts = jnp.asarray(shift, jnp.float32)

    def along(which: Array) -> tuple[Array, Array]:
        """Two neighbors in a ring, of the pole the two on its other side; and their weights."""
        start, count = (table[which] for table in tables)
        place = longitude * count.astype(jnp.float32) / (2 * np.pi) - shifts[which]
        left = jnp.floor(place)
        low = left.astype(jnp.int32) + jnp.where((which == 0) | (which == 4 * n), 2, 0)
        pixels = jnp.stack([start + low % count, start + (low + 1) % count], -1)
        return pixels, jnp.stack([1 - (place - left), place - left], -1)

    north, south = (upper == 0)[..., None], (upper + 1 == 4 * n)[..., None]
    (first, inner), (second, outer) = along(upper), along(upper + 1)
    part = part[..., None]
    inner = jnp.where(north, 0.25, inner) * (1 - part) + jnp.where(south, 0.25 * part, 0.0)
    outer = jnp.where(south, 0.25, outer) * part + jnp.where(north, 0.25 * (1 - part), 0.0)
    return jnp.concatenate([first, second], -1), jnp.concatenate([inner, outer], -1)
