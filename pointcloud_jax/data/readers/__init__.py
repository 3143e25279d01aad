"""Readers: functions from a `CloudRequest` to the `CloudSets` of a data set."""

from pointcloud_jax.data.readers.folder import FORMATS, read_folder
from pointcloud_jax.data.readers.modelnet40 import read_modelnet40
from pointcloud_jax.data.readers.npz import read_npz
from pointcloud_jax.data.readers.scanobjectnn import read_scanobjectnn
from pointcloud_jax.data.readers.shapenetpart import read_shapenetpart
from pointcloud_jax.data.readers.solids import read_solids

__all__ = [
    "FORMATS",
    "read_folder",
    "read_modelnet40",
    "read_npz",
    "read_scanobjectnn",
    "read_shapenetpart",
    "read_solids",
]
