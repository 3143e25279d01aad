"""The LAS format of laser scanners."""

from pathlib import Path
from typing import Any

import numpy as np

from pointcloud_jax.data.formats.clouds import CloudFile


def read_las(file: Path, max_bytes: int) -> CloudFile:
    """Read a .las or .laz file.

    Args:
        file: The file.
        max_bytes: What it may take in memory.

    Returns:
        The coordinates, with scale and offset applied in float64.

    Raises:
        ValueError: If the package laspy is missing, or the file cannot be read.
    """
    try:
        import laspy  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            "it needs the package laspy to be read: pip install laspy[lazrs]"
        ) from None
    try:
        with laspy.open(file) as opened:
            # What is compressed, or claimed, may be far more than the size of the file.
            needed = opened.header.point_count * (24 + opened.header.point_format.size)
            if needed > max_bytes:
                raise ValueError(f"its points need {needed} bytes, more than memory_limit leaves")
            read: Any = opened.read()
        points = np.asarray(read.xyz, np.float64)
        names = [name for name in read.point_format.dimension_names if name not in ("X", "Y", "Z")]
    except Exception as error:  # damaged and hostile files raise errors of all kinds
        raise ValueError(f"it cannot be read as LAS: {error}") from error
    if not len(points):
        raise ValueError("it has no points")
    return CloudFile(points, None, tuple(names))
