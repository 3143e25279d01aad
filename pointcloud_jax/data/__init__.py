"""Clouds: readers by name, and procedural solids."""

from pointcloud_jax.data.loading import READERS, load
from pointcloud_jax.data.reading import CloudReader, CloudRequest, CloudSets
from pointcloud_jax.data.shapes import FAMILIES, Shapes, num_parts, sample_shape, shape_dataset
from pointcloud_jax.data.source import CloudSource

__all__ = [
    "FAMILIES",
    "READERS",
    "CloudReader",
    "CloudRequest",
    "CloudSets",
    "CloudSource",
    "Shapes",
    "load",
    "num_parts",
    "sample_shape",
    "shape_dataset",
]
