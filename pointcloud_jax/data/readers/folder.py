"""Folders of files, one cloud each."""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from lejepa_jax.data.listing import Listing, list_splits
from lejepa_jax.data.records import BadRecord
from pointcloud_jax.data.formats.arrays import read_npy
from pointcloud_jax.data.formats.clouds import CloudFile
from pointcloud_jax.data.formats.las import read_las
from pointcloud_jax.data.formats.ply import read_ply
from pointcloud_jax.data.formats.text import read_columns, read_obj
from pointcloud_jax.data.points import choose_points
from pointcloud_jax.data.reading import CloudRequest, CloudSets, version_of_files

#: Readers of one file by how its name ends. Each is given the path and the bytes it may take, of
#: which a file that is not compressed never takes more than eight times its size.
FORMATS: Mapping[str, Callable[[Path, int], CloudFile]] = MappingProxyType(
    {
        ".ply": read_ply,
        ".obj": read_obj,
        ".xyz": read_columns,
        ".txt": read_columns,
        ".csv": read_columns,
        ".npy": read_npy,
        ".las": read_las,
        ".laz": read_las,
    }
)


def read_folder(request: CloudRequest) -> CloudSets:
    """Read ``folder:PATH``, or ``folder`` in `data_dir`: files in folders of their classes.

    Args:
        request: What was asked for.

    Returns:
        Points, and normals if all files of the folder have them.

    Raises:
        ValueError: If there is no folder, or its folders do not fit together.
    """
    path = request.argument
    if request.name == "folder":
        if request.data_dir is None:
            raise ValueError("data_dir must name a folder of clouds for the data set folder")
        path = request.data_dir
    listed = list_splits(path, tuple(FORMATS), noun="clouds", ledger=request.ledger)
    splits, ignored = {}, set()
    for name in ("train", "test", "validation"):
        listing: Listing | None = getattr(listed, name)
        if listing is not None:
            splits[name] = _read_split(listing, request, ignored)
    if not all("normals" in arrays for arrays in splits.values()):
        for arrays in splits.values():
            if arrays.pop("normals", None) is not None:
                ignored.add("normals, which not all files have")
    found = [f"folder {name}" for name in listed.ignored] + sorted(ignored)
    listings = [part for part in listed[:3] if part is not None]
    files = [Path(file) for listing in listings for file in listing.paths]
    version = version_of_files(file for file in files if file.is_file())
    return CloudSets(
        splits, listed.train.class_names, str(path), ignored=tuple(found), version=version
    )


def _read_split(
    listing: Listing, request: CloudRequest, ignored: set[str]
) -> dict[str, np.ndarray]:
    """Read the files of a split; `ignored` gets the names of features that are not used."""
    clouds, labels, num_points = [], [], request.num_points
    for index, (path, label) in enumerate(zip(listing.paths, listing.labels, strict=True)):
        name = listing.describe(index)
        try:
            cloud = _read(Path(path), request)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            request.ledger.add([BadRecord(name, reason)])
            continue
        ignored.update(cloud.ignored)
        # By its name: another file beside it changes nothing.
        rows = choose_points(len(cloud.points), num_points, zlib.crc32(name.encode()))
        request.budget.take(num_points * 24, name)
        # Coordinates on a map are millions of meters: float32 is for what is left of them.
        points = cloud.points[rows] - cloud.points[rows].mean(0)
        normals = None if cloud.normals is None else cloud.normals[rows]
        clouds.append((points.astype(np.float32), normals))
        labels.append(label)
    if not clouds:
        raise ValueError(f"{listing.root} has no cloud that could be read")

    def stack(arrays: list[np.ndarray]) -> np.ndarray:
        out = np.zeros((len(arrays), num_points, 3), np.float32)
        for row, array in zip(out, arrays, strict=True):
            row[: len(array)] = array
        return out

    counts = np.array([len(points) for points, _ in clouds])
    arrays = {
        "points": stack([points for points, _ in clouds]),
        "label": np.array(labels, np.int64),
        "exists": np.arange(num_points)[None] < counts[:, None],
    }
    normals = [normals for _, normals in clouds if normals is not None]
    if len(normals) == len(clouds):
        arrays["normals"] = stack(normals)
    elif normals:
        ignored.add("normals, which not all files have")
    return arrays


def _read(file: Path, request: CloudRequest) -> CloudFile:
    """Read one file, if what memory is left has room for eight times its size: text as numbers."""
    left, size = request.budget.left, file.stat().st_size
    if 8 * size > left:
        raise ValueError(
            f"memory_limit={request.budget.limit} is less than a file of {size} bytes needs"
        )
    return FORMATS[file.suffix.lower()](file, left)
