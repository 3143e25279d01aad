"""Positions with a measure: boxes and point sets."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Coordinates(NamedTuple):
    """Positions of tokens and their measures, the size of the part of space each represents."""

    positions: Float[Array, "*b n m"]
    measure: Float[Array, "*b n"]


def boxes(low: Float[Array, "*b n m"], high: Float[Array, "*b n m"]) -> Coordinates:
    """Tokens cut from boxes of any size: mixed patch sizes, merged tokens, tubelets of a clip.

    Args:
        low: Corner of each box with the smaller coordinates.
        high: The opposite corner.

    Returns:
        Centers, and volumes as the measure.

    Examples:
        >>> boxes(jnp.zeros((1, 2)), jnp.array([[2.0, 3.0]]))
        Coordinates(positions=Array([[1. , 1.5]], dtype=float32), measure=Array([6.],
        dtype=float32))
    """
    low, high = low.astype(jnp.float32), high.astype(jnp.float32)
    return Coordinates((low + high) / 2, jnp.prod(high - low, axis=-1))


def points(
    positions: Float[Array, "*b n m"],
    *,
    mask: Bool[Array, "*b n"] | None = None,
    num_neighbors: int | None = None,
    intrinsic_dim: int | None = None,
) -> Coordinates:
    r"""Points in space, with equal weights or with weights for their density.

    With ``num_neighbors = k`` the measure is :math:`r_k(i)^D`, the volume (up to a factor that
    cancels) of the ball to the k-th neighbor (the farthest point, where there are not so many):
    the denser the points, the smaller the measure of each.

    Args:
        positions: The points.
        mask: Which of them exist; the others get no measure.
        num_neighbors: ``k``, or ``None`` for equal weights.
        intrinsic_dim: Dimension :math:`D` of what the points sample: 2 for a scanned surface. By
            default the dimension of the space.

    Returns:
        The points, and a measure of mean one over those that exist.

    Raises:
        ValueError: If there are not more points than neighbors.

    Examples:
        >>> line = jnp.array([[0.0], [1.0], [2.0], [4.0]])
        >>> points(line, num_neighbors=1).measure
        Array([0.8, 0.8, 0.8, 1.6], dtype=float32)
    """
    positions = positions.astype(jnp.float32)
    *_, num, dim = positions.shape
    exists = jnp.ones(positions.shape[:-1], bool) if mask is None else mask
    if num_neighbors is None:
        measure = jnp.ones(positions.shape[:-1], jnp.float32)
    else:
        if not 0 < num_neighbors < num:
            raise ValueError(f"num_neighbors must be between 1 and {num - 1}, got {num_neighbors}")
        offsets = positions[..., :, None, :] - positions[..., None, :, :]
        square = jnp.sum(jnp.square(offsets), axis=-1)
        square = jnp.where(exists[..., None, :], square, jnp.finfo(jnp.float32).max)
        # The nearest point to a point is itself. Where fewer exist, the farthest of them.
        count = jnp.sum(exists, axis=-1, keepdims=True, dtype=jnp.int32)
        nth = jnp.clip(count - 1, 0, num_neighbors)[..., None]
        nth = jnp.broadcast_to(nth, (*square.shape[:-1], 1))
        radius = jnp.take_along_axis(jnp.sort(square), nth, axis=-1)[..., 0]
        radius = jnp.where(exists, radius, 0.0)
        # Relative to the largest, so that no power overflows. The floors keep duplicates, and their
        # logarithm, whatever the dimension.
        largest = jax.lax.stop_gradient(jnp.max(radius, axis=-1, keepdims=True))
        ratio = jnp.maximum(radius / jnp.where(largest > 0, largest, 1.0), 1e-20)
        measure = jnp.maximum(ratio ** (0.5 * (intrinsic_dim or dim)), 1e-30)
    measure = jnp.where(exists, measure, 0.0)
    count = jnp.sum(exists, axis=-1, keepdims=True, dtype=jnp.float32)
    total = jnp.sum(measure, axis=-1, keepdims=True)
    return Coordinates(positions, measure * count / jnp.where(total > 0, total, 1.0))
