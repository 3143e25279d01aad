r"""DiPVNet: vector neurons, local dot products, and attention to the spectrum of the whole cloud.

Each stage works on the graph of nearest neighbors in its own features: vector features of the
edges, pooled to the points; local dot products of each edge (`pointcloud_jax.local`); and the
spectrum of each channel seen as a cloud (`pointcloud_jax.spectra`), to which the points attend, one
token a radius. All that leaves the network is invariant under rotation.

`DirectionOptions()` departs from the released network where that is weak, each time behind its own
name; `PAPER` is the published choice of all of them. What is not offered is a random rotation
inside the network: rotation is data (`pointcloud_jax.augment.views`).

References:
    Hu, Li, Zhu, Hou, "Hierarchical Direction Perception via Atomic Dot-Product Operators for
    Rotation-Invariant Point Clouds Learning", arXiv 2511.08240, 2025.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from lejepa_jax.statistics.reductions import AxisName
from pointcloud_jax.nn.dipvnet.configs import DiPVNetConfig
from pointcloud_jax.nn.dipvnet.stages import Trunk
from pointcloud_jax.nn.encoder import Description, PointEncoder
from pointcloud_jax.nn.layers import linear
from pointcloud_jax.nn.vector_neurons import read_in_frame
from pointcloud_jax.reductions import masked_max, masked_mean


class DiPVNet(PointEncoder):
    """Encode clouds for classification: one invariant descriptor a cloud.

    Args:
        config: Widths and options.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Attributes:
        features: Width of the descriptor; 4096 at the published widths.
        point_features: Width of the description of a point.

    Examples:
        >>> from pointcloud_jax.nn.dipvnet.configs import PAPER, modelnet40_config
        >>> nnx.eval_shape(lambda: DiPVNet(modelnet40_config(PAPER), rngs=nnx.Rngs(0))).features
        4096
    """

    def __init__(self, config: DiPVNetConfig, *, axis_name: AxisName | None = None, rngs: nnx.Rngs):
        self.trunk = Trunk(config, axis_name=axis_name, rngs=rngs)
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


class DiPVNetParts(PointEncoder):
    """Encode clouds for segmentation: invariant features of the points, and of the cloud.

    Args:
        config: Widths and options.
        axis_name: Mapped axis over which the batch of BatchNorm is sharded.
        rngs: Source of the initial parameters.

    Attributes:
        features: Width of the description of a cloud.
        point_features: Width of the description of a point.

    Examples:
        >>> from pointcloud_jax.nn.dipvnet.configs import shapenetpart_config
        >>> shapes = nnx.eval_shape(lambda: DiPVNetParts(shapenetpart_config(), rngs=nnx.Rngs(0)))
        >>> shapes.features, shapes.point_features
        (2816, 816)
    """

    def __init__(self, config: DiPVNetConfig, *, axis_name: AxisName | None = None, rngs: nnx.Rngs):
        self.trunk = Trunk(config, axis_name=axis_name, rngs=rngs)
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
        """Describe every point and every cloud; arguments as for calling the encoder."""
        vectors, invariants, frame, fused, local = self.trunk(
            points, normals, train=train, mask=mask, keys=keys
        )
        mixed = self.mixer(jnp.concatenate([fused, local], -1))
        read = read_in_frame(vectors, frame)
        per_point = [read.reshape(*read.shape[:2], -1), local, mixed]
        per_cloud = [masked_max(invariants, mask)]
        per_cloud += [p(s, mask) for s in (fused, local, mixed) for p in (masked_max, masked_mean)]
        return Description(jnp.concatenate(per_point, -1), jnp.concatenate(per_cloud, -1))
