"""The networks to compare with: DGCNN, which sees coordinates, and its vector-neuron version."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lejepa_jax.nn.normalization import BatchNorm
from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.geometry.graph import gather, knn
from pointcloud_jax.nn.encoder import Description, PointEncoder, stack_vectors
from pointcloud_jax.nn.layers import linear
from pointcloud_jax.nn.vector_neurons import (
    InvariantFrame,
    VectorLinearLeakyReLU,
    read_in_frame,
    vector_mean_pool,
)
from pointcloud_jax.reductions import masked_max, masked_mean


class DGCNN(PointEncoder):
    """DGCNN: convolutions on the edges of graphs that follow the features. Not rotation-invariant.

    Args:
        widths: Channels of the edge convolutions.
        embedding: Channels after they are joined.
        k: Number of neighbors, the point itself among them.
        normals: Whether clouds come with normals.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Attributes:
        features: Width of the descriptor of a cloud.
        point_features: Width of the description of a point.

    Examples:
        >>> nnx.eval_shape(lambda: DGCNN(rngs=nnx.Rngs(0))).features
        2048

    References:
        Y. Wang et al., "Dynamic Graph CNN for Learning on Point Clouds", arXiv 1801.07829, 2018.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 64, 128, 256),
        *,
        embedding: int = 1024,
        k: int = 20,
        normals: bool = False,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        inputs = (6 if normals else 3, *widths[:-1])
        self.convs = nnx.List(
            linear(2 * before, after, use_bias=False, rngs=rngs)
            for before, after in zip(inputs, widths, strict=True)
        )
        self.norms = nnx.List(BatchNorm(w, axis_name=axis_name, rngs=rngs) for w in widths)
        self.join = linear(sum(widths), embedding, use_bias=False, rngs=rngs)
        self.join_norm = BatchNorm(embedding, axis_name=axis_name, rngs=rngs)
        self.k = k
        self.normals = normals
        self.features = 2 * embedding
        self.point_features = sum(widths)

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
        del keys
        x = stack_vectors(points, normals, mask, wants_normals=self.normals)
        x = x.reshape(*x.shape[:2], -1)
        outputs = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            neighbors = knn(x, self.k, mask=mask)
            edge_mask = neighbors.mask if mask is None else neighbors.mask & mask[..., None]
            edges = gather(x, neighbors.indices) - x[:, :, None, :]
            centers = jnp.broadcast_to(x[:, :, None, :], edges.shape)
            edges = norm(conv(jnp.concatenate([edges, centers], -1)), train=train, mask=edge_mask)
            x = masked_max(jax.nn.leaky_relu(edges, 0.2), edge_mask)
            outputs.append(x)
        per_point = jnp.concatenate(outputs, -1)
        joined = jax.nn.leaky_relu(
            self.join_norm(self.join(per_point), train=train, mask=mask), 0.2
        )
        per_cloud = [masked_max(joined, mask), masked_mean(joined, mask)]
        return Description(per_point, jnp.concatenate(per_cloud, -1))


class VNDGCNN(PointEncoder):
    """DGCNN of vector neurons, read in an invariant frame: exactly invariant.

    Args:
        widths: Vector channels of the edge convolutions.
        embedding: Vector channels after they are joined.
        k: Number of neighbors, the point itself among them.
        normals: Whether clouds come with normals.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Attributes:
        features: Width of the descriptor of a cloud.
        point_features: Width of the description of a point.

    Examples:
        >>> nnx.eval_shape(lambda: VNDGCNN(rngs=nnx.Rngs(0))).features
        4092

    References:
        C. Deng et al., "Vector Neurons", arXiv 2104.12229, 2021. With the published widths and head
        the classifier has 2.90 M parameters.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (21, 21, 42, 85),
        *,
        embedding: int = 341,
        k: int = 20,
        normals: bool = False,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        inputs = (2 if normals else 1, *widths[:-1])
        self.convs = nnx.List(
            VectorLinearLeakyReLU(2 * before, after, axis_name=axis_name, rngs=rngs)
            for before, after in zip(inputs, widths, strict=True)
        )
        self.join = VectorLinearLeakyReLU(
            sum(widths), embedding, share=True, axis_name=axis_name, rngs=rngs
        )
        self.frame = InvariantFrame(2 * embedding, axis_name=axis_name, rngs=rngs)
        self.k = k
        self.normals = normals
        self.features = 12 * embedding
        self.point_features = 3 * sum(widths)

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
        del keys
        x = stack_vectors(points, normals, mask, wants_normals=self.normals)
        outputs = []
        for conv in self.convs:
            neighbors = knn(x.reshape(*x.shape[:2], -1), self.k, mask=mask)
            edge_mask = neighbors.mask if mask is None else neighbors.mask & mask[..., None]
            edges = conv.on_edges(x, neighbors.indices, train=train, mask=edge_mask)
            x = vector_mean_pool(edges, mask=edge_mask)
            outputs.append(x)
        vectors = jnp.concatenate(outputs, axis=2)
        joined = self.join(vectors, train=train, mask=mask)
        mean = masked_mean(joined.reshape(*joined.shape[:2], -1), mask)
        mean = jnp.broadcast_to(mean.reshape(-1, 1, *joined.shape[2:]), joined.shape)
        both = jnp.concatenate([joined, mean], axis=2)
        invariants, frame = self.frame(both, train=train, mask=mask)
        invariants = invariants.reshape(*invariants.shape[:2], -1)
        per_point = read_in_frame(vectors, frame)
        per_cloud = [masked_max(invariants, mask), masked_mean(invariants, mask)]
        return Description(
            per_point.reshape(*per_point.shape[:2], -1), jnp.concatenate(per_cloud, -1)
        )
