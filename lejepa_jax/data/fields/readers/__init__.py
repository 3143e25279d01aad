"""Readers of fields: arrays, tables, folders of files."""

from lejepa_jax.data.fields.readers.arrays import read_hdf5, read_npy, read_npz
from lejepa_jax.data.fields.readers.folders import read_folder
from lejepa_jax.data.fields.readers.tables import read_csv, read_parquet

__all__ = ["read_csv", "read_folder", "read_hdf5", "read_npy", "read_npz", "read_parquet"]
