"""Local descriptors: dot products with neighbors, and how they are pooled."""

from pointcloud_jax.local.dot_products import edge_statistics, flatten_ordered, l2dp, radial_pool

__all__ = ["edge_statistics", "flatten_ordered", "l2dp", "radial_pool"]
