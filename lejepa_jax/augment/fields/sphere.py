"""Fields on the sphere: read at the cells of a HEALPix grid, turned or as they are."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import rope_jax

# Children of a cell that are averaged where the field is sampled more densely, as a power of 4.
_FINEST = 2


def cells_of(size: int) -> int:
    """Divisions of a side of a base pixel in a HEALPix grid of so many cells.

    Args:
        size: Number of cells.

    Returns:
        `num_sides`, a power of 2.

    Raises:
        ValueError: If there is no such grid.

    Examples:
        >>> cells_of(768)
        8
    """
    sides = math.isqrt(size // 12)
    if size < 12 or 12 * sides * sides != size or sides & (sides - 1):
        raise ValueError(
            f"size must be 12 n^2 cells of a HEALPix grid, n a power of 2 (192, 768, 3072, ...), "
            f"got {size}"
        )
    return sides


def check_stored(shape: tuple[int, ...]) -> None:
    """Refuse what is no sphere as it is stored.

    Args:
        shape: Latitudes and longitudes of a grid of equal angles; or the pixels of a HEALPix map.

    Raises:
        ValueError: For an odd number of longitudes, another number of pixels, or three axes.
    """
    if len(shape) == 2 and shape[1] % 2 == 0:
        return
    if len(shape) == 1:
        sides = math.isqrt(shape[0] // 12)
        if sides and 12 * sides * sides == shape[0]:
            return
    raise ValueError(
        "a field on the sphere must be (latitudes, longitudes), an even number of the latter, or "
        f"the 12 n^2 pixels of a HEALPix map, got {shape}"
    )


def random_turn(key: PRNGKeyArray, axis: str) -> Float[Array, "3 3"]:
    """Draw a rotation of the sphere.

    Args:
        key: Random key.
        axis: "any" draws uniformly from SO(3), "yaw" about the poles, "none" gives the identity.

    Returns:
        The matrix.

    Examples:
        >>> turn = random_turn(jax.random.key(0), "any")
        >>> bool(jnp.allclose(turn @ turn.T, jnp.eye(3), atol=1e-5))
        True
        >>> round(float(jnp.linalg.det(turn)), 4)
        1.0
    """
    if axis == "none":
        return jnp.eye(3, dtype=jnp.float32)
    if axis == "yaw":
        angle = jax.random.uniform(key, (), jnp.float32, 0.0, 2 * np.pi)
        cos, sin, zero, one = jnp.cos(angle), jnp.sin(angle), jnp.zeros(()), jnp.ones(())
        rows = [[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]]
        return jnp.stack([jnp.stack(row) for row in rows]).astype(jnp.float32)
    # Of a random orthogonal matrix one column changes its sign where it is a reflection.
    matrix = jax.random.orthogonal(key, 3).astype(jnp.float32)
    determinant = jnp.dot(matrix[:, 0], jnp.cross(matrix[:, 1], matrix[:, 2]))
    return matrix.at[:, 0].multiply(jnp.sign(determinant))


def read_sphere(
    values: Float[Array, "*stored c"],
    exists: Float[Array, "*stored c"],
    turn: Float[Array, "3 3"],
    num_sides: int,
) -> tuple[Float[Array, "n c"], Float[Array, "n c"]]:
    r"""Read a field on the sphere at the cells of a nested HEALPix grid: :math:`f(R^\top u)`.

    Linearly between samples. Where the field is sampled more densely than the grid, the mean over
    4 or 16 children of each cell is read. What is missing has no weight.

    Args:
        values: On a grid of equal angles (latitude from the north, longitude from -180 degrees, as
            `rope_jax.sphere_grid`), or the pixels of a HEALPix map in ring order; zero where there
            is none.
        exists: 1 where there is one.
        turn: Rotation :math:`R` of the sphere.
        num_sides: Of the grid that is read.

    Returns:
        Values and whether each exists.

    Raises:
        ValueError: If the field is no sphere.

    Examples:
        >>> ones = jnp.ones((4, 8, 1))
        >>> values, there = read_sphere(ones, ones, jnp.eye(3), 2)
        >>> values.shape, bool((values == 1).all())
        ((48, 1), True)
    """
    *stored, channels = values.shape
    check_stored(tuple(stored))
    rows = stored[0] if len(stored) == 2 else 4 * math.isqrt(stored[0] // 12)
    # A cell of a HEALPix grid is sqrt(pi / 3) / n wide, a row of the stored one pi / rows.
    ratio = math.sqrt(math.pi / 3) / num_sides * rows / math.pi
    level = min(_FINEST, max(0, math.ceil(math.log2(ratio) - 0.25)))
    centers = rope_jax.healpix_grid(num_sides << level, order="nested").positions
    points = rope_jax.unit_vectors(centers) @ turn  # R^T u for each
    pair = jnp.concatenate([values, exists], -1).reshape(-1, 2 * channels)
    if len(stored) == 1:
        pixels, weights = rope_jax.healpix_interpolation(points, math.isqrt(stored[0] // 12))
    else:
        pixels, weights = grid_interpolation(points, (stored[0], stored[1]))
    read = (pair[pixels] * weights[..., None]).sum(-2)
    read = read.reshape(12 * num_sides**2, 4**level, 2 * channels).mean(1)
    there = read[:, channels:] > 0.5
    found = jnp.where(there, read[:, :channels] / jnp.where(there, read[:, channels:], 1.0), 0.0)
    return found, there.astype(jnp.float32)


def grid_interpolation(
    points: Float[Array, "n 3"], shape: tuple[int, int]
) -> tuple[Array, Float[Array, "n 4"]]:
    """Samples of a grid of equal angles around a direction, and their weights, across the poles.

    Args:
        points: Unit vectors.
        shape: Latitudes and longitudes, as of `rope_jax.sphere_grid`.

    Returns:
        Numbers of samples, row by row, and weights that sum to 1.

    Examples:
        >>> points = rope_jax.unit_vectors(rope_jax.sphere_grid(4, 8).positions)
        >>> samples, weights = grid_interpolation(points, (4, 8))
        >>> bool((jnp.take_along_axis(samples, weights.argmax(-1)[:, None], 1)[:, 0]
        ...       == jnp.arange(32)).all())
        True
    """
    rows, columns = shape
    across = jnp.sqrt(jnp.square(points[:, 0]) + jnp.square(points[:, 1]))
    row = jnp.arctan2(across, points[:, 2]) * (rows / np.pi) - 0.5
    column = (jnp.arctan2(points[:, 1], points[:, 0]) + np.pi) * (columns / (2 * np.pi))
    top, left = jnp.floor(row), jnp.floor(column)
    down, right = row - top, column - left

    def sample(i: Array, j: Array) -> Array:
        i, j = i.astype(jnp.int32), j.astype(jnp.int32)
        beyond = (i < 0) | (i >= rows)  # over the pole, on the other side of it
        i = jnp.where(i < 0, -1 - i, jnp.where(i >= rows, 2 * rows - 1 - i, i))
        return i * columns + (j + jnp.where(beyond, columns // 2, 0)) % columns

    samples = [sample(top + a, left + b) for a in (0, 1) for b in (0, 1)]
    weights = [
        (1 - down) * (1 - right),
        (1 - down) * right,
        down * (1 - right),
        down * right,
    ]
    return jnp.stack(samples, -1), jnp.stack(weights, -1)
