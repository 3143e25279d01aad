"""Readers: functions from a `Request` to the `Parts` of a data set."""

from lejepa_jax.data.readers.digits import read_digits
from lejepa_jax.data.readers.folder import read_folder
from lejepa_jax.data.readers.npz import read_npz
from lejepa_jax.data.readers.tfds import read_tfds

__all__ = ["read_digits", "read_folder", "read_npz", "read_tfds"]
