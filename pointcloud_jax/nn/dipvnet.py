r"""DiPVNet: vector neurons, local dot products, and attention to the spectrum of the whole cloud.

Each stage works on the graph of nearest neighbors in its own features: vector features of the
edges, pooled to the points; local dot products of each edge (`pointcloud_jax.local.dot_products`); and the
spectrum of each channel seen as a cloud (`pointcloud_jax.spectra.fourier`), to which the points attend, one
token a radius. All that leaves the network is invariant under rotation.

`DirectionOptions()` departs from the released network where that is weak, each time behind its own
name; `PAPER` is the published choice of all of them. What is not offered is a random rotation
inside the network: rotation is data (`pointcloud_jax.augment.views`).

References:
    Hu, Li, Zhu, Hou, "Hierarchical Direction Perception via Atomic Dot-Product Operators for
    Rotation-Invariant Point Clouds Learning", arXiv 2511.08240, 2025.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from lejepa_jax.checks import check_choice
from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.checks import check_points
from pointcloud_jax.geometry.graph import gather, knn
from pointcloud_jax.geometry.sphere import sphere_rule
from pointcloud_jax.local.dot_products import AGGREGATIONS, L2DP
from pointcloud_jax.nn.layers import dropout, fan_in_uniform, linear, masked_max, masked_mean
from pointcloud_jax.nn.vector_neurons import (
    InvariantFrame,
    VectorLinearLeakyReLU,
    VectorMaxPool,
    read_in_frame,
    vector_linear,
    vector_mean_pool,
)
from pointcloud_jax.spectra.fourier import dasft, debye_spectrum, degree_spectrum, normalize_radius

SPECTRA = ("dasft", "degrees", "debye")
POOLS = ("mean", "max")


class Description(NamedTuple):
    """What an encoder says of each point and of each cloud."""

    per_point: Float[Array, "b n p"]
    per_cloud: Float[Array, "b d"]


@dataclasses.dataclass(frozen=True)
class DirectionOptions:
    """How a DiPVNet layer sees directions. The defaults are ours, `PAPER` is as published.

    Attributes:
        aggregation: Of L2DP: "projection" (neighbors side by side: knows their rank, jumps when
            two swap), "statistics" (maximum, mean, variance) or "radial" (soft shells of distance).
        separate: L2DP reads differences to the neighbors and centers of the pooled features.
            Published are two halves of one mixed edge feature, neither a difference nor a center.
        pool: Of the edges' vectors to the points: "mean", or as published "max", the neighbor that
            reaches farthest along a direction. The direction decides by an index, has no gradient
            and stays as it was drawn.
        exclude_self: A point is no neighbor of itself.
        coordinate_graph: The first graph is that of the points; published is that of points and
            normals together, which have no common scale.
        center: Clouds are moved to their centroid; published is that the data is.
        spectrum: "degrees" (by degree of the harmonics: exactly invariant, knows directions),
            "dasft" (over `rule`) or "debye" (the sphere's average, exactly invariant).
        rule: Name of the sphere rule of "dasft". On normalized channels `lebedev-29` is exact in
            float32; `fibonacci-36` changes by 4 % and so do the logits, in the third digit.
        max_degree: Of "degrees".
        max_radius: Largest radius of the spectrum.
        normalize_radius: Each channel is centered and scaled to radius 1 first. Hidden features have
            no bound, and beyond it no rule is exact.
        log_spectrum: Tokens are logarithms of the mean energy. Published are raw sums, of the size
            of the squared number of points, under a LayerNorm that removes the decay and,
            at radius 0 where all channels are equal, divides rounding errors by almost nothing:
            with it the logits change by several per cent under rotation, whatever the rule.
        frequency_embedding: Tokens know their radius; without, attention sees a set.
        chirality: L2DP adds triple products: mirror images differ, rotations still do not.

    Raises:
        ValueError: For an unknown aggregation, pool, spectrum or rule.

    Examples:
        >>> DirectionOptions(spectrum="dasft", rule="design-36").rule
        'design-36'
    """

    aggregation: str = "radial"
    separate: bool = True
    pool: str = "mean"
    exclude_self: bool = True
    coordinate_graph: bool = True
    center: bool = True
    spectrum: str = "degrees"
    rule: str = "lebedev-29"
    max_degree: int = 4
    max_radius: float = 12.0
    normalize_radius: bool = True
    log_spectrum: bool = True
    frequency_embedding: bool = True
    chirality: bool = False

    def __post_init__(self):
        check_choice("aggregation", self.aggregation, AGGREGATIONS)
        check_choice("pool", self.pool, POOLS)
        check_choice("spectrum", self.spectrum, SPECTRA)
        sphere_rule(self.rule)


#: Every option as published, with 36 Fibonacci directions and L2DP by projection.
PAPER = DirectionOptions(
    aggregation="projection",
    separate=False,
    pool="max",
    exclude_self=False,
    coordinate_graph=False,
    center=False,
    spectrum="dasft",
    rule="fibonacci-36",
    normalize_radius=False,
    log_spectrum=False,
    frequency_embedding=False,
)


@dataclasses.dataclass(frozen=True)
class DiPVNetConfig:
    """Widths of a DiPVNet.

    Attributes:
        widths: Vector channels of each stage, even and divisible by `num_heads` over two.
        depths: Layers in each stage, on one graph.
        num_radii: Frequencies of the spectrum in each stage.
        k: Number of neighbors.
        embedding: Vector channels after the stages are joined.
        normals: Whether clouds come with normals, a second vector a point.
        num_heads: Of the attention to the spectrum.
        dropout_rate: Inside the layers.
        options: How directions are seen.

    Raises:
        ValueError: If `widths`, `depths` and `num_radii` differ in length, or a width does not fit.

    Examples:
        >>> small_config().widths
        (16, 16, 32, 64)
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    num_radii: tuple[int, ...]
    k: int
    embedding: int
    normals: bool = False
    num_heads: int = 8
    dropout_rate: float = 0.1
    options: DirectionOptions = DirectionOptions()

    def __post_init__(self):
        if not len(self.widths) == len(self.depths) == len(self.num_radii) > 0:
            raise ValueError(
                "widths, depths and num_radii must have one entry a stage, got "
                f"{self.widths}, {self.depths}, {self.num_radii}"
            )
        if any(width % 2 or 2 * width % self.num_heads for width in self.widths):
            raise ValueError(
                f"widths must be even, and twice them divisible by the {self.num_heads} heads, "
                f"got {self.widths}"
            )


def modelnet40_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Widths of the published ModelNet40 classifier: points with normals, 12 neighbors.

    Args:
        options: `PAPER` for the published network: 3.449 M parameters with its head.

    Returns:
        The configuration.

    Examples:
        >>> modelnet40_config(PAPER).k
        12
    """
    return DiPVNetConfig(
        widths=(32, 32, 64, 128),
        depths=(1, 1, 1, 1),
        num_radii=(64, 64, 32, 32),
        k=12,
        embedding=256,
        normals=True,
        options=options,
    )


def scanobjectnn_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Widths of the published ScanObjectNN classifier: points alone, 20 neighbors.

    Args:
        options: The published network is `dataclasses.replace(PAPER, aggregation="statistics")`:
            3.239 M parameters with its head for 15 classes.

    Returns:
        The configuration.

    Examples:
        >>> scanobjectnn_config().normals
        False
    """
    return dataclasses.replace(modelnet40_config(options), k=20, normals=False)


def shapenetpart_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Widths of the published part segmenter: points with normals, 40 neighbors.

    Args:
        options: `PAPER` for the published network: 1.901 M parameters with its head for 16
            categories and 50 parts.

    Returns:
        The configuration.

    Examples:
        >>> shapenetpart_config().depths
        (2, 2, 1)
    """
    return DiPVNetConfig(
        widths=(16, 32, 64),
        depths=(2, 2, 1),
        num_radii=(64, 32, 32),
        k=40,
        embedding=256,
        normals=True,
        options=options,
    )


def small_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Half the published widths and a quarter of the radii, for points alone.

    Args:
        options: How directions are seen.

    Returns:
        The configuration.

    Examples:
        >>> small_config().embedding
        64
    """
    return DiPVNetConfig(
        widths=(16, 16, 32, 64),
        depths=(1, 1, 1, 1),
        num_radii=(16, 16, 16, 16),
        k=12,
        embedding=64,
        options=options,
    )


def tiny_config(options: DirectionOptions = DirectionOptions()) -> DiPVNetConfig:
    """Two narrow stages, for a laptop and for tests.

    Args:
        options: How directions are seen.

    Returns:
        The configuration.

    Examples:
        >>> tiny_config().widths
        (8, 16)
    """
    return DiPVNetConfig(
        widths=(8, 16),
        depths=(1, 1),
        num_radii=(12, 12),
        k=8,
        embedding=32,
        num_heads=4,
        options=options,
    )


class SpectrumAttention(nnx.Module):
    """Local features of the points attend to the spectrum of the whole cloud, then a small MLP.

    Args:
        vectors: Vector channels whose spectra are taken.
        features: Width of the local features.
        num_radii: Frequencies from 0 to `options.max_radius`: the tokens.
        num_heads: Attention heads.
        dropout_rate: After the attention and inside the MLP.
        options: How directions are seen.
        rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        vectors: int,
        features: int,
        num_radii: int,
        *,
        num_heads: int,
        dropout_rate: float,
        options: DirectionOptions,
        rngs: nnx.Rngs,
    ):
        width = vectors * (options.max_degree + 1 if options.spectrum == "degrees" else 1)
        self.num_radii = num_radii
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        self.options = options
        self.token_norm = (
            None if options.log_spectrum else nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        )
        self.frequency = (
            nnx.Param(0.02 * jax.random.normal(rngs.params(), (num_radii, width)))
            if options.frequency_embedding
            else None
        )
        self.query_norm = nnx.LayerNorm(features, epsilon=1e-5, rngs=rngs)
        self.query = linear(features, 2 * features, use_bias=False, rngs=rngs)
        self.key_value = linear(width, 4 * features, use_bias=False, rngs=rngs)
        self.output = linear(2 * features, features, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(features, epsilon=1e-5, rngs=rngs)
        self.expand = linear(features, 4 * features, rngs=rngs)
        self.contract = linear(4 * features, features, rngs=rngs)

    def tokens(
        self, vectors: Float[Array, "b n c 3"], mask: Bool[Array, "b n"] | None
    ) -> Float[Array, "b m w"]:
        """Describe the spectrum of every channel, one token a radius."""
        options = self.options
        clouds = jnp.swapaxes(vectors, 1, 2)
        masks = None if mask is None else jnp.broadcast_to(mask[:, None, :], clouds.shape[:3])
        if options.normalize_radius:
            clouds = normalize_radius(clouds, mask=masks)
        radii = np.linspace(0, options.max_radius, self.num_radii)
        if options.spectrum == "dasft":
            energy = dasft(clouds, sphere_rule(options.rule), radii, mask=masks)
        elif options.spectrum == "debye":
            energy = debye_spectrum(clouds, radii, mask=masks)
        else:
            power = degree_spectrum(clouds, radii, max_degree=options.max_degree, mask=masks)
            energy = power.reshape(power.shape[0], -1, self.num_radii)
        tokens = jnp.swapaxes(energy, 1, 2)
        if options.log_spectrum:
            # The floor is where the energy of a thousand points is their number's reciprocal;
            # between it and 1 the logarithm goes from -1 to 1.
            tokens = 1 + jnp.log(tokens + 1e-3) * (2 / np.log(1e3))
        else:
            count = jnp.float32(vectors.shape[1])
            if mask is not None:
                count = mask.sum(1, dtype=jnp.float32)[:, None, None]
            tokens = tokens * jnp.square(count)
        if self.token_norm is not None:
            tokens = self.token_norm(tokens)
        if self.frequency is not None:
            tokens = tokens + self.frequency[...][None]
        return tokens

    def __call__(
        self,
        local: Float[Array, "b n o"],
        vectors: Float[Array, "b n c 3"],
        *,
        train: bool,
        mask: Bool[Array, "b n"] | None,
        keys: Key[Array, " b"] | None,
        number: int,
    ) -> Float[Array, "b n o"]:
        """Add what the points learn from the spectrum to their local features."""

        def thin(x: jax.Array, index: int) -> jax.Array:
            if not train or self.dropout_rate == 0:
                return x
            return dropout(x, keys, number + index, self.dropout_rate)

        def heads(x: jax.Array) -> jax.Array:
            return x.reshape(*x.shape[:2], self.num_heads, -1)

        query = heads(self.query(self.query_norm(jax.nn.relu(local))))
        key, value = jnp.split(self.key_value(self.tokens(vectors, mask)), 2, axis=-1)
        scale = query.shape[-1] ** -0.5
        highest = lax.Precision.HIGHEST
        logits = jnp.einsum("bnhd,bmhd->bhnm", query * scale, heads(key), precision=highest)
        attention = jax.nn.softmax(logits, axis=-1)
        mixed = jnp.einsum("bhnm,bmhd->bnhd", attention, heads(value), precision=highest)
        fused = local + thin(self.output(mixed.reshape(*local.shape[:2], -1)), 0)
        hidden = jax.nn.gelu(self.expand(self.mlp_norm(fused)), approximate=False)
        return fused + thin(self.contract(thin(hidden, 1)), 2)


class _Stage(nnx.Module):
    """Vector features on the edges of one graph, and a direction layer for each."""

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
            nnx.Param(fan_in_uniform(rngs.params(), (width, 2 * half)))
            for _ in range(depth if options.separate else 0)
        )

    def __call__(self, vectors, neighbors, *, train, mask, keys, number):
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
        return pooled, fused, local

    def _pool(self, layer: int, edges: jax.Array, mask: jax.Array) -> jax.Array:
        if not self.pools:
            return vector_mean_pool(edges, mask=mask)
        return self.pools[layer](edges, mask=mask)


class _Trunk(nnx.Module):
    """The stages, and the vectors of all of them joined and read in an invariant frame."""

    def __init__(self, config: DiPVNetConfig, *, axis_name: AxisName | None, rngs: nnx.Rngs):
        self.config = config
        widths = config.widths
        inputs = (2 if config.normals else 1, *widths[:-1])
        self.stages = nnx.List(
            _Stage(*shape, config, axis_name=axis_name, rngs=rngs)
            for shape in zip(inputs, widths, config.depths, config.num_radii, strict=True)
        )
        self.join = VectorLinearLeakyReLU(
            sum(widths), config.embedding, share=True, axis_name=axis_name, rngs=rngs
        )
        self.frame = InvariantFrame(2 * config.embedding, axis_name=axis_name, rngs=rngs)

    def __call__(self, points, normals, *, train, mask, keys):
        config, options = self.config, self.config.options
        check_points("points", points, mask)
        if (normals is not None) != config.normals:
            raise ValueError(
                f"normals must be {'given' if config.normals else 'left out'} with "
                f"normals={config.normals}, got {None if normals is None else normals.shape}"
            )
        points = points.astype(jnp.float32)
        if mask is not None:
            points = jnp.where(mask[..., None], points, 0)
        if options.center:
            points = points - masked_mean(points, mask)[:, None, :]
        vectors = points[:, :, None, :]
        if normals is not None:
            check_points("normals", normals, mask)
            extra = normals.astype(jnp.float32)[:, :, None, :]
            if mask is not None:
                extra = jnp.where(mask[..., None, None], extra, 0)
            vectors = jnp.concatenate([vectors, extra], axis=2)
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
        return vectors, invariants, frame, jnp.concatenate(fused, -1), jnp.concatenate(local, -1)


class DiPVNet(nnx.Module):
    """Encode clouds for classification: one invariant descriptor a cloud.

    Args:
        config: Widths and options.
        axis_name: Mapped axis over which the batch of BatchNorm is spread.
        rngs: Source of the initial parameters.

    Attributes:
        features: Width of the descriptor; 4096 at the published widths.
        point_features: Width of what `describe` says of each point.

    Examples:
        >>> nnx.eval_shape(lambda: DiPVNet(modelnet40_config(PAPER), rngs=nnx.Rngs(0))).features
        4096
    """

    def __init__(self, config: DiPVNetConfig, *, axis_name: AxisName | None = None, rngs: nnx.Rngs):
        self.trunk = _Trunk(config, axis_name=axis_name, rngs=rngs)
        total = sum(w * d for w, d in zip(config.widths, config.depths, strict=True))
        self.mixers = nnx.List(linear(total, total, rngs=rngs) for _ in range(2))
        self.norms = nnx.List(nnx.LayerNorm(total, epsilon=1e-5, rngs=rngs) for _ in range(2))
        self.features = 12 * config.embedding + 4 * total
        self.point_features = 6 * config.embedding + 2 * total

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
        _, invariants, _, fused, local = self.trunk(
            points, normals, train=train, mask=mask, keys=keys
        )
        streams = [invariants]
        for stream, mixer, norm in zip((fused, local), self.mixers, self.norms, strict=True):
            streams.append(norm(jax.nn.relu(mixer(stream))))
        pooled = [pool(s, mask) for s in streams for pool in (masked_max, masked_mean)]
        return Description(jnp.concatenate(streams, -1), jnp.concatenate(pooled, -1))

    def __call__(
        self,
        points: Float[Array, "b n 3"],
        *,
        normals: Float[Array, "b n 3"] | None = None,
        mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b d"]:
        """Encode clouds.

        Args:
            points: The clouds.
            normals: Unit normals, if the configuration says so.
            mask: True for points that exist.
            train: Whether BatchNorm uses this batch, and dropout is on.
            keys: One key a cloud, from its index in the global batch; to train with dropout.

        Returns:
            One descriptor a cloud, float32.

        Raises:
            ValueError: For wrong shapes, NaN coordinates, fewer points than neighbors, normals
                that are missing or not wanted, missing `keys`.
        """
        description = self.describe(points, normals=normals, mask=mask, train=train, keys=keys)
        return description.per_cloud


class DiPVNetParts(nnx.Module):
    """Encode clouds for segmentation: invariant features of the points, and of the cloud.

    Args:
        config: Widths and options.
        axis_name: Mapped axis over which the batch of BatchNorm is spread.
        rngs: Source of the initial parameters.

    Attributes:
        features: Width of the description of a cloud.
        point_features: Width of the description of a point.

    Examples:
        >>> shapes = nnx.eval_shape(lambda: DiPVNetParts(shapenetpart_config(), rngs=nnx.Rngs(0)))
        >>> shapes.features, shapes.point_features
        (2816, 816)
    """

    def __init__(self, config: DiPVNetConfig, *, axis_name: AxisName | None = None, rngs: nnx.Rngs):
        self.trunk = _Trunk(config, axis_name=axis_name, rngs=rngs)
        total = sum(w * d for w, d in zip(config.widths, config.depths, strict=True))
        self.mixer = linear(2 * total, 2 * total, rngs=rngs)
        self.features = 6 * config.embedding + 8 * total
        self.point_features = 3 * sum(config.widths) + 3 * total

    def describe(
        self,
        points: Float[Array, "b n 3"],
        *,
        normals: Float[Array, "b n 3"] | None = None,
        mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Description:
        """Describe every point and every cloud; arguments as for `DiPVNet`."""
        vectors, invariants, frame, fused, local = self.trunk(
            points, normals, train=train, mask=mask, keys=keys
        )
        mixed = self.mixer(jnp.concatenate([fused, local], -1))
        read = read_in_frame(vectors, frame)
        per_point = [read.reshape(*read.shape[:2], -1), local, mixed]
        per_cloud = [masked_max(invariants, mask)]
        per_cloud += [p(s, mask) for s in (fused, local, mixed) for p in (masked_max, masked_mean)]
        return Description(jnp.concatenate(per_point, -1), jnp.concatenate(per_cloud, -1))

    def __call__(
        self,
        points: Float[Array, "b n 3"],
        *,
        normals: Float[Array, "b n 3"] | None = None,
        mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b d"]:
        """Encode clouds; arguments as for `DiPVNet`."""
        description = self.describe(points, normals=normals, mask=mask, train=train, keys=keys)
        return description.per_cloud
