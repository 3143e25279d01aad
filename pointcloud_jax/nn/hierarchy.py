r"""An invariant encoder that coarsens: groups around fewer and fewer centers.

Networks at full resolution build a graph and keep edges at every point in every layer. Here points
are described first by the moments of their neighborhoods (`pointcloud_jax.local.local_moments`).
Then each level chooses centers that are spread over the cloud (farthest points), describes the
neighborhood of each by lengths and angles of its edges (`pointcloud_jax.local.edge_angles`) and by
how the surface lies at both ends, and goes on with the centers alone, as PointNet++ does for
coordinates. Everything that enters is a rotation invariant, so the features are; what is chosen
depends on distances alone.

Neighborhoods are shares of the points that exist, seen through as many edges whatever the number of
points, and the number of centers is fixed: with more points of the same shape, neighborhoods are as
large as before.

References:
    C. R. Qi, L. Yi, H. Su, L. J. Guibas, "PointNet++", arXiv 1706.02413, 2017, section 3. Z. Zhang,
    B.-S. Hua, S.-K. Yeung, "RIConv++: Effective Rotation Invariant Convolutions for 3D Point Clouds
    Deep Learning", arXiv 2202.13094, 2022, section 3 (angles with reference axes; normals there are
    surface tensors here, which have no sign and are estimated from the points).
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lejepa_jax.nn.normalization import BatchNorm
from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.geometry.graph import (
    Neighbors,
    farthest_point_sampling,
    gather,
    interpolate,
    knn,
    knn_between,
)
from pointcloud_jax.geometry.neighborhoods import share_of, spread_neighbors
from pointcloud_jax.local.edge_invariants import edge_angles
from pointcloud_jax.local.moments import (
    local_moments,
    moment_invariants,
    surface_tensor,
    tensor_invariants,
)
from pointcloud_jax.nn.encoder import Description, PointEncoder, stack_vectors
from pointcloud_jax.nn.layers import linear
from pointcloud_jax.reductions import masked_max, masked_mean, safe_norm


@dataclasses.dataclass(frozen=True)
class HierarchyConfig:
    """Shape of a `HierarchicalEncoder`.

    Attributes:
        centers: Number of centers of each level (all points, where there are fewer).
        shares: How much of the level below is around a center, as a share of its points.
        widths: Features of each level.
        edges: Neighbors of a center that are looked at, evenly among those around it by distance.
        surfaces: Shares of the cloud by whose moments points are described first
            (`pointcloud_jax.local.local_moments`); none for not.
        embedding: Features after the last level, of which maximum and mean are taken.
        normals: Whether clouds come with normals.
        chirality: Whether mirror images are distinguished.

    Raises:
        ValueError: If `centers`, `shares` and `widths` differ in length, or a value does not fit.

    Examples:
        >>> HierarchyConfig().widths
        (32, 64)
    """

    centers: tuple[int, ...] = (64, 16)
    shares: tuple[float, ...] = (1 / 16, 1 / 4)
    widths: tuple[int, ...] = (32, 64)
    edges: int = 16
    surfaces: tuple[float, ...] = (1 / 32, 1 / 16)
    embedding: int = 256
    normals: bool = False
    chirality: bool = False

    def __post_init__(self):
        if not len(self.centers) == len(self.shares) == len(self.widths) > 0:
            raise ValueError(
                "centers, shares and widths must have one entry a level, got "
                f"{self.centers}, {self.shares}, {self.widths}"
            )
        for name in ("shares", "surfaces"):
            if not all(0 < share <= 1 for share in getattr(self, name)):
                raise ValueError(f"{name} must be in (0, 1], got {getattr(self, name)}")
        if not all(n > 0 for n in (*self.centers, *self.widths, self.edges, self.embedding)):
            raise ValueError(
                "centers, widths, edges and embedding must be positive, got "
                f"{self.centers}, {self.widths}, {self.edges}, {self.embedding}"
            )


class _Level(NamedTuple):
    """The points of one level: where they are, which exist, what is known of them.

    `nearest` are the points nearest to each, if they are known already.
    """

    nearest: Neighbors | None
    points: Float[Array, "b n 3"]
    mask: Bool[Array, "b n"]
    vectors: tuple[Float[Array, "b n 3"], ...]
    tensors: tuple[Float[Array, "b n 3 3"], ...]
    features: Float[Array, "b n c"]


class GroupAndPool(nnx.Module):
    """Choose centers, describe the neighborhood of each, and pool it.

    Args:
        num_centers: How many centers.
        share: What is around each of them, as a share of the points.
        edges: Points among those that are looked at.
        in_features: Features of the points.
        normals: Whether points have normals.
        offsets: Whether points have the mean offset of their neighborhood in the level before.
        num_tensors: Surface tensors of each point.
        width: Features of the centers.
        chirality: Whether mirror images are distinguished.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        num_centers: int,
        share: float,
        edges: int,
        in_features: int,
        normals: bool,
        offsets: bool,
        num_tensors: int,
        width: int,
        *,
        chirality: bool,
        axis_name: AxisName | None,
        rngs: nnx.Rngs,
    ):
        # The offset, the mean offset and the position of the center, and the vectors of both ends.
        vectors = 3 + 2 * (normals + offsets)
        invariants = vectors * (vectors + 1) // 2 + chirality + 3 * num_tensors
        self.num_centers = num_centers
        self.share = share
        self.edges = edges
        self.normals = normals
        self.chirality = chirality
        self.from_edge = linear(invariants, width, use_bias=False, rngs=rngs)
        self.from_points = linear(in_features, 2 * width, use_bias=False, rngs=rngs)
        self.edge_norm = BatchNorm(width, axis_name=axis_name, rngs=rngs)
        self.mix = linear(width, width, use_bias=False, rngs=rngs)
        self.join = linear(2 * width, width, use_bias=False, rngs=rngs)
        self.norm = BatchNorm(width, axis_name=axis_name, rngs=rngs)

    def __call__(self, level: _Level, *, train: bool) -> _Level:
        """Go to the next level, whose points are the centers."""
        num = level.points.shape[1]
        centers = min(self.num_centers, num)
        chosen = farthest_point_sampling(level.points, centers, mask=level.mask)

        def at_centers(values: jax.Array) -> jax.Array:
            return gather(values, chosen[..., None])[:, :, 0]

        points = at_centers(level.points)
        # Where fewer points exist than centers, some were chosen twice.
        count = level.mask.sum(1, dtype=jnp.int32)
        exists = jnp.arange(centers, dtype=jnp.int32)[None] < count[:, None]
        if level.nearest is None:
            nearest = knn_between(points, level.points, share_of(num, self.share), mask=level.mask)
        else:
            nearest = Neighbors(*map(at_centers, level.nearest))
        found = spread_neighbors(nearest, count, self.share, num_edges=self.edges)
        edge_mask = found.mask & exists[..., None]
        offsets = gather(level.points, found.indices) - points[:, :, None]
        offsets = jnp.where(edge_mask[..., None], offsets, 0)
        mean = masked_mean(offsets, edge_mask)
        own = [mean, points, *map(at_centers, level.vectors)]
        vectors = [offsets, *(jnp.broadcast_to(v[:, :, None], offsets.shape) for v in own)]
        vectors += [gather(v, found.indices) for v in level.vectors]
        invariants = [edge_angles(jnp.stack(vectors, axis=-2), chirality=self.chirality)]
        tensors = tuple(map(at_centers, level.tensors))
        invariants += [
            tensor_invariants(offsets, here[:, :, None], gather(there, found.indices))
            for here, there in zip(tensors, level.tensors, strict=True)
        ]
        # Mapped at the points, of which there are fewer than edges, and then gathered.
        here, there = jnp.split(self.from_points(level.features), 2, axis=-1)
        hidden = self.from_edge(jnp.concatenate(invariants, -1))
        hidden = hidden + gather(there, found.indices) + at_centers(here)[:, :, None]
        hidden = jax.nn.leaky_relu(self.edge_norm(hidden, train=train, mask=edge_mask), 0.2)
        pooled = [masked_max(self.mix(hidden), edge_mask), masked_mean(hidden, edge_mask)]
        features = self.norm(self.join(jnp.concatenate(pooled, -1)), train=train, mask=exists)
        # A normal stays with its center; what was around it replaces what was there before.
        kept = tuple(at_centers(v) for v in level.vectors[: int(self.normals)])
        return _Level(
            None, points, exists, (*kept, mean), tensors, jax.nn.leaky_relu(features, 0.2)
        )


class HierarchicalEncoder(PointEncoder):
    """Encode clouds by levels of groups, invariantly.

    Rounding may choose another of two centers or neighbors that are equally far, so that clouds
    with symmetries keep fewer digits than others. Clouds should have radius 1 or so.

    Args:
        config: Its shape.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Attributes:
        features: Width of the descriptor of a cloud.
        point_features: Width of the description of a point.

    Examples:
        >>> make = lambda: HierarchicalEncoder(HierarchyConfig(), rngs=nnx.Rngs(0))
        >>> encoder = nnx.eval_shape(make)
        >>> encoder.features, encoder.point_features
        (512, 111)
    """

    def __init__(
        self, config: HierarchyConfig, *, axis_name: AxisName | None = None, rngs: nnx.Rngs
    ):
        self.config = config
        self.raw_features = 1 + 7 * len(config.surfaces)
        inputs = (self.raw_features, *config.widths[:-1])
        self.levels = nnx.List(
            GroupAndPool(
                centers,
                share,
                config.edges,
                in_features,
                config.normals,
                index > 0,
                len(config.surfaces),
                width,
                chirality=config.chirality,
                axis_name=axis_name,
                rngs=rngs,
            )
            for index, (centers, share, in_features, width) in enumerate(
                zip(config.centers, config.shares, inputs, config.widths, strict=True)
            )
        )
        self.embed = linear(config.widths[-1] + 1, config.embedding, use_bias=False, rngs=rngs)
        self.norm = BatchNorm(config.embedding, axis_name=axis_name, rngs=rngs)
        self.features = 2 * config.embedding
        self.point_features = self.raw_features + sum(config.widths)

    def describe(
        self,
        points: Float[Array, "b n 3"],
        *,
        normals: Float[Array, "b n 3"] | None = None,
        mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Description:
        """Describe every point and every cloud; arguments as for calling the encoder."""
        del keys  # nothing is random
        vectors = stack_vectors(points, normals, mask, wants_normals=self.config.normals)
        points = vectors[:, :, 0]
        exists = jnp.ones(points.shape[:2], bool) if mask is None else mask
        normals_only = tuple(vectors[:, :, i] for i in range(1, vectors.shape[2]))
        largest = share_of(points.shape[1], max(self.config.shares[0], *self.config.surfaces))
        nearest = knn(points, min(largest, points.shape[1] - 1), exclude_self=True, mask=mask)
        features, tensors = describe_surfaces(
            points, nearest, exists, self.config.surfaces, self.config.edges
        )
        level = _Level(nearest, points, exists, normals_only, tensors, features)
        per_point = [level.features]
        for group in self.levels:
            level = group(level, train=train)
            per_point.append(interpolate(level.features, level.points, points, mask=level.mask))
        joined = jnp.concatenate([level.features, safe_norm(level.points)[..., None]], -1)
        joined = self.norm(self.embed(joined), train=train, mask=level.mask)
        joined = jax.nn.leaky_relu(joined, 0.2)
        per_cloud = [masked_max(joined, level.mask), masked_mean(joined, level.mask)]
        return Description(jnp.concatenate(per_point, -1), jnp.concatenate(per_cloud, -1))


def describe_surfaces(
    points: Float[Array, "b n 3"],
    nearest: Neighbors,
    mask: Bool[Array, "b n"],
    shares: Sequence[float],
    num_edges: int,
) -> tuple[Float[Array, "b n f"], tuple[Float[Array, "b n 3 3"], ...]]:
    """Describe points by their radius and the moments of their neighborhoods.

    Args:
        points: The clouds.
        nearest: Neighbors of every point, as many as the largest share.
        mask: True for points that exist.
        shares: Neighborhoods, as parts of the cloud.
        num_edges: Points of each neighborhood that are looked at.

    Returns:
        `1 + 7 s` invariants a point for `s` shares, and a surface tensor of each share.
    """
    count = mask.sum(1, dtype=jnp.int32)
    features, tensors = [safe_norm(points)[..., None]], []
    for share in shares:
        found = spread_neighbors(nearest, count, share, num_edges=num_edges)
        offsets = gather(points, found.indices) - points[:, :, None]
        moments = local_moments(offsets, mask=found.mask & mask[..., None])
        features.append(moment_invariants(points, moments))
        tensors.append(surface_tensor(moments.covariance))
    return jnp.concatenate(features, axis=-1), tuple(tensors)
