"""Neighborhoods: nearest neighbors, balls, and well-spread subsets of points.

Indices carry no gradient: which points are neighbors is decided under `stop_gradient`, and the
gradient flows through the values gathered with them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from lejepa_jax.checks import check_positive
from pointcloud_jax.checks import check_points

# Distances held at once: 64 MiB in float32.
_BLOCK_ELEMENTS = 2**24
# Up to this many coordinates the differences themselves are cheap enough for all pairs.
_DIRECT_DIM = 8
# Candidates beyond k that the fast formula hands to the exact one.
_MARGIN = 8
# A CPU looks for the smallest of one array on one core. Many pairs are cut in pieces that it does
# at once: where more than 8 operations are ready it hands over half of them, where fewer are, none.
# (Fewer pairs are not worth the time to compile.)
_CPU_PIECES, _CPU_PAIRS = 16, 2**22


class Neighbors(NamedTuple):
    """Indices of neighbors, nearest first, and which of them exist."""

    indices: Int[Array, "*batch n k"]
    mask: Bool[Array, "*batch n k"]


def knn(
    points: Float[Array, "*batch n d"],
    k: int,
    *,
    exclude_self: bool = False,
    mask: Bool[Array, "*batch n"] | None = None,
) -> Neighbors:
    r"""Find the `k` nearest points of every point, in coordinate or in feature space.

    Distances are sums of squared differences, never :math:`|x|^2 - 2 x \cdot y + |y|^2` alone: that
    cancels, and after a rotation one point in 1,500 would see its neighbors in another order. In
    more than 8 dimensions the expanded formula, which is one matrix product, proposes `k + 8`
    candidates and the differences decide among them. Ties go to the lower index. Memory is linear
    in the number of points: rows are handled in blocks.

    Args:
        points: Coordinates or features.
        k: Number of neighbors.
        exclude_self: Whether a point is no neighbor of itself (a duplicate of it still is one).
        mask: True for points that exist.

    Returns:
        The neighbors, nearest first. Where fewer than `k` exist the rest is masked and repeats the
        nearest one (the point itself, where there is none), so that gathering is always safe.

    Raises:
        ValueError: If `k` is not between 1 and the number of points (less one without the point
            itself), and as `check_points`.

    Examples:
        >>> line = jnp.array([[0.0], [1.0], [3.0]])
        >>> find = jax.jit(knn, static_argnums=1, static_argnames="exclude_self")
        >>> find(line, 1, exclude_self=True).indices[:, 0]
        Array([1, 0, 1], dtype=int32)
    """
    check_points("points", points, mask, dim=None)
    num = points.shape[-2]
    if not 1 <= k <= num - exclude_self:
        raise ValueError(
            f"k must be between 1 and the {num - exclude_self} possible neighbors, got {k}"
        )
    points = lax.stop_gradient(points.astype(jnp.float32))
    if mask is not None:
        points = jnp.where(mask[..., None], points, 0)
    return _nearest(points, points, k, exclude_self=exclude_self, mask=mask)


def ball_query(
    centers: Float[Array, "*batch m d"],
    points: Float[Array, "*batch n d"],
    radius: float,
    k: int,
    *,
    mask: Bool[Array, "*batch n"] | None = None,
) -> Neighbors:
    """Find up to `k` points within a radius of each center: the nearest ones.

    Args:
        centers: Where the balls sit.
        points: What is looked for.
        radius: Radius of the balls, the boundary included.
        k: Most points in a ball.
        mask: True for points that exist.

    Returns:
        The points in each ball, nearest first. Where there are fewer than `k` the rest is masked
        and repeats the nearest one; an empty ball is all masked.

    Raises:
        ValueError: If `radius` is not positive, `k` not between 1 and the number of points, the
            numbers of coordinates differ, and as `check_points`.

    Examples:
        >>> line = jnp.array([[0.0], [1.0], [3.0]])
        >>> query = jax.jit(ball_query, static_argnums=(2, 3))
        >>> query(line, line, 1.5, 2).mask[:, 1]
        Array([ True,  True, False], dtype=bool)

    References:
        C. R. Qi, L. Yi, H. Su, L. J. Guibas, "PointNet++", arXiv 1706.02413, 2017, section 3.2.
    """
    check_points("points", points, mask, dim=None)
    check_points("centers", centers, dim=points.shape[-1])
    check_positive("radius", radius)
    if not 1 <= k <= points.shape[-2]:
        raise ValueError(f"k must be between 1 and the {points.shape[-2]} points, got {k}")
    centers, points = (lax.stop_gradient(a.astype(jnp.float32)) for a in (centers, points))
    if mask is not None:
        points = jnp.where(mask[..., None], points, 0)
    return _nearest(centers, points, k, mask=mask, limit=radius * radius)


def knn_between(
    queries: Float[Array, "*batch m d"],
    points: Float[Array, "*batch n d"],
    k: int,
    *,
    mask: Bool[Array, "*batch n"] | None = None,
) -> Neighbors:
    """Find the `k` points nearest to each query, as `knn` does within one cloud.

    Args:
        queries: Where to look from.
        points: What is looked for.
        k: Number of neighbors.
        mask: True for points that exist.

    Returns:
        The points, nearest first. Where fewer than `k` exist the rest is masked and repeats the
        nearest one.

    Raises:
        ValueError: If `k` is not between 1 and the number of points, the numbers of coordinates
            differ, and as `check_points`.

    Examples:
        >>> line = jnp.array([[0.0], [1.0], [3.0]])
        >>> jax.jit(knn_between, static_argnums=2)(line + 0.6, line, 2).indices[:, 0]
        Array([1, 1, 2], dtype=int32)
    """
    check_points("points", points, mask, dim=None)
    check_points("queries", queries, dim=points.shape[-1])
    if not 1 <= k <= points.shape[-2]:
        raise ValueError(f"k must be between 1 and the {points.shape[-2]} points, got {k}")
    queries, points = (lax.stop_gradient(a.astype(jnp.float32)) for a in (queries, points))
    if mask is not None:
        points = jnp.where(mask[..., None], points, 0)
    return _nearest(queries, points, k, mask=mask)


def interpolate(
    values: Float[Array, "*batch n c"],
    points: Float[Array, "*batch n d"],
    queries: Float[Array, "*batch m d"],
    *,
    k: int = 3,
    mask: Bool[Array, "*batch n"] | None = None,
) -> Float[Array, "*batch m c"]:
    r"""Interpolate values at points by their inverse squared distances from each query.

    .. math:: f(q) = \frac{\sum_j w_j f_j}{\sum_j w_j}, \qquad w_j = \frac{1}{|q - x_j|^2 + 10^{-8}}

    Args:
        values: What is known at the points.
        points: Where it is known.
        queries: Where it is wanted.
        k: How many of the nearest points count, at most.
        mask: True for points that exist.

    Returns:
        The values in float32; zero in clouds without points.

    Raises:
        ValueError: As `knn_between`.

    Examples:
        >>> line = jnp.array([[0.0], [1.0]])
        >>> print(interpolate(line, line, jnp.array([[0.5], [1.0]]), k=2).round(3))
        [[0.5]
         [1. ]]

    References:
        C. R. Qi, L. Yi, H. Su, L. J. Guibas, "PointNet++", arXiv 1706.02413, 2017, equation 2.
    """
    found = knn_between(queries, points, min(k, points.shape[-2]), mask=mask)
    points, queries = points.astype(jnp.float32), queries.astype(jnp.float32)
    square = jnp.square(gather(points, found.indices) - queries[..., :, None, :]).sum(-1)
    weights = jnp.where(found.mask, 1 / (jnp.where(found.mask, square, 1) + 1e-8), 0)
    weights = weights / jnp.maximum(weights.sum(-1, keepdims=True), 1e-20)
    near = jnp.where(found.mask[..., None], gather(values.astype(jnp.float32), found.indices), 0)
    return (weights[..., None] * near).sum(-2)


def gather(values: Shaped[Array, "..."], indices: Int[Array, "*batch m k"]) -> Shaped[Array, "..."]:
    """Take the values of neighbors.

    Args:
        values: `(*batch, n, ...)`, one row a point, of any shape.
        indices: Which rows, from `knn` or `ball_query`.

    Returns:
        `(*batch, m, k, ...)`, each cloud by its own indices.

    Raises:
        ValueError: If the leading axes differ.

    Examples:
        >>> gather(jnp.array([10.0, 20.0, 30.0]), jnp.array([[2, 0]]))
        Array([[30., 10.]], dtype=float32)
    """
    lead = indices.shape[:-2]
    if values.shape[: len(lead)] != lead:
        raise ValueError(f"values must have the leading axes {lead}, got {values.shape}")

    def one(values: jax.Array, indices: jax.Array) -> jax.Array:
        return values.at[indices].get(mode="promise_in_bounds")

    for _ in lead:
        one = jax.vmap(one)
    return one(values, indices)


def farthest_point_sampling(
    points: Float[Array, "*batch n 3"],
    num: int,
    *,
    mask: Bool[Array, "*batch n"] | None = None,
) -> Int[Array, "*batch {num}"]:
    """Choose points one by one, each as far as possible from those chosen before.

    It starts with the point farthest from the centroid. So nothing is random, and the choice
    depends neither on the pose of the cloud nor (but for ties) on the order of its points.

    Args:
        points: The clouds.
        num: How many points.
        mask: True for points that exist; others are never chosen. Where fewer than `num` exist,
            chosen points repeat.

    Returns:
        Indices in the order of choice. Those of an empty cloud are 0.

    Raises:
        ValueError: If `num` is not between 1 and the number of points, and as `check_points`.

    Examples:
        >>> line = jnp.array([[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [2, 0, 0]])
        >>> jax.jit(farthest_point_sampling, static_argnums=1)(line, 3)
        Array([2, 0, 3], dtype=int32)

    References:
        Y. Eldar, M. Lindenbaum, M. Porat, Y. Y. Zeevi, "The farthest point strategy for progressive
        image sampling", IEEE Transactions on Image Processing 6, 1997.
    """
    check_points("points", points, mask)
    if not 1 <= num <= points.shape[-2]:
        raise ValueError(f"num must be between 1 and the {points.shape[-2]} points, got {num}")
    points = lax.stop_gradient(points.astype(jnp.float32))
    exists = jnp.ones(points.shape[:-1], bool) if mask is None else mask
    points = jnp.where(exists[..., None], points, 0)
    count = jnp.maximum(exists.sum(-1, dtype=jnp.float32), 1)
    centroid = points.sum(-2) / count[..., None]

    def distance(origin: jax.Array) -> jax.Array:
        square = jnp.square(points - origin[..., None, :]).sum(-1)
        return jnp.where(exists, square, -1)

    def choose(carry, _):
        nearest, chosen = carry
        origin = jnp.take_along_axis(points, chosen[..., None, None], axis=-2)[..., 0, :]
        nearest = jnp.minimum(nearest, distance(origin))
        return (nearest, jnp.argmax(nearest, -1).astype(jnp.int32)), chosen

    from_centroid = distance(centroid)
    first = jnp.argmax(from_centroid, -1).astype(jnp.int32)
    # The carry starts from data, so that it varies over devices as the data does.
    unreached = jnp.where(exists, jnp.float32(jnp.finfo(jnp.float32).max), from_centroid)
    _, chosen = lax.scan(choose, (unreached, first), length=num)
    return jnp.moveaxis(chosen, 0, -1)


def _nearest(queries, points, k, *, exclude_self=False, mask=None, limit=None) -> Neighbors:
    """Search by blocks of queries; `exclude_self` takes queries and points to be the same."""
    num_queries, num, dim = queries.shape[-2], points.shape[-2], points.shape[-1]
    lead = queries.shape[:-2]
    direct = dim <= _DIRECT_DIM
    proposed = k if direct else min(k + _MARGIN, num)
    # Far outside float32's range of squares of sensible points, yet finite: no infinity minus
    # infinity, and an absent point is never nearer than one that exists.
    far = jnp.float32(jnp.finfo(jnp.float32).max)

    def propose(queries: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        if direct:
            nearness = -sum(
                jnp.square(queries[..., :, None, axis] - points[..., None, :, axis])
                for axis in range(dim)
            )
        else:
            # The square as one coordinate more: two passes over the pairs less.
            ones = jnp.ones_like(queries[..., :1])
            nearness = jnp.einsum(
                "...md,...nd->...mn",
                jnp.concatenate([2 * queries, -ones], -1),
                jnp.concatenate([points, jnp.square(points).sum(-1, keepdims=True)], -1),
                precision=lax.Precision.HIGHEST,
            )
        if mask is not None:
            nearness = jnp.where(mask[..., None, :], nearness, -far)
        if exclude_self:
            own = index[:, None] == jnp.arange(num, dtype=jnp.int32)[None, :]
            nearness = jnp.where(_lead(own, len(lead)), -far, nearness)
        values, indices = lax.top_k(nearness, proposed)
        return -values, indices

    def in_pieces(queries: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        if queries.size // dim * num < _CPU_PAIRS or queries.shape[-2] < _CPU_PIECES:
            return propose(queries, index)
        pieces = zip(
            jnp.array_split(queries, _CPU_PIECES, axis=-2),
            jnp.array_split(index, _CPU_PIECES),
            strict=True,
        )
        values, indices = zip(*(propose(*piece) for piece in pieces), strict=True)
        return jnp.concatenate(values, -2), jnp.concatenate(indices, -2)

    def block(operands: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        values, indices = lax.platform_dependent(*operands, cpu=in_pieces, default=propose)
        if direct:
            return values, indices
        queries, _ = operands
        exact = jnp.square(gather(points, indices) - queries[..., :, None, :]).sum(-1)
        return _first(jnp.where((values < far) & (exact < far), exact, far), indices, k)

    elements = max(1, queries.size // dim * num)
    num_blocks = min(num_queries, -(-elements // _BLOCK_ELEMENTS))
    index = jnp.arange(num_queries, dtype=jnp.int32)
    if num_blocks == 1:
        values, indices = block((queries, index))
    else:
        size = -(-num_queries // num_blocks)
        num_blocks = -(-num_queries // size)
        axis = len(lead)
        padding = [(0, 0)] * axis + [(0, size * num_blocks - num_queries), (0, 0)]
        padded = jnp.pad(queries, padding).reshape(*lead, num_blocks, size, dim)
        rows = jnp.pad(index, padding[-2], constant_values=-1).reshape(num_blocks, size)
        values, indices = lax.map(block, (jnp.moveaxis(padded, axis, 0), rows))
        values, indices = (
            jnp.moveaxis(a, 0, axis).reshape(*lead, size * num_blocks, k)[..., :num_queries, :]
            for a in (values, indices)
        )
    exists = values < far
    if limit is not None:
        exists &= values <= limit
    # Not a slice: XLA would merge it into the search, and on a CPU then sort every row, 15 times
    # slower. (A barrier between them makes jax 0.10 abort when the search is sharded over devices.)
    nearest = jnp.arange(k) == 0
    fallback = jnp.where(_lead(nearest[None], len(lead)), indices, 0)
    fallback = fallback.sum(-1, dtype=jnp.int32, keepdims=True)
    if exclude_self:
        reached = exists.any(-1, keepdims=True)
        fallback = jnp.where(reached, fallback, _lead(index[:, None], len(lead)))
    return Neighbors(jnp.where(exists, indices, fallback).astype(jnp.int32), exists)


def _first(values: jax.Array, indices: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Sort a few candidates, ties to the lower index, and keep `k`.

    Each counts those before it: of 28 that is a tenth of what a sort takes on a CPU.
    """
    value, index = values[..., None, :], indices[..., None, :]
    tie = (value == values[..., :, None]) & (index < indices[..., :, None])
    rank = ((value < values[..., :, None]) | tie).sum(-1, dtype=jnp.int32)
    place = rank[..., None, :] == _lead(jnp.arange(k, dtype=jnp.int32)[:, None], rank.ndim - 1)
    return jnp.where(place, value, 0).sum(-1), jnp.where(place, index, 0).sum(-1, dtype=jnp.int32)


def _lead(array: jax.Array, num: int) -> jax.Array:
    return array.reshape((1,) * num + array.shape)
