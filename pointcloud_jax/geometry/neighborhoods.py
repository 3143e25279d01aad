"""Neighborhoods that are shares of a cloud: as large, and as many edges, whatever its density."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Int

from lejepa_jax.checks import check_positive
from pointcloud_jax.geometry.graph import Neighbors


def spread_neighbors(
    neighbors: Neighbors,
    count: Int[Array, " *#batch"],
    share: float,
    *,
    num_edges: int,
) -> Neighbors:
    r"""Take some of the nearest points, evenly from the first to the last of a share of the cloud.

    Of a cloud with :math:`c` points that exist, the :math:`r = \lceil \text{share} \cdot c \rceil`
    nearest ones are around a query; edge :math:`j` of :math:`e` leads to the one of rank
    :math:`\lfloor (j + \tfrac12)\, r / e \rfloor`. With four times the points of one shape edges
    reach as far, and are as many. Where fewer points are around than edges, some are met several
    times.

    Args:
        neighbors: The nearest points, from `knn` or `knn_between`; at least `share_of` the array.
        count: How many points of each cloud exist.
        share: Part of them that is around a query.
        num_edges: How many of those are taken.

    Returns:
        Neighbors, nearest first.

    Raises:
        ValueError: If `share` is not in (0, 1] or `num_edges` not positive.

    Examples:
        >>> from pointcloud_jax.geometry.graph import knn_between
        >>> line = jnp.arange(8.0)[:, None] * jnp.ones((1, 3))
        >>> found = knn_between(line[:1], line, share_of(8, 0.5))
        >>> spread_neighbors(found, jnp.int32(8), 0.5, num_edges=2).indices
        Array([[1, 3]], dtype=int32)
    """
    check_positive("num_edges", num_edges)
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    around = jnp.ceil(jnp.float32(share) * count.astype(jnp.float32) - 1e-4).astype(jnp.int32)
    around = jnp.clip(around, 1, neighbors.mask.shape[-1])
    # Whole numbers, so that padded and sliced clouds agree to the bit.
    odd = 2 * jnp.arange(num_edges, dtype=jnp.int32) + 1
    ranks = odd.reshape((1,) * around.ndim + (1, num_edges)) * around[..., None, None]
    ranks = jnp.broadcast_to(ranks // (2 * num_edges), (*neighbors.mask.shape[:-1], num_edges))
    indices, mask = (jnp.take_along_axis(values, ranks, axis=-1) for values in neighbors)
    return Neighbors(indices, mask)


def share_of(num: int, share: float) -> int:
    """Count the points of a share, rounded up, at least one.

    Args:
        num: Points of the cloud.
        share: Part of them.

    Returns:
        How many.

    Examples:
        >>> share_of(256, 1 / 16), share_of(3, 0.1), share_of(10, 0.3)
        (16, 1, 3)
    """
    # 0.3 * 10 is just above 3.
    return max(1, math.ceil(share * num - 1e-6))
