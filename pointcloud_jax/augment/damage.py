"""What is missing of a cloud: a part cropped away, a side cut off, what a camera does not see."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray


def crop_mask(
    key: PRNGKeyArray,
    points: Float[Array, "n 3"],
    keep: Float[Array, ""] | float,
    *,
    mask: Bool[Array, " n"] | None = None,
) -> Bool[Array, " n"]:
    """Keep the part of the points that is nearest to a random one of them.

    Args:
        key: Random key.
        points: One cloud.
        keep: Part that stays, rounded up to whole points.
        mask: True for points that exist.

    Returns:
        True for points that stay.

    Examples:
        >>> line = jnp.arange(10.0)[:, None] * jnp.ones((1, 3))
        >>> int(crop_mask(jax.random.key(0), line, 0.3).sum())
        3
    """
    exists = jnp.ones(points.shape[:-1], bool) if mask is None else mask
    seed = points[
        jnp.argmax(jnp.where(exists, jax.random.uniform(key, exists.shape, jnp.float32), -1))
    ]
    return _smallest(jnp.square(points - seed[None, :]).sum(-1), keep, exists)


def cut_mask(
    key: PRNGKeyArray,
    points: Float[Array, "n 3"],
    part: Float[Array, ""] | float,
    *,
    mask: Bool[Array, " n"] | None = None,
) -> Bool[Array, " n"]:
    """Cut a part of the points off by a plane in a random direction.

    Args:
        key: Random key.
        points: One cloud.
        part: Part that goes, rounded down to whole points.
        mask: True for points that exist.

    Returns:
        True for points that stay.

    Examples:
        >>> line = jnp.arange(10.0)[:, None] * jnp.ones((1, 3))
        >>> int(cut_mask(jax.random.key(0), line, 0.3).sum())
        7
    """
    exists = jnp.ones(points.shape[:-1], bool) if mask is None else mask
    direction = jax.random.normal(key, (3,), jnp.float32)
    return _smallest((points * direction[None, :]).sum(-1), 1 - part, exists)


def visible_mask(
    points: Float[Array, "n 3"],
    direction: Float[Array, "3"],
    *,
    cells: int = 12,
    thickness: float = 0.15,
    mask: Bool[Array, " n"] | None = None,
) -> Bool[Array, " n"]:
    """Keep the points that are seen from far away in a direction.

    The cloud's shadow is divided into square cells; in each, what lies deeper than the point in
    front by more than a part of the cloud's extent is hidden, as in the image of a depth camera.

    Args:
        points: One cloud.
        direction: From the cloud to the eye, of any length but zero.
        cells: Cells along each side of the shadow.
        thickness: How far behind the front points still count as seen, in extents of the cloud.
        mask: True for points that exist.

    Returns:
        True for points that are seen.

    Examples:
        >>> pair = jnp.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
        >>> visible_mask(pair, jnp.array([0.0, 0.0, 1.0]))
        Array([ True, False], dtype=bool)
    """
    exists = jnp.ones(points.shape[:-1], bool) if mask is None else mask
    points, direction = points.astype(jnp.float32), direction.astype(jnp.float32)
    forward = direction / jnp.linalg.norm(direction)
    # The axis along which the direction is shortest is never parallel to it.
    helper = jax.nn.one_hot(jnp.argmin(jnp.abs(forward)), 3, dtype=jnp.float32)
    across = jnp.cross(forward, helper)
    across = across / jnp.linalg.norm(across)
    axes = jnp.stack([across, jnp.cross(forward, across), forward])
    seen = jnp.matmul(points, axes.T, precision=jax.lax.Precision.HIGHEST)
    low = jnp.where(exists[:, None], seen, jnp.inf).min(0)
    high = jnp.where(exists[:, None], seen, -jnp.inf).max(0)
    extent = jnp.where(exists.any(), (high - low).max(), 1)
    extent = jnp.where(extent > 0, extent, 1)
    low = jnp.where(exists.any(), low, 0)
    cell = jnp.clip((seen[:, :2] - low[None, :2]) / extent * cells, 0, cells - 1).astype(jnp.int32)
    depth = jnp.where(exists, seen[:, 2], -jnp.inf)
    number = cell[:, 0] * cells + cell[:, 1]
    front = jax.ops.segment_max(depth, number, num_segments=cells * cells)
    return exists & (depth >= front[number] - thickness * extent)


def _smallest(values: jax.Array, part: jax.Array | float, exists: jax.Array) -> jax.Array:
    """Mark the smallest values: `part` of those that exist, at least one."""
    count = exists.sum(dtype=jnp.float32)
    # Rounding may leave 0.3 * 10 just above 3.
    kept = jnp.maximum(jnp.ceil(part * count - 1e-4), 1)
    order = jnp.argsort(jnp.where(exists, values, jnp.inf))
    rank = (
        jnp.zeros(values.shape, jnp.int32)
        .at[order]
        .set(jnp.arange(values.shape[0], dtype=jnp.int32))
    )
    return exists & (rank < kept.astype(jnp.int32))
