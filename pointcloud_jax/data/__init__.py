"""Clouds: readers by name, and procedural solids."""

from pointcloud_jax.data.loading import CloudSource, load
from pointcloud_jax.data.shapes import FAMILIES, Map, Shapes, num_parts, sample_shape, shape_dataset

__all__ = [
    "FAMILIES",
    "CloudSource",
    "Map",
    "Shapes",
    "load",
    "num_parts",
    "sample_shape",
    "shape_dataset",
]
