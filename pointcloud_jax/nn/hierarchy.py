r"""An invariant encoder that coarsens: groups around fewer and fewer centers.

Networks at full resolution build a graph and keep edges at every point in every layer. Here each
level chooses centers that are spread over the cloud (farthest points), describes the neighborhood
of each by lengths and angles (`pointcloud_jax.local.edge_angles`), and goes on with the centers
alone, as PointNet++ does for coordinates. Everything that enters is a rotation invariant, so the
features are; what is chosen depends on distances alone.

Neighborhoods are shares of the cloud and the number of centers is fixed: with more points of the
same shape, neighborhoods are as large as before.

References:
    C. R. Qi, L. Yi, H. Su, L. J. Guibas, "PointNet++", arXiv 1706.02413, 2017, section 3. Z. Zhang,
    B.-S. Hua, S.-K. Yeung, "RIConv++: Effective Rotation Invariant Convolutions for 3D Point Clouds
    Deep Learning", arXiv 2202.13094, 2022, section 3 (angles with reference axes).
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lejepa_jax.nn.normalization import BatchNorm
from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.geometry.graph import farthest_point_sampling, gather, interpolate, knn_between
from pointcloud_jax.local.edge_invariants import edge_angles
from pointcloud_jax.nn.encoder import Description, PointEncoder, stack_vectors
from pointcloud_jax.nn.layers import linear
from pointcloud_jax.reductions import masked_max, masked_mean, safe_norm


@dataclasses.dataclass(frozen=True)
class HierarchyConfig:
    """Shape of a `HierarchicalEncoder`.

    Attributes:
        centers: Number of centers of each level (all points, where there are fewer).
        shares: Neighbors of a center of each level, as a share of the points of the level below.
        widths: Features of each level.
        embedding: Features after the last level, of which maximum and mean are taken.
        normals: Whether clouds come with normals.
        chirality: Whether mirror images are distinguished.

    Raises:
        ValueError: If `centers`, `shares` and `widths` differ in length, or a value does not fit.

    Examples:
        >>> HierarchyConfig().widths
        (64, 128)
    """

    centers: tuple[int, ...] = (128, 32)
    shares: tuple[float, ...] = (1 / 16, 1 / 8)
    widths: tuple[int, ...] = (64, 128)
    embedding: int = 256
    normals: bool = False
    chirality: bool = False

    def __post_init__(self):
        if not len(self.centers) == len(self.shares) == len(self.widths) > 0:
            raise ValueError(
                "centers, shares and widths must have one entry a level, got "
                f"{self.centers}, {self.shares}, {self.widths}"
            )
        if not all(0 < share <= 1 for share in self.shares):
            raise ValueError(f"shares must be in (0, 1], got {self.shares}")
        if not all(number > 0 for number in (*self.centers, *self.widths, self.embedding)):
            raise ValueError(
                "centers, widths and embedding must be positive, got "
                f"{self.centers}, {self.widths}, {self.embedding}"
            )


class _Level(NamedTuple):
    """The points of one level: where they are, which exist, their vectors and their features."""

    points: Float[Array, "b n 3"]
    mask: Bool[Array, "b n"]
    vectors: tuple[Float[Array, "b n 3"], ...]
    features: Float[Array, "b n c"] | None


class GroupAndPool(nnx.Module):
    """Choose centers, describe the neighborhood of each, and pool it.

    Args:
        num_centers: How many centers.
        share: Neighbors of each, as a share of the points.
        in_features: Features of the points, 0 where they have none yet.
        num_vectors: Vectors of each point beside its position: a normal where there are any, and
            from the second level on the mean offset of its neighborhood in the level before.
        width: Features of the centers.
        chirality: Whether mirror images are distinguished.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        num_centers: int,
        share: float,
        in_features: int,
        num_vectors: int,
        width: int,
        *,
        chirality: bool,
        axis_name: AxisName | None,
        rngs: nnx.Rngs,
    ):
        # The offset, the mean offset and the position of the center, and the vectors of both ends.
        vectors = 3 + 2 * num_vectors
        invariants = vectors * (vectors + 1) // 2 + chirality
        self.num_centers = num_centers
        self.share = share
        self.chirality = chirality
        self.from_edge = linear(invariants, width, use_bias=False, rngs=rngs)
        self.from_points = (
            linear(in_features, 2 * width, use_bias=False, rngs=rngs) if in_features else None
        )
        self.first_norm = BatchNorm(width, axis_name=axis_name, rngs=rngs)
        self.mix = linear(width, width, use_bias=False, rngs=rngs)
        self.second_norm = BatchNorm(width, axis_name=axis_name, rngs=rngs)

    def __call__(self, level: _Level, *, train: bool) -> _Level:
        """Go to the next level, whose points are the centers."""
        num = level.points.shape[1]
        centers = min(self.num_centers, num)
        chosen = farthest_point_sampling(level.points, centers, mask=level.mask)

        def at_centers(values: jax.Array) -> jax.Array:
            return gather(values, chosen[..., None])[:, :, 0]

        points = at_centers(level.points)
        # Where fewer points exist than centers, some were chosen twice.
        exists = (
            jnp.arange(centers, dtype=jnp.int32)[None] < level.mask.sum(1, dtype=jnp.int32)[:, None]
        )
        k = max(1, math.ceil(self.share * num))
        found = knn_between(points, level.points, k, mask=level.mask)
        edge_mask = found.mask & exists[..., None]
        offsets = gather(level.points, found.indices) - points[:, :, None]
        offsets = jnp.where(edge_mask[..., None], offsets, 0)
        mean = masked_mean(offsets, edge_mask)
        own = [mean, points, *map(at_centers, level.vectors)]
        vectors = [offsets, *(jnp.broadcast_to(v[:, :, None], offsets.shape) for v in own)]
        vectors += [gather(v, found.indices) for v in level.vectors]
        edges = edge_angles(jnp.stack(vectors, axis=-2), chirality=self.chirality)
        hidden = self.from_edge(edges)
        if self.from_points is not None and level.features is not None:
            # Mapped at the points, of which there are fewer than edges, and then gathered.
            here, there = jnp.split(self.from_points(level.features), 2, axis=-1)
            hidden = hidden + gather(there, found.indices) + at_centers(here)[:, :, None]
        hidden = jax.nn.leaky_relu(self.first_norm(hidden, train=train, mask=edge_mask), 0.2)
        hidden = self.second_norm(self.mix(hidden), train=train, mask=edge_mask)
        features = jax.nn.leaky_relu(masked_max(hidden, edge_mask), 0.2)
        # A normal stays with its center; what was around it replaces what was there before.
        normals = level.vectors if level.features is None else level.vectors[:-1]
        return _Level(points, exists, (*map(at_centers, normals), mean), features)


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
        (512, 193)
    """

    def __init__(
        self, config: HierarchyConfig, *, axis_name: AxisName | None = None, rngs: nnx.Rngs
    ):
        self.config = config
        inputs = (0, *config.widths[:-1])
        self.levels = nnx.List(
            GroupAndPool(
                centers,
                share,
                in_features,
                config.normals + (in_features > 0),
                width,
                chirality=config.chirality,
                axis_name=axis_name,
                rngs=rngs,
            )
            for centers, share, in_features, width in zip(
                config.centers, config.shares, inputs, config.widths, strict=True
            )
        )
        self.embed = linear(config.widths[-1] + 1, config.embedding, use_bias=False, rngs=rngs)
        self.norm = BatchNorm(config.embedding, axis_name=axis_name, rngs=rngs)
        self.features = 2 * config.embedding
        self.point_features = sum(config.widths) + 1

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
        level = _Level(
            points, exists, tuple(vectors[:, :, i] for i in range(1, vectors.shape[2])), None
        )
        per_point = [safe_norm(points)[..., None]]
        for group in self.levels:
            level = group(level, train=train)
            assert level.features is not None  # every level makes some
            per_point.append(interpolate(level.features, level.points, points, mask=level.mask))
        assert level.features is not None  # there is at least one level
        joined = jnp.concatenate([level.features, safe_norm(level.points)[..., None]], -1)
        joined = self.norm(self.embed(joined), train=train, mask=level.mask)
        joined = jax.nn.leaky_relu(joined, 0.2)
        per_cloud = [masked_max(joined, level.mask), masked_mean(joined, level.mask)]
        return Description(jnp.concatenate(per_point, -1), jnp.concatenate(per_cloud, -1))
