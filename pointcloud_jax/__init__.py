"""Direction-aware features of point clouds that do not change when the cloud is rotated."""

import warnings
from typing import Any

from pointcloud_jax.augment.damage import crop_mask, cut_mask, visible_mask
from pointcloud_jax.augment.views import PointViews, PointViewSpec, make_point_views
from pointcloud_jax.checks import check_points
from pointcloud_jax.data.loading import load
from pointcloud_jax.data.shapes import FAMILIES, Shapes, num_parts, sample_shape, shape_dataset
from pointcloud_jax.data.source import CloudSource
from pointcloud_jax.geometry.graph import (
    Neighbors,
    ball_query,
    farthest_point_sampling,
    gather,
    interpolate,
    knn,
    knn_between,
)
from pointcloud_jax.geometry.neighborhoods import spread_neighbors
from pointcloud_jax.geometry.rotations import (
    matrix_to_axis_angle,
    matrix_to_quaternion,
    quaternion_to_matrix,
    random_quaternion,
    random_rotation,
    random_rotation_about,
    random_small_rotation,
    rotate,
    rotation_about,
    rotation_angle,
)
from pointcloud_jax.geometry.sphere import (
    SphereRule,
    fibonacci,
    icosahedral,
    lebedev,
    sphere_rule,
    spherical_design,
)
from pointcloud_jax.local.dot_products import edge_statistics, flatten_ordered, l2dp, radial_pool
from pointcloud_jax.local.edge_invariants import edge_angles
from pointcloud_jax.local.moments import (
    LocalMoments,
    local_moments,
    moment_invariants,
    surface_tensor,
    tensor_invariants,
)
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
from pointcloud_jax.nn.names import CLOUD_ENCODERS, cloud_encoder_by_name, cloud_encoders_by_name
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
from pointcloud_jax.spectra.degrees import degree_spectrum
from pointcloud_jax.spectra.directional import dasft
from pointcloud_jax.spectra.harmonics import solid_harmonics, spherical_bessel
from pointcloud_jax.spectra.normalization import normalize_radius
from pointcloud_jax.spectra.pairs import debye_spectrum, pair_histogram
from pointcloud_jax.tasks.cloud_classification import ClassificationConfig
from pointcloud_jax.tasks.cloud_pretraining import CloudPretrainingConfig
from pointcloud_jax.tasks.cloud_segmentation import SegmentationConfig
from pointcloud_jax.tasks.scores import confusion_matrix, part_iou

__all__ = [
    "CLOUD_ENCODERS",
    "DGCNN",
    "FAMILIES",
    "L2DP",
    "PAPER",
    "VNDGCNN",
    "ClassificationConfig",
    "Classifier",
    "CloudPretrainingConfig",
    "CloudSource",
    "Description",
    "DiPVNet",
    "DiPVNetConfig",
    "DiPVNetParts",
    "DirectionOptions",
    "HierarchicalEncoder",
    "HierarchyConfig",
    "InvariantFrame",
    "LocalMoments",
    "Neighbors",
    "PointEncoder",
    "PointViewSpec",
    "PointViews",
    "SegmentationConfig",
    "Segmenter",
    "Shapes",
    "SphereRule",
    "VectorBatchNorm",
    "VectorLinearLeakyReLU",
    "VectorMaxPool",
    "WithSpectrum",
    "ball_query",
    "check_points",
    "cloud_encoder_by_name",
    "cloud_encoders_by_name",
    "confusion_matrix",
    "crop_mask",
    "cut_mask",
    "dasft",
    "debye_spectrum",
    "degree_spectrum",
    "edge_angles",
    "edge_statistics",
    "edge_vectors",
    "farthest_point_sampling",
    "fibonacci",
    "flatten_ordered",
    "gather",
    "icosahedral",
    "interpolate",
    "knn",
    "knn_between",
    "l2dp",
    "lebedev",
    "load",
    "local_moments",
    "log_spectrum",
    "make_point_views",
    "matrix_to_axis_angle",
    "matrix_to_quaternion",
    "modelnet40_config",
    "moment_invariants",
    "normalize_radius",
    "num_parts",
    "pair_histogram",
    "part_iou",
    "quaternion_to_matrix",
    "radial_pool",
    "random_quaternion",
    "random_rotation",
    "random_rotation_about",
    "random_small_rotation",
    "read_in_frame",
    "rotate",
    "rotation_about",
    "rotation_angle",
    "sample_shape",
    "scanobjectnn_config",
    "shape_dataset",
    "shapenetpart_config",
    "small_config",
    "solid_harmonics",
    "sphere_rule",
    "spherical_bessel",
    "spherical_design",
    "spread_neighbors",
    "surface_tensor",
    "tensor_invariants",
    "tiny_config",
    "vector_leaky_relu",
    "vector_linear",
    "vector_max_pool",
    "vector_mean_pool",
    "visible_mask",
]

# Names of earlier versions.
_RENAMED = {
    "Dgcnn": "DGCNN",
    "Dipvnet": "DiPVNet",
    "DipvnetConfig": "DiPVNetConfig",
    "DipvnetParts": "DiPVNetParts",
    "L2dp": "L2DP",
    "Neighbours": "Neighbors",
    "VnDgcnn": "VNDGCNN",
    "normalise_radius": "normalize_radius",
}


def __getattr__(name: str) -> Any:
    """Give what was renamed by its old name, with a warning."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _RENAMED[name]
    warnings.warn(f"{__name__}.{name} is now {new}", DeprecationWarning, stacklevel=2)
    return globals()[new]
