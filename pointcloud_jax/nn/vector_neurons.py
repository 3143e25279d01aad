r"""Layers of vector neurons: features are vectors that rotate with the cloud (equivariant).

A feature is a list of vectors :math:`V \in \mathbb R^{c \times 3}` at each point or edge, arrays
`(..., c, 3)`. Layers mix the channels and never the three coordinates, so they commute with every
rotation (and reflection), :math:`f(V R) = f(V) R`, and inner products of what they return are
invariant. In float32 both hold to 1e-6 of the features' size.

References:
    C. Deng, O. Litany, Y. Duan, A. Poulenard, A. Tagliasacchi, L. Guibas, "Vector Neurons: A
    General Framework for SO(3)-Equivariant Networks", arXiv 2104.12229, 2021.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lejepa_jax.nn.normalization import BatchNorm
from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.geometry.graph import gather
from pointcloud_jax.nn.layers import fan_in_uniform
from pointcloud_jax.reductions import safe_norm

_EPSILON = 1e-6


def vector_linear(
    vectors: Float[Array, "*batch c 3"], weight: Float[Array, "c d"]
) -> Float[Array, "*batch d 3"]:
    r"""Mix the channels of vector features: :math:`V' = W^\top V`, without a bias.

    Args:
        vectors: Features.
        weight: One column an output channel.

    Returns:
        The mixed features, float32.

    Examples:
        >>> print(vector_linear(jnp.eye(3), jnp.ones((3, 1))))
        [[1. 1. 1.]]
    """
    return jnp.einsum(
        "...cv,cd->...dv",
        vectors.astype(jnp.float32),
        weight.astype(jnp.float32),
        precision=lax.Precision.HIGHEST,
    )


def vector_leaky_relu(
    vectors: Float[Array, "*batch c 3"],
    directions: Float[Array, "*batch #c 3"],
    *,
    negative_slope: float = 0.2,
) -> Float[Array, "*batch c 3"]:
    r"""Leaky ReLU along a direction that rotates with the features.

    .. math:: V' = V - (1 - a) \min\left(0, \frac{\langle V, d \rangle}{|d|^2 + 10^{-6}}\right) d

    Args:
        vectors: Features.
        directions: One a channel, or one for all channels.
        negative_slope: What is left, :math:`a`, of the part against the direction.

    Returns:
        The features, float32.

    Examples:
        >>> up = jnp.array([[0.0, 0.0, 1.0]])
        >>> print(vector_leaky_relu(2 * up, -up).round(3)[:, 2])
        [0.4]
    """
    vectors, directions = vectors.astype(jnp.float32), directions.astype(jnp.float32)
    product = (vectors * directions).sum(-1, keepdims=True)
    square = jnp.square(directions).sum(-1, keepdims=True) + _EPSILON
    return vectors - (1 - negative_slope) * jnp.minimum(product, 0) / square * directions


def vector_max_pool(
    vectors: Float[Array, "*batch k c 3"],
    directions: Float[Array, "*batch k c 3"],
    *,
    mask: Bool[Array, "*batch k"] | None = None,
) -> Float[Array, "*batch c 3"]:
    r"""Keep, of each channel, the neighbor's vector that reaches farthest along its direction.

    Args:
        vectors: Features of the neighbors.
        directions: Directions that rotate with them.
        mask: True for neighbors that exist.

    Returns:
        One of the neighbors' vectors a channel; zero where no neighbor exists.

    Examples:
        >>> vectors = jnp.array([[[1.0, 0.0, 0.0]], [[0.0, 3.0, 0.0]]])
        >>> print(vector_max_pool(vectors, vectors))
        [[0. 3. 0.]]
    """
    score = (vectors * directions).sum(-1)
    if mask is not None:
        score = jnp.where(mask[..., None], score, jnp.finfo(score.dtype).min)
    chosen = jnp.argmax(lax.stop_gradient(score), axis=-2)[..., None, :, None]
    pooled = jnp.take_along_axis(vectors, chosen, axis=-3)[..., 0, :, :]
    return pooled if mask is None else jnp.where(mask.any(-1)[..., None, None], pooled, 0)


def vector_mean_pool(
    vectors: Float[Array, "*batch k c 3"], *, mask: Bool[Array, "*batch k"] | None = None
) -> Float[Array, "*batch c 3"]:
    """Average the vectors of the neighbors that exist.

    Args:
        vectors: Features of the neighbors.
        mask: True for neighbors that exist.

    Returns:
        The means; zero where no neighbor exists.

    Examples:
        >>> print(vector_mean_pool(jnp.ones((2, 1, 3)), mask=jnp.array([True, False])))
        [[1. 1. 1.]]
    """
    if mask is None:
        return vectors.mean(-3)
    count = jnp.maximum(mask.sum(-1, dtype=vectors.dtype), 1)[..., None, None]
    return jnp.where(mask[..., None, None], vectors, 0).sum(-3) / count


def edge_vectors(
    vectors: Float[Array, "*batch n c 3"],
    indices: Int[Array, "*batch n k"],
    weight: Float[Array, "2*c d"],
) -> Float[Array, "*batch n k d 3"]:
    r"""Map the edges' features [difference to the neighbor; center] linearly.

    .. math:: W^\top [x_j - x_i;\, x_i] = W_1^\top x_j + (W_2 - W_1)^\top x_i

    The right side is worked out at the points, of which there are k times fewer than edges.

    Args:
        vectors: Features of the points.
        indices: Neighbors of each point.
        weight: One column an output channel; the first half of the rows acts on differences.

    Returns:
        Features of the edges, float32.

    Examples:
        >>> line = jnp.array([[[1.0, 0.0, 0.0]], [[3.0, 0.0, 0.0]]])
        >>> print(edge_vectors(line, jnp.array([[1], [0]]), jnp.eye(2))[0, 0])
        [[2. 0. 0.]
         [1. 0. 0.]]
    """
    split = vectors.shape[-2]
    at_neighbor = vector_linear(vectors, weight[:split])
    at_center = vector_linear(vectors, weight[split:] - weight[:split])
    return gather(at_neighbor, indices) + at_center[..., :, None, :, :]


class VectorBatchNorm(nnx.Module):
    r"""Batch norm of the lengths of vectors: :math:`V' = V\, \mathrm{BN}(|V|) / |V|`.

    A normalized length may be negative, and then the vector flips: still equivariant.

    Args:
        features: Number of channels.
        axis_name: Mapped axis over which the batch is sharded.
        rngs: Source of the initial parameters.

    Examples:
        >>> norm = VectorBatchNorm(1, rngs=nnx.Rngs(0))
        >>> norm(jnp.zeros((2, 1, 3)), train=False).shape
        (2, 1, 3)
    """

    def __init__(self, features: int, *, axis_name: AxisName | None = None, rngs: nnx.Rngs):
        self.norm = BatchNorm(features, axis_name=axis_name, rngs=rngs)

    def __call__(
        self,
        vectors: Float[Array, "*batch c 3"],
        *,
        train: bool,
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Float[Array, "*batch c 3"]:
        """Normalize; `mask` says what counts in the statistics of this batch."""
        length = safe_norm(vectors) + _EPSILON
        return vectors * (self.norm(length, train=train, mask=mask) / length)[..., None]


class VectorLinearLeakyReLU(nnx.Module):
    r"""Linear map, batch norm and leaky ReLU along learned directions of the input.

    Args:
        in_features: Channels that come in; for edges, twice those of the points.
        out_features: Channels that go out.
        share: Whether one direction serves all channels.
        negative_slope: Of the leaky ReLU.
        axis_name: Mapped axis over which the batch is sharded.
        rngs: Source of the initial parameters.

    Examples:
        >>> layer = VectorLinearLeakyReLU(2, 5, rngs=nnx.Rngs(0))
        >>> jax.eval_shape(lambda v: layer(v, train=False), jnp.ones((4, 2, 3))).shape
        (4, 5, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        share: bool = False,
        negative_slope: float = 0.2,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        directions = 1 if share else out_features
        # Declared, since they belong to no layer of Flax by which weights are recognized.
        self.feature = nnx.Param(
            fan_in_uniform(rngs.params(), (in_features, out_features)), kind="weight"
        )
        self.direction = nnx.Param(
            fan_in_uniform(rngs.params(), (in_features, directions)), kind="weight"
        )
        self.norm = VectorBatchNorm(out_features, axis_name=axis_name, rngs=rngs)
        self.negative_slope = negative_slope

    def __call__(
        self,
        vectors: Float[Array, "*batch c 3"],
        *,
        train: bool,
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Float[Array, "*batch d 3"]:
        """Transform features of points or edges; `mask` says what counts in the statistics."""
        return self._activate(
            vector_linear(vectors, self.feature[...]),
            vector_linear(vectors, self.direction[...]),
            train=train,
            mask=mask,
        )

    def on_edges(
        self,
        vectors: Float[Array, "*batch n c 3"],
        indices: Int[Array, "*batch n k"],
        *,
        train: bool,
        mask: Bool[Array, "*batch n k"] | None = None,
    ) -> Float[Array, "*batch n k d 3"]:
        """Transform [difference to the neighbor; center] of each edge (`edge_vectors`)."""
        return self._activate(
            edge_vectors(vectors, indices, self.feature[...]),
            edge_vectors(vectors, indices, self.direction[...]),
            train=train,
            mask=mask,
        )

    def _activate(self, vectors, directions, *, train, mask):
        vectors = self.norm(vectors, train=train, mask=mask)
        return vector_leaky_relu(vectors, directions, negative_slope=self.negative_slope)


class VectorMaxPool(nnx.Module):
    """Max pool over neighbors along directions that depend on them (`vector_max_pool`).

    As in the published code, the directions decide by an index alone: the weights they come from
    have no gradient, and stay as they were drawn. `vector_mean_pool` has none to learn.

    Args:
        features: Number of channels.
        rngs: Source of the initial parameters.

    Examples:
        >>> jax.eval_shape(VectorMaxPool(2, rngs=nnx.Rngs(0)), jnp.ones((4, 5, 2, 3))).shape
        (4, 2, 3)
    """

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        # No "weight": it has no gradient, so that decay would only take it away.
        self.direction = nnx.Param(fan_in_uniform(rngs.params(), (features, features)))

    def __call__(
        self,
        vectors: Float[Array, "*batch k c 3"],
        *,
        mask: Bool[Array, "*batch k"] | None = None,
    ) -> Float[Array, "*batch c 3"]:
        """Pool the neighbors that exist."""
        directions = vector_linear(vectors, self.direction[...])
        return vector_max_pool(vectors, directions, mask=mask)


class InvariantFrame(nnx.Module):
    r"""Read vectors in three learned vectors that rotate with them: :math:`X = V Z^\top`.

    Args:
        features: Channels, at least 4.
        orthonormal: Whether the vectors are made an orthonormal right-handed frame (two learned
            vectors, Gram-Schmidt, and their cross product). The numbers then change sign under a
            reflection, so that left and right are distinguished; by default they are not.
        axis_name: Mapped axis over which the batch is sharded.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If `features` is less than 4.

    Examples:
        >>> frame = InvariantFrame(8, rngs=nnx.Rngs(0))
        >>> jax.eval_shape(lambda v: frame(v, train=False)[0], jnp.ones((5, 8, 3))).shape
        (5, 8, 3)
    """

    def __init__(
        self,
        features: int,
        *,
        orthonormal: bool = False,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        if features < 4:
            raise ValueError(f"features must be at least 4, got {features}")
        half, quarter = features // 2, features // 4
        self.first = VectorLinearLeakyReLU(features, half, axis_name=axis_name, rngs=rngs)
        self.second = VectorLinearLeakyReLU(half, quarter, axis_name=axis_name, rngs=rngs)
        shape = (quarter, 2 if orthonormal else 3)
        self.frame = nnx.Param(fan_in_uniform(rngs.params(), shape), kind="weight")
        self.orthonormal = orthonormal

    def __call__(
        self,
        vectors: Float[Array, "*batch c 3"],
        *,
        train: bool,
        mask: Bool[Array, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch c 3"], Float[Array, "*batch 3 3"]]:
        """Return the invariant coordinates, and the three vectors (rows) to read others in."""
        hidden = self.first(vectors, train=train, mask=mask)
        hidden = self.second(hidden, train=train, mask=mask)
        frame = vector_linear(hidden, self.frame[...])
        if self.orthonormal:
            frame = _gram_schmidt(frame)
        return read_in_frame(vectors, frame), frame


def read_in_frame(
    vectors: Float[Array, "*batch c 3"], frame: Float[Array, "*batch 3 3"]
) -> Float[Array, "*batch c 3"]:
    """Take inner products of vectors with the rows of a frame.

    Args:
        vectors: Features.
        frame: Three vectors, one a row.

    Returns:
        Invariant numbers, float32.

    Examples:
        >>> print(read_in_frame(jnp.array([[1.0, 2.0, 3.0]]), jnp.eye(3)))
        [[1. 2. 3.]]
    """
    return jnp.einsum("...cv,...fv->...cf", vectors, frame, precision=lax.Precision.HIGHEST)


def _gram_schmidt(pair: jax.Array) -> jax.Array:
    """Complete two vectors to a right-handed orthonormal frame; zero vectors stay zero."""
    first, second = pair[..., 0, :], pair[..., 1, :]
    first = first / (safe_norm(first) + _EPSILON)[..., None]
    second = second - (second * first).sum(-1, keepdims=True) * first
    second = second / (safe_norm(second) + _EPSILON)[..., None]
    return jnp.stack([first, second, jnp.cross(first, second)], axis=-2)
