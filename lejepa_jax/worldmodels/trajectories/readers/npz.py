"""Trajectories in archives of arrays."""

import zipfile
from pathlib import Path

import numpy as np

from lejepa_jax.worldmodels.trajectories.episodes import Trajectories
from lejepa_jax.worldmodels.trajectories.readers.names import find_arrays, make_trajectories


def read_npz(path: str, *, memory_limit: int = 2**31) -> Trajectories:
    """Read the arrays of an archive; nothing is unpickled.

    Args:
        path: The file; `lejepa_jax.worldmodels.trajectories.loading.read_trajectories` says what
            its arrays are called.
        memory_limit: Bytes that what is read may take.

    Returns:
        The trajectories.

    Raises:
        ValueError: If it is no such archive, or larger than the limit.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{path!r} is not a file")
    try:
        with np.load(file, allow_pickle=False) as members, zipfile.ZipFile(file) as archive:
            names = find_arrays(members.files)
            # What the archive says they unpack to; more than that is never read from it.
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            unpacked = sum(sizes.get(f"{name}.npy", 0) for name in names.values())
            if unpacked > memory_limit:
                raise ValueError(f"it unpacks to {unpacked} bytes, more than {memory_limit}")
            arrays = {name: members[own] for name, own in names.items()}
        return make_trajectories(arrays.pop("frames"), arrays)
    except Exception as error:  # damaged and hostile archives raise errors of all kinds
        raise ValueError(f"{path!r} is not an .npz of trajectories: {error}") from error
