"""Local descriptors: dot products with neighbors, and how they are pooled."""

from pointcloud_jax.local.dot_products import edge_statistics, flatten_ordered, l2dp, radial_pool
from pointcloud_jax.local.edge_invariants import edge_angles
from pointcloud_jax.local.moments import (
    LocalMoments,
    local_moments,
    moment_invariants,
    surface_tensor,
    tensor_invariants,
)

__all__ = [
    "LocalMoments",
    "edge_angles",
    "edge_statistics",
    "flatten_ordered",
    "l2dp",
    "local_moments",
    "moment_invariants",
    "radial_pool",
    "surface_tensor",
    "tensor_invariants",
]
