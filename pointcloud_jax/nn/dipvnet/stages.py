"""The stages of a DiPVNet, each on the graph of nearest neighbors in its own features."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.geometry.graph import Neighbors, gather, knn
from pointcloud_jax.nn.dipvnet.attention import SpectrumAttention
from pointcloud_jax.nn.dipvnet.configs import DiPVNetConfig
from pointcloud_jax.nn.encoder import stack_vectors
from pointcloud_jax.nn.layers import fan_in_uniform
from pointcloud_jax.nn.local_features import L2DP
from pointcloud_jax.nn.vector_neurons import (
    InvariantFrame,
    VectorLinearLeakyReLU,
    VectorMaxPool,
    vector_linear,
    vector_mean_pool,
)
from pointcloud_jax.reductions import masked_mean


class StageOutput(NamedTuple):
    """Features of the points after a stage.

    Attributes:
        vectors: Vector features.
        fused: Local features after attention to the spectrum, one array a layer.
        local: Local features before it.
    """

    vectors: Float[Array, "b n c 3"]
    fused: list[Float[Array, "b n _"]]
    local: list[Float[Array, "b n _"]]


class Stage(nnx.Module):
    """Vector features on the edges of one graph, and a direction layer for each.

    Args:
        in_vectors: Vector channels that come in.
        width: Vector channels of each layer, and width of the local features.
        depth: Number of layers.
        num_radii: Frequencies of the spectrum.
        config: Everything else.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        in_vectors: int,
        width: int,
        depth: int,
        num_radii: int,
        config: DiPVNetConfig,
        *,
        axis_name: AxisName | None,
        rngs: nnx.Rngs,
    ):
        options, half = config.options, width // 2
        self.half = half
        self.edges = nnx.List(
            VectorLinearLeakyReLU(
                2 * in_vectors if layer == 0 else width, width, axis_name=axis_name, rngs=rngs
            )
            for layer in range(depth)
        )
        self.locals = nnx.List(
            L2DP(
                half,
                width,
                config.k,
                aggregation=options.aggregation,
                chirality=options.chirality,
                dropout_rate=config.dropout_rate,
                axis_name=axis_name,
                rngs=rngs,
            )
            for _ in range(depth)
        )
        self.spectra = nnx.List(
            SpectrumAttention(
                half,
                width,
                num_radii,
                num_heads=config.num_heads,
                dropout_rate=config.dropout_rate,
                options=options,
                rngs=rngs,
            )
            for _ in range(depth)
        )
        num_pools = depth if options.separate else 1
        self.pools = nnx.List(
            VectorMaxPool(width, rngs=rngs)
            for _ in range(num_pools if options.pool == "max" else 0)
        )
        # Directions of centers and of differences, read off the pooled features.
        self.readers = nnx.List(
            nnx.Param(fan_in_uniform(rngs.params(), (width, 2 * half)), kind="weight")
            for _ in range(depth if options.separate else 0)
        )

    def __call__(
        self,
        vectors: Float[Array, "b n c 3"],
        neighbors: Neighbors,
        *,
        train: bool,
        mask: Bool[Array, "b n"] | None,
        keys: Key[Array, " b"] | None,
        number: int,
    ) -> StageOutput:
        """Transform the vectors of the points; `number` identifies the first dropout."""
        edge_mask = neighbors.mask if mask is None else neighbors.mask & mask[..., None]
        fused, local = [], []
        first, *rest = self.edges
        edges = first.on_edges(vectors, neighbors.indices, train=train, mask=edge_mask)
        pooled = None
        for layer, transform in enumerate([None, *rest]):
            if transform is not None:
                edges = transform(edges, train=train, mask=edge_mask)
            if self.readers:
                pooled = self._pool(layer, edges, edge_mask)
                read = vector_linear(pooled, self.readers[layer][...])
                centers, ends = read[..., : self.half, :], read[..., self.half :, :]
                offsets = gather(ends, neighbors.indices) - ends[..., None, :, :]
                cloud, centers = centers, centers[..., None, :, :]
            else:
                offsets, centers = edges[..., : self.half, :], edges[..., self.half :, :]
                cloud = centers[..., 0, :, :]
            local.append(
                self.locals[layer](
                    centers, offsets, train=train, mask=edge_mask, keys=keys, number=number
                )
            )
            fused.append(
                self.spectra[layer](
                    local[-1], cloud, train=train, mask=mask, keys=keys, number=number + 1
                )
            )
            number += 4
        if pooled is None:
            pooled = self._pool(0, edges, edge_mask)
        return StageOutput(pooled, fused, local)

    def _pool(self, layer: int, edges: jax.Array, mask: jax.Array) -> jax.Array:
        if not self.pools:
            return vector_mean_pool(edges, mask=mask)
        return self.pools[layer](edges, mask=mask)


class TrunkOutput(NamedTuple):
    """Features of the points after all stages.

    Attributes:
        vectors: Vectors of all stages side by side.
        invariants: The vectors joined, and read in the frame.
        frame: Three vectors that rotate with the cloud, at each point.
        fused: Local features after attention to the spectrum, of all layers side by side.
        local: Local features before it.
    """

    vectors: Float[Array, "b n c 3"]
    invariants: Float[Array, "b n i"]
    frame: Float[Array, "b n 3 3"]
    fused: Float[Array, "b n t"]
    local: Float[Array, "b n t"]


class Trunk(nnx.Module):
    """The stages, and the vectors of all of them joined and read in an invariant frame.

    Args:
        config: Widths and options.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.
    """

    def __init__(self, config: DiPVNetConfig, *, axis_name: AxisName | None, rngs: nnx.Rngs):
        self.config = config
        widths = config.widths
        inputs = (2 if config.normals else 1, *widths[:-1])
        self.stages = nnx.List(
            Stage(*shape, config, axis_name=axis_name, rngs=rngs)
            for shape in zip(inputs, widths, config.depths, config.num_radii, strict=True)
        )
        self.join = VectorLinearLeakyReLU(
            sum(widths), config.embedding, share=True, axis_name=axis_name, rngs=rngs
        )
        self.frame = InvariantFrame(2 * config.embedding, axis_name=axis_name, rngs=rngs)

    def __call__(
        self,
        points: Float[Array, "b n 3"],
        normals: Float[Array, "b n 3"] | None,
        *,
        train: bool,
        mask: Bool[Array, "b n"] | None,
        keys: Key[Array, " b"] | None,
    ) -> TrunkOutput:
        """Describe the points of clouds; arguments as for calling an encoder."""
        config, options = self.config, self.config.options
        vectors = stack_vectors(
            points, normals, mask, wants_normals=config.normals, center=options.center
        )
        points = vectors[:, :, 0]
        pooled, fused, local = [], [], []
        number = 0
        for stage, layers in enumerate(self.stages):
            metric = vectors.reshape(*vectors.shape[:2], -1)
            if stage == 0 and options.coordinate_graph:
                metric = points
            neighbors = knn(metric, config.k, exclude_self=options.exclude_self, mask=mask)
            vectors, more_fused, more_local = layers(
                vectors, neighbors, train=train, mask=mask, keys=keys, number=number
            )
            number += 4 * len(more_local)
            pooled.append(vectors)
            fused += more_fused
            local += more_local
        vectors = jnp.concatenate(pooled, axis=2)
        joined = self.join(vectors, train=train, mask=mask)
        mean = masked_mean(joined.reshape(*joined.shape[:2], -1), mask)
        mean = jnp.broadcast_to(mean.reshape(-1, 1, *joined.shape[2:]), joined.shape)
        invariants, frame = self.frame(
            jnp.concatenate([joined, mean], axis=2), train=train, mask=mask
        )
        invariants = invariants.reshape(*invariants.shape[:2], -1)
        return TrunkOutput(
            vectors, invariants, frame, jnp.concatenate(fused, -1), jnp.concatenate(local, -1)
        )
