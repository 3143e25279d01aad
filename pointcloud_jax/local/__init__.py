"""Local descriptors: dot products with neighbors, and how they are pooled."""

from pointcloud_jax.local.dot_products import edge_statistics, flatten_ordered, l2dp, radial_pool
from pointcloud_jax.local.edge_invariants import edge_angles

__all__ = ["edge_angles", "edge_statistics", "flatten_ordered", "l2dp", "radial_pool"]
