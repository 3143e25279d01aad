"""Clouds as NumPy arrays."""

from pathlib import Path

import numpy as np

from pointcloud_jax.data.formats.clouds import CloudFile, from_table


def read_npy(file: Path, max_bytes: int) -> CloudFile:
    """Read a .npy file: an array (n, 3), or with normals and other features in further columns.

    Args:
        file: The file.
        max_bytes: What it may take in memory; not looked at, see `FORMATS`.

    Returns:
        Coordinates, and normals if columns 4 to 6 are unit vectors.

    Raises:
        ValueError: If it is no such array, or shorter than it claims.
    """
    # Mapped: a header that claims more than the file holds is refused, and nothing allocated.
    table = np.load(file, mmap_mode="r", allow_pickle=False)
    return from_table(np.asarray(table))
