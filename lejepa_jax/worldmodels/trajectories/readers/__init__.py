"""Readers of trajectories, one layout of files each."""

from lejepa_jax.worldmodels.trajectories.readers.hdf5 import Hdf5Frames, read_hdf5
from lejepa_jax.worldmodels.trajectories.readers.lerobot import read_lerobot
from lejepa_jax.worldmodels.trajectories.readers.names import find_arrays, make_trajectories
from lejepa_jax.worldmodels.trajectories.readers.npz import read_npz

__all__ = [
    "Hdf5Frames",
    "find_arrays",
    "make_trajectories",
    "read_hdf5",
    "read_lerobot",
    "read_npz",
]
