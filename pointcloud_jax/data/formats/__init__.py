"""File formats of clouds, each a function from a path to what one file holds."""

from pointcloud_jax.data.formats.arrays import read_npy
from pointcloud_jax.data.formats.clouds import CloudFile, from_columns, from_table
from pointcloud_jax.data.formats.hdf5 import read_hdf5
from pointcloud_jax.data.formats.las import read_las
from pointcloud_jax.data.formats.ply import read_ply
from pointcloud_jax.data.formats.text import read_columns, read_obj

__all__ = [
    "CloudFile",
    "from_columns",
    "from_table",
    "read_columns",
    "read_hdf5",
    "read_las",
    "read_npy",
    "read_obj",
    "read_ply",
]
