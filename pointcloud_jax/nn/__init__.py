"""Networks on clouds, as Flax NNX modules."""

from pointcloud_jax.nn.dgcnn import DGCNN, VNDGCNN
from pointcloud_jax.nn.dipvnet.configs import (
    PAPER,
    DiPVNetConfig,
    DirectionOptions,
    modelnet40_config,
    scanobjectnn_config,
    shapenetpart_config,
    small_config,
    tiny_config,
)
from pointcloud_jax.nn.dipvnet.networks import DiPVNet, DiPVNetParts
from pointcloud_jax.nn.encoder import Description, PointEncoder
from pointcloud_jax.nn.heads import Classifier, Segmenter
from pointcloud_jax.nn.hierarchy import HierarchicalEncoder, HierarchyConfig
from pointcloud_jax.nn.local_features import L2DP
from pointcloud_jax.nn.names import (
    CLOUD_ENCODERS,
    cloud_encoder_by_name,
    cloud_encoders_by_name,
)
from pointcloud_jax.nn.spectral_descriptor import WithSpectrum, log_spectrum
from pointcloud_jax.nn.vector_neurons import (
    InvariantFrame,
    VectorBatchNorm,
    VectorLinearLeakyReLU,
    VectorMaxPool,
    edge_vectors,
    read_in_frame,
    vector_leaky_relu,
    vector_linear,
    vector_max_pool,
    vector_mean_pool,
)

__all__ = [
    "CLOUD_ENCODERS",
    "DGCNN",
    "L2DP",
    "PAPER",
    "VNDGCNN",
    "Classifier",
    "Description",
    "DiPVNet",
    "DiPVNetConfig",
    "DiPVNetParts",
    "DirectionOptions",
    "HierarchicalEncoder",
    "HierarchyConfig",
    "InvariantFrame",
    "PointEncoder",
    "Segmenter",
    "VectorBatchNorm",
    "VectorLinearLeakyReLU",
    "VectorMaxPool",
    "WithSpectrum",
    "cloud_encoder_by_name",
    "cloud_encoders_by_name",
    "edge_vectors",
    "log_spectrum",
    "modelnet40_config",
    "read_in_frame",
    "scanobjectnn_config",
    "shapenetpart_config",
    "small_config",
    "tiny_config",
    "vector_leaky_relu",
    "vector_linear",
    "vector_max_pool",
    "vector_mean_pool",
]
