"""Arrays of HDF5 files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pointcloud_jax.data.reading import MemoryBudget


def read_hdf5(
    files: Sequence[Path], names: Mapping[str, str], num_points: int, budget: MemoryBudget
) -> dict[str, np.ndarray]:
    """Read arrays of HDF5 files one after the other, of each cloud the first points.

    Nothing is followed out of a file: no links, no raw data stored elsewhere, no virtual data sets.

    Args:
        files: The files.
        names: What the arrays are called in the files, by what they are called here; `points` and
            `label` must be there, of the others those that all files have are read.
        num_points: Points to keep.
        budget: Where what is read is counted.

    Returns:
        The arrays by name.

    Raises:
        ValueError: If a file cannot be read, lacks arrays or points, or leads elsewhere.
    """
    pieces = [_read_one(file, names, num_points, budget) for file in files]
    shared = [key for key in pieces[0] if all(key in piece for piece in pieces)]
    return {key: np.concatenate([piece[key] for piece in pieces]) for key in shared}


def _read_one(
    file: Path, names: Mapping[str, str], num_points: int, budget: MemoryBudget
) -> dict[str, np.ndarray]:
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            f"{file.name} needs the package h5py to be read: pip install h5py"
        ) from None
    arrays = {}
    try:
        with h5py.File(file, "r") as opened:
            for name, key in names.items():
                if key in opened:
                    arrays[name] = _read_array(h5py, opened, key, num_points, budget)
    except OSError as error:
        raise ValueError(f"{file.name} is not an HDF5 file of clouds: {error}") from error
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from error
    if "points" not in arrays or "label" not in arrays:
        raise ValueError(f"{file.name} must hold data and label, got {', '.join(arrays)}")
    points, label = arrays["points"], arrays["label"]
    if points.ndim != 3 or points.shape[1] < num_points:
        raise ValueError(
            f"num_points must be at most the {points.shape[1]} of {file.name}, got {num_points}"
        )
    if label.size != len(points) or label.dtype.kind not in "iu":
        raise ValueError(f"{file.name}: label must be one integer a cloud, got {label.shape}")
    arrays["label"] = label.reshape(len(points)).astype(np.int64)
    return arrays


def _read_array(
    h5py: Any, opened: Any, key: str, num_points: int, budget: MemoryBudget
) -> np.ndarray:
    """Read a data set that the file itself holds, if it fits into memory."""
    if not isinstance(opened.get(key, getlink=True), h5py.HardLink):
        raise ValueError(f"{key} is a link, which is not followed")
    data: Any = opened[key]
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiub" or not data.ndim:
        raise ValueError(f"{key} must be an array of numbers")
    # Either could name any file of the machine.
    if data.external is not None or data.is_virtual:
        raise ValueError(f"{key} is stored in another file, which is not read")
    points = min(num_points, data.shape[1]) if data.ndim > 1 else 1
    rest = int(np.prod(data.shape[2:], dtype=np.float64))
    # What is not stored has a fill value: a small file may claim any number of rows.
    budget.take(data.shape[0] * points * rest * data.dtype.itemsize, f"{key} of {opened.filename}")
    return np.asarray(data[:, :num_points] if data.ndim > 1 else data[:])
