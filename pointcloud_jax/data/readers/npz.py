"""Archives of arrays."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lejepa_jax.data.source import numbered_classes
from pointcloud_jax.data.points import choose_points
from pointcloud_jax.data.reading import CloudRequest, CloudSets, MemoryBudget

# Arrays by what they are for; the first that is there is taken.
_NAMES = {
    "points": ("points",),
    "normals": ("normals",),
    "exists": ("exists",),
    "label": ("label", "labels", "category"),
    "class_names": ("class_names", "category_names"),
    "is_test": ("is_test",),
    "part": ("part",),
    "part_names": ("part_names",),
    "part_class": ("part_class", "part_category"),
}


def read_npz(request: CloudRequest) -> CloudSets:
    """Read ``npz:PATH``; the table of `pointcloud_jax.data.loading.load` has the names of arrays.

    Args:
        request: What was asked for.

    Returns:
        What the archive holds.

    Raises:
        ValueError: If it is no archive of clouds, or arrays do not fit together.
    """
    file = Path(request.argument).expanduser()
    if not file.is_file():
        raise ValueError(f"{file} is not a file")
    found, ignored, version = _members(file, request.budget)
    if "points" not in found:
        raise ValueError(f"{file} must hold an array points, got {', '.join(ignored) or 'nothing'}")
    arrays = _arrays(found, file, request.num_points)
    if "class_names" in found:
        class_names = [str(name) for name in found["class_names"].ravel().tolist()]
    else:
        class_names = numbered_classes(np.append(arrays["label"], -1))
    part_names: tuple[str, ...] = ()
    part_class = found.get("part_class") if "part" in arrays else None
    if "part" in arrays:
        if part_class is None:
            raise ValueError(f"{file}: part_class must say which class each part belongs to")
        _check_integers(file, "part_class", part_class)
        names = found.get("part_names", np.arange(len(part_class)))
        part_names = tuple(str(name) for name in names.ravel().tolist())
    splits = {"train": arrays}
    if "is_test" in found:
        # -1 is for clouds of neither part, which have no label: something to pretrain on.
        test = found["is_test"].ravel() > 0
        if len(test) != len(arrays["points"]):
            raise ValueError(f"{file}: is_test must have {len(arrays['points'])} entries")
        splits = {
            name: {key: array[rows] for key, array in arrays.items()}
            for name, rows in (("train", ~test), ("test", test))
            if rows.any()
        }
    ignored = tuple(f"array {name}" for name in ignored)
    return CloudSets(
        splits, tuple(class_names), file.name, part_names, part_class, ignored, version
    )


def _members(
    file: Path, budget: MemoryBudget
) -> tuple[dict[str, np.ndarray], tuple[str, ...], str]:
    """Arrays by what they are for, the names of others, and checksums of the first."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        plain: dict[str, str] = {}
        for key in members:
            name = re.sub(r"\d+$", "", key.lower())
            if name in plain:
                raise ValueError(f"{plain[name]} and {key} both mean {name}")
            plain[name] = key
        wanted = {
            use: next((plain[name] for name in names if name in plain), None)
            for use, names in _NAMES.items()
        }
        taken = {use: key for use, key in wanted.items() if key is not None}
        # What the archive says they unpack to; more than that is never read from it.
        budget.take(sum(members[key].file_size for key in taken.values()), file.name)
        with np.load(file, allow_pickle=False) as opened:
            found = {use: opened[key] for use, key in taken.items()}
    except Exception as error:  # damaged and hostile archives raise errors of all kinds
        raise ValueError(f"{file} is not an .npz of clouds: {error}") from error
    version = " ".join(f"{use}:{members[key].CRC:08x}" for use, key in taken.items())
    return found, tuple(sorted(set(members) - set(taken.values()))), version


def _arrays(found: Mapping[str, Any], file: Path, num_points: int) -> dict[str, np.ndarray]:
    """Arrays with one row a cloud, of each cloud the points that are kept."""
    points = found["points"]
    if (
        points.ndim != 3
        or points.shape[2] != 3
        or not points.size
        or points.dtype.kind not in "fiu"
    ):
        raise ValueError(
            f"{file}: points must be numbers (clouds, points, 3), none empty, got {points.dtype} "
            f"of shape {points.shape}"
        )
    total, width = points.shape[:2]
    label = found.get("label", np.full(total, -1))
    _check_integers(file, "label", label)
    arrays = {"points": points, "label": label.astype(np.int64).ravel()}
    for name in ("normals", "exists", "part"):
        if name in found:
            arrays[name] = found[name]
    for name, array in arrays.items():
        shape = {
            "points": points.shape,
            "normals": points.shape,
            "label": (total,),
        }.get(name, (total, width))
        if array.shape != shape:
            raise ValueError(f"{file}: {name} must have the shape {shape}, got {array.shape}")
    if "exists" in arrays:
        arrays["exists"] = arrays["exists"] != 0
    if "part" in arrays:
        _check_integers(file, "part", arrays["part"])
        arrays["part"] = arrays["part"].astype(np.int64)
    if width <= num_points:
        return arrays
    exists = arrays.get("exists")
    rows = np.stack(
        [
            choose_points(width, num_points, i, exists=None if exists is None else exists[i])
            for i in range(total)
        ]
    )
    return {
        name: array if name == "label" else array[np.arange(total)[:, None], rows]
        for name, array in arrays.items()
    }


def _check_integers(file: Path, name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "iub":
        raise ValueError(f"{file}: {name} must be integers, got {array.dtype}")
