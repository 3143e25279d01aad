"""Trajectories in one HDF5 file, whose frames may be larger than the memory."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lejepa_jax.checks import needs_extra
from lejepa_jax.worldmodels.trajectories.episodes import Trajectories
from lejepa_jax.worldmodels.trajectories.readers.names import (
    SPELLINGS,
    find_arrays,
    make_trajectories,
)


class Hdf5Frames:
    """Frames that are read from a data set when they are asked for.

    Args:
        data: An open data set (n, h, w, c) of uint8.
    """

    def __init__(self, data: Any):
        self._data = data
        self.shape: tuple[int, ...] = tuple(data.shape)
        self._lock = threading.Lock()

    def __getitem__(self, indices: Any) -> UInt8[np.ndarray, "n h w c"]:
        """Read the frames at an array of positions, each once and in the order of the file."""
        rows, places = np.unique(np.asarray(indices), return_inverse=True)
        with self._lock:
            found = np.stack([self._data[int(row)] for row in rows])
        return found[places]


def read_hdf5(path: str, *, memory_limit: int = 2**31) -> Trajectories:
    """Read the data sets of a file. Frames above the memory limit stay in the file.

    Nothing is followed out of the file: no links, no raw data stored elsewhere, no virtual data.

    Args:
        path: The file; `lejepa_jax.worldmodels.trajectories.loading.read_trajectories` says what
            its data sets are called.
        memory_limit: Bytes that frames may take in memory; the other arrays must fit too.

    Returns:
        The trajectories.

    Raises:
        ValueError: If it is no such file.
    """
    with needs_extra("hdf5"):
        import h5py  # pyright: ignore[reportMissingImports]

    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{path!r} is not a file")
    try:
        opened = h5py.File(file, "r")
        every = [name for spellings in SPELLINGS.values() for name in spellings]
        names = find_arrays([name for name in every if name in opened])
        sets = {name: _own(h5py, opened, own) for name, own in names.items()}
        frames: Any = sets.pop("frames")
        if frames.ndim != 4 or frames.dtype != np.uint8:
            raise ValueError(
                f"frames must be uint8 (n, h, w, c), got {frames.dtype} {frames.shape}"
            )
        # What is not stored has a fill value: a small file may claim any number of rows.
        rest = sum(data.size * data.dtype.itemsize for data in sets.values())
        if rest > memory_limit:
            raise ValueError(f"its actions and states take {rest} bytes, more than {memory_limit}")
        arrays = {name: _read(data) for name, data in sets.items()}
        held = frames[:] if frames.size <= memory_limit else Hdf5Frames(frames)
        return make_trajectories(held, arrays)
    except Exception as error:  # damaged and hostile files raise errors of all kinds
        raise ValueError(f"{path!r} is not an HDF5 file of trajectories: {error}") from error


def _own(h5py: Any, opened: Any, name: str) -> Any:
    """Find a data set that the file itself holds."""
    place = ""
    for part in name.split("/"):
        place = f"{place}/{part}" if place else part
        if not isinstance(opened.get(place, getlink=True), h5py.HardLink):
            raise ValueError(f"{place} is a link, which is not followed")
    data = opened[name]
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"{name} must be an array")
    if data.external is not None or data.is_virtual:
        raise ValueError(f"{name} is stored in another file, which is not read")
    return data


def _read(data: Any) -> np.ndarray:
    return np.asarray(data.asstr()[:] if data.dtype.kind == "O" else data[:])
