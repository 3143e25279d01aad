"""Clouds by index: procedural solids, and the files people have of the usual benchmarks.

`load` turns a name into two `CloudSource`, one to train on and one held out, which
`lejepa_jax.data.loading.batches` and `eval_batches` give out in batches. All clouds of a set hold the same
number of points; where fewer are known, `exists` says which. Nothing read here is executed: no
pickles, no links out of an HDF5 file, no paths out of the folder.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from lejepa_jax.checks import check_positive
from lejepa_jax.data.records import BadRecord
from lejepa_jax.data.source import Batch, Source
from lejepa_jax.data.splits import Splits, stratified_split
from pointcloud_jax.data.shapes import FAMILIES, num_parts, shape_dataset

_MODELNET_H5, _MODELNET_TEXT = "modelnet40_ply_hdf5_2048", "modelnet40_normal_resampled"
_PARTS_H5 = "hdf5_data"
_PARTS_TEXT = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
_SCAN_FILES = {  # folder and end of the file names of each variant
    "pb_t50_rs": ("main_split", "_objectdataset_augmentedrot_scale75.h5"),
    "obj_bg": ("main_split", "_objectdataset.h5"),
    "obj_only": ("main_split_nobg", "_objectdataset.h5"),
}
_SCAN_CLASSES = (
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door"),
    *("shelf", "table", "bed", "pillow", "sink", "sofa", "toilet"),
)
# Categories of ShapeNetPart and how many of the 50 parts each has, in the order of its labels.
_SHAPENET_PARTS = {
    **{"Airplane": 4, "Bag": 2, "Cap": 2, "Car": 4, "Chair": 4, "Earphone": 3, "Guitar": 3},
    **{"Knife": 2, "Lamp": 4, "Laptop": 2, "Motorbike": 6, "Mug": 2, "Pistol": 3, "Rocket": 3},
    **{"Skateboard": 3, "Table": 3},
}
_HELP = {
    "modelnet40": f"{_MODELNET_H5}.zip or {_MODELNET_TEXT}.zip of shapenet.cs.stanford.edu/media",
    "scanobjectnn": "h5_files.zip, which hkust-vgd.github.io/scanobjectnn sends on request",
    "shapenetpart": f"shapenet_part_seg_hdf5_data.zip or {_PARTS_TEXT}.zip of "
    "shapenet.cs.stanford.edu/media",
}
#: Solids of each family in the two halves of the procedural set.
_TRAIN_PER_FAMILY, _TEST_PER_FAMILY = 60, 30


class CloudSource(Source):
    """Random access to clouds that are held in memory.

    ``source[i]`` has ``points`` (n 3), ``label``, ``index``, and where the data has them
    ``normals`` (n 3), ``part`` (n, -1 where unknown) and ``exists`` (n).

    Args:
        points: The clouds.
        labels: Class of each, -1 where unknown.
        class_names: One name a class.
        normals: Unit normals.
        part: Part of each point, numbered over all classes.
        exists: True for points that exist; by default all do.
        part_names: One name a part.
        part_class: The class that each part belongs to.
        bad_records: Clouds that were left out, and why.

    Raises:
        ValueError: If there are no clouds, or shapes, labels, parts and names do not fit together.

    Examples:
        >>> source = CloudSource(np.zeros((2, 5, 3), np.float32), np.array([1, 0]), ("box", "cone"))
        >>> len(source), source.num_points, sorted(source[0])
        (2, 5, ['index', 'label', 'points'])
    """

    labels: Int32[np.ndarray, " n"]

    def __init__(
        self,
        points: Float[np.ndarray, "n p 3"],
        labels: Int[np.ndarray, " n"],
        class_names: Sequence[str],
        *,
        normals: Float[np.ndarray, "n p 3"] | None = None,
        part: Int[np.ndarray, "n p"] | None = None,
        exists: Bool[np.ndarray, "n p"] | None = None,
        part_names: Sequence[str] = (),
        part_class: Int[np.ndarray, " q"] | None = None,
        bad_records: Sequence[BadRecord] = (),
    ):
        if points.ndim != 3 or points.shape[-1] != 3 or not points.size:
            raise ValueError(f"points must be (clouds, points, 3), none empty, got {points.shape}")
        for name, array, shape in (
            ("labels", labels, points.shape[:1]),
            ("normals", normals, points.shape),
            ("part", part, points.shape[:2]),
            ("exists", exists, points.shape[:2]),
        ):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
        _check_range("labels", labels, len(class_names))
        if part is not None:
            _check_range("part", part, len(part_names))
        if len(part_names) and (part_class is None or part_class.shape != (len(part_names),)):
            raise ValueError(f"part_class must give the class of each of {len(part_names)} parts")
        arrays = {"points": points.astype(np.float32), "label": labels.astype(np.int32)}
        if normals is not None:
            arrays["normals"] = normals.astype(np.float32)
        if part is not None:
            arrays["part"] = part.astype(np.int32)
        if exists is not None:
            arrays["exists"] = exists
        self._arrays = arrays
        self.labels = arrays["label"]
        self.class_names, self.part_names = tuple(class_names), tuple(part_names)
        self.part_class = None if part_class is None else part_class.astype(np.int32)
        self._bad_records = tuple(bad_records)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_points(self) -> int:
        """Points of each cloud."""
        return self._arrays["points"].shape[1]

    @property
    def has_normals(self) -> bool:
        """Whether the clouds have normals."""
        return "normals" in self._arrays

    @property
    def has_parts(self) -> bool:
        """Whether it is known to which part a point belongs."""
        return "part" in self._arrays

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        """Clouds that were left out, in all splits of the load."""
        return self._bad_records

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the clouds at `indices`, stacked."""
        batch = {name: array[indices] for name, array in self._arrays.items()}
        return {**batch, "index": indices.astype(np.int32)}

    def subset(self, indices: Int[np.ndarray, " b"]) -> "CloudSource":
        """Return a source of only the clouds at `indices`, in that order."""
        arrays = {name: array[indices] for name, array in self._arrays.items()}
        return CloudSource(
            arrays.pop("points"),
            arrays.pop("label"),
            self.class_names,
            **arrays,
            part_names=self.part_names,
            part_class=self.part_class,
            bad_records=self._bad_records,
        )


def _check_range(name: str, numbers: np.ndarray, end: int) -> None:
    if numbers.size and not -1 <= numbers.min() <= numbers.max() < max(end, 1):
        raise ValueError(f"{name} must lie in [-1, {end}), got {numbers.min()} to {numbers.max()}")


def load(
    name: str,
    *,
    num_points: int,
    normals: bool = False,
    parts: bool = False,
    data_dir: str | None = None,
    holdout: Literal["test", "validation"] = "test",
    max_bad_records: int = 0,
) -> Splits:
    """Load clouds by name, each moved to its centroid and scaled to radius 1.

    ====================  ========================================================================
    ``shapes``            Procedural solids (`pointcloud_jax.data.shapes`), 60 of each of 18 families
                          to train on and 30 held out, always the same; ``shapes:N`` for N and N/2.
    ``modelnet40``        `data_dir` holds modelnet40_ply_hdf5_2048 or modelnet40_normal_resampled.
    ``scanobjectnn``      `data_dir` holds main_split and main_split_nobg. The variant PB_T50_RS;
                          others are ``scanobjectnn:obj_bg`` and ``scanobjectnn:obj_only``.
    ``shapenetpart``      `data_dir` holds the HDF5 files (without normals) or the text files (with
                          them). Labels are the categories. Trained on train and val together.
    ``npz:PATH``          Arrays ``points`` (n p 3) and, each optional, ``normals``, ``label`` (-1
                          where unknown), ``class_names``, ``is_test`` (positive where held out),
                          ``part`` (n p), ``part_names`` and ``part_class``. Digits at the end of
                          a name do not count; ``category`` may stand for label and class.
    ====================  ========================================================================

    `data_dir` may be the folder itself or the one above it. A part of the training data that stands
    in for missing or unasked test data is stratified by class and depends on the data alone.

    Args:
        name: See the table.
        num_points: Points kept of each cloud: the first (of text files of ShapeNetPart, whose
            points are ordered, evenly spread ones).
        normals: Whether to keep normals.
        parts: Whether to keep the parts of the points.
        data_dir: Where the files lie.
        holdout: `validation` holds a part of the training data out and leaves the test data alone.
        max_bad_records: Clouds that cannot be read, or are not finite, skipped before it is an
            error.

    Returns:
        The splits.

    Raises:
        ValueError: One line about what is missing or wrong, and how to get it.

    Examples:
        >>> load("teapots", num_points=64)
        Traceback (most recent call last):
            ...
        ValueError: data must be shapes, modelnet40, scanobjectnn, ... or npz:PATH, got 'teapots'
    """
    check_positive("num_points", num_points)
    kind, _, argument = name.partition(":")
    bad: list[BadRecord] = []
    if kind == "shapes":
        per_family = int(argument) if argument.isdigit() else _TRAIN_PER_FAMILY
        sets = _solids(per_family, num_points, holdout)
    elif kind == "npz" or name.endswith(".npz"):
        sets = _npz(Path(argument if kind == "npz" else name).expanduser(), num_points)
    elif kind in _HELP:
        if data_dir is None or not Path(data_dir).expanduser().is_dir():
            raise ValueError(
                f"data_dir must be the folder with the files of {kind} ({_HELP[kind]}), "
                f"got {data_dir}"
            )
        read = {"modelnet40": _modelnet, "scanobjectnn": _scanobjectnn, "shapenetpart": _shapenet}
        folder = Path(data_dir).expanduser().resolve()
        sets = read[kind](folder, argument, num_points, bad)
    else:
        raise ValueError(
            f"data must be shapes, modelnet40, scanobjectnn, ... or npz:PATH, got {name!r}"
        )
    for what, wanted, key in (("normals", normals, "normals"), ("parts", parts, "part")):
        if wanted and any(key not in part for part in sets.parts.values()):
            raise ValueError(f"data must have {what} here, got {name!r} ({sets.where}) without")
    padded = any(not part["exists"].all() for part in sets.parts.values() if "exists" in part)
    keep = {
        "points",
        "label",
        *["exists"][: int(padded)],
        *["normals"][: int(normals)],
        *["part"][: int(parts)],
    }
    extra = {"part_names": sets.part_names, "part_class": sets.part_class} if parts else {}
    clean = {
        split: _normalized({k: v for k, v in arrays.items() if k in keep}, split, bad)
        for split, arrays in sets.parts.items()
    }
    if len(bad) > max_bad_records:
        shown = "; ".join(f"{record.name} ({record.reason})" for record in bad[:5])
        raise ValueError(
            f"{name} has unreadable clouds, {len(bad)} so far, where max_bad_records allows "
            f"{max_bad_records}: {shown}" + ("; ..." if len(bad) > 5 else "")
        )

    def source(arrays: dict[str, np.ndarray]) -> CloudSource:
        arrays = dict(arrays)
        points, label = arrays.pop("points"), arrays.pop("label")
        return CloudSource(points, label, sets.class_names, **arrays, **extra, bad_records=bad)

    sources = {split: source(arrays) for split, arrays in clean.items()}
    train, test, validation = (sources.get(split) for split in ("train", "test", "validation"))
    if train is None:
        raise ValueError(f"{name} ({sets.where}) has no clouds to train on")
    info = {"from": sets.where}
    if holdout == "validation":
        test = validation
    elif validation is not None:
        train = _joined(train, validation)
    if test is None:
        chosen = stratified_split(train.labels, max(1, len(train) // 5))
        train, test = train.subset(chosen[0]), train.subset(chosen[1])
        info["held out"] = f"{len(test)} clouds of train, stratified by class"
    return Splits(name, train, test, sets.class_names, info)


class _Sets(NamedTuple):
    """What was read: arrays by split."""

    parts: Mapping[str, dict[str, np.ndarray]]
    class_names: tuple[str, ...]
    where: str
    part_names: tuple[str, ...] = ()
    part_class: np.ndarray | None = None


def _normalized(
    arrays: dict[str, np.ndarray], split: str, bad: list[BadRecord]
) -> dict[str, np.ndarray]:
    """Move every cloud to its centroid and scale it to radius 1; drop those that are no numbers."""
    points = arrays["points"].astype(np.float32)
    exists = arrays.get("exists", np.ones(points.shape[:2], bool))
    points = np.where(exists[..., None], points, 0)
    fine = np.isfinite(points).all((1, 2)) & exists.any(1)
    if "normals" in arrays:
        normals = np.where(exists[..., None], arrays["normals"].astype(np.float32), 0)
        fine &= np.isfinite(normals).all((1, 2))
        length = np.linalg.norm(normals, axis=-1, keepdims=True)
        arrays = {**arrays, "normals": normals / np.where(length > 0, length, 1)}
    for index in np.flatnonzero(~fine).tolist():
        bad.append(BadRecord(f"{split}[{index}]", "not finite, or no points"))
    arrays = {key: array[fine] for key, array in {**arrays, "points": points}.items()}
    points, exists = arrays["points"], exists[fine]
    count = exists.sum(1, dtype=np.float32)[:, None, None]
    points = np.where(exists[..., None], points - points.sum(1, keepdims=True) / count, 0)
    radius = np.linalg.norm(points, axis=-1).max(1)[:, None, None]
    return {**arrays, "points": points / np.where(radius > 0, radius, 1)}


def _joined(first: CloudSource, second: CloudSource) -> CloudSource:
    every = np.arange(len(first)), np.arange(len(second))
    rows = first.gather(every[0]), second.gather(every[1])
    arrays = {key: np.concatenate([row[key] for row in rows]) for key in rows[0] if key != "index"}
    return CloudSource(
        arrays.pop("points"),
        arrays.pop("label"),
        first.class_names,
        **arrays,
        part_names=first.part_names,
        part_class=first.part_class,
        bad_records=first.bad_records,
    )


# --- solids and arrays --------------------------------------------------------------------------


def _solids(per_family: int, num_points: int, holdout: str) -> _Sets:
    draw = jax.jit(shape_dataset, static_argnums=(1, 2))
    # Of the validation data neither a solid nor a point is in the other two.
    numbers = {"train": 0, "test": 1} if holdout == "test" else {"train": 0, "validation": 2}
    share = max(1, per_family * _TEST_PER_FAMILY // _TRAIN_PER_FAMILY)
    # One size, so that it is compiled once: held-out sets are the first of each family.
    parts = {}
    for split, number in numbers.items():
        drawn = draw(jax.random.key(number), per_family, num_points)
        arrays = jax.tree.map(np.asarray, drawn)._asdict()
        kept = np.arange(len(arrays["label"])) % per_family < (
            per_family if split == "train" else share
        )
        parts[split] = {key: array[kept] for key, array in arrays.items()}
    # Parts are numbered within a family there, over all families here.
    counts = [num_parts(family) for family in FAMILIES]
    offsets = np.cumsum([0, *counts[:-1]])
    for arrays in parts.values():
        arrays["part"] = arrays["part"] + offsets[arrays["label"]][:, None]
    names = tuple(
        f"{f}/{i}" for f, count in zip(FAMILIES, counts, strict=True) for i in range(count)
    )
    part_class = np.repeat(np.arange(len(FAMILIES)), counts)
    return _Sets(parts, FAMILIES, "procedural solids", names, part_class)


def _numbered_parts(classes: Sequence[str], counts: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{c}/{i}" for c, n in zip(classes, counts, strict=True) for i in range(n))


def _npz(file: Path, num_points: int) -> _Sets:
    if not file.is_file():
        raise ValueError(f"{file} is not a file")
    try:
        with np.load(file, allow_pickle=False) as members:
            raw = {re.sub(r"\d+$", "", key.lower()): key for key in members.files}
            names = (
                *("points", "normals", "label", "labels", "category", "class_names"),
                *("category_names", "is_test", "part", "part_names", "part_class"),
                "part_category",
            )
            found = {name: members[raw[name]] for name in names if name in raw}
    except Exception as error:  # damaged and hostile archives raise errors of all kinds
        raise ValueError(f"{file} is not an .npz of clouds: {error}") from error
    if "points" not in found:
        raise ValueError(f"{file} must hold an array points, got {', '.join(sorted(raw))}")

    def first(*names: str) -> Any:
        return next((found[name] for name in names if name in found), None)

    arrays: dict[str, np.ndarray] = {"points": found["points"][:, :num_points]}
    total = len(arrays["points"])
    label = first("label", "labels", "category")
    arrays["label"] = np.full(total, -1) if label is None else label.astype(np.int64).ravel()
    for name in ("normals", "part"):
        if name in found:
            arrays[name] = found[name][:, :num_points]
    for name, array in arrays.items():
        if len(array) != total:
            raise ValueError(f"{file}: {name} must have {total} rows, got {len(array)}")
    if "part" in arrays:
        arrays["part"] = arrays["part"].astype(np.int64)
    class_names = first("class_names", "category_names")
    if class_names is None:
        class_names = np.arange(max(int(arrays["label"].max(initial=-1)) + 1, 0))
    part_names, part_class = first("part_names"), first("part_class", "part_category")
    if "part" in arrays and part_class is None:
        raise ValueError(f"{file}: part_class must say which class each part belongs to")
    if part_names is None:
        part_names = np.arange(0 if part_class is None else len(part_class))
    splits = {"train": arrays}
    if "is_test" in found:
        # -1 is for clouds of neither part, which have no label: something to pretrain on.
        test = found["is_test"].ravel() > 0
        splits = {
            name: {key: array[rows] for key, array in arrays.items()}
            for name, rows in (("train", ~test), ("test", test))
        }
    return _Sets(
        splits,
        tuple(str(name) for name in class_names.tolist()),
        file.name,
        tuple(str(name) for name in part_names.tolist()) if "part" in arrays else (),
        part_class if "part" in arrays else None,
    )


# --- files of the benchmarks --------------------------------------------------------------------


def _find(folder: Path, names: Iterable[str], pattern: str) -> Path | None:
    """Find the folder that holds files of a pattern: itself, or one of the usual name in it."""
    for candidate in (folder, *(folder / name for name in names)):
        if candidate.is_dir() and next(candidate.glob(pattern), None) is not None:
            return candidate
    return None


def _read_h5(file: Path, names: Mapping[str, str], num_points: int) -> dict[str, np.ndarray]:
    """Read arrays of an HDF5 file, of each the first points; those that it lacks are left out."""
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
                # A soft or external link could lead anywhere.
                if key not in opened or not isinstance(
                    opened.get(key, getlink=True), h5py.HardLink
                ):
                    continue
                data: Any = opened[key]
                arrays[name] = np.asarray(data[:, :num_points] if data.ndim > 1 else data[:])
    except OSError as error:
        raise ValueError(f"{file.name} is not an HDF5 file of clouds: {error}") from error
    if "points" not in arrays or "label" not in arrays:
        raise ValueError(f"{file.name} must hold data and label, got {', '.join(arrays)}")
    if arrays["points"].shape[1] < num_points:
        raise ValueError(
            f"num_points must be at most the {arrays['points'].shape[1]} of {file.name}, "
            f"got {num_points}"
        )
    arrays["label"] = arrays["label"].reshape(len(arrays["points"])).astype(np.int64)
    return arrays


def _read_all_h5(
    files: Sequence[Path], names: Mapping[str, str], num_points: int
) -> dict[str, np.ndarray]:
    pieces = [_read_h5(file, names, num_points) for file in files]
    shared = [key for key in pieces[0] if all(key in piece for piece in pieces)]
    return {key: np.concatenate([piece[key] for piece in pieces]) for key in shared}


def _modelnet(folder: Path, argument: str, num_points: int, bad: list[BadRecord]) -> _Sets:
    del argument
    found = _find(folder, (_MODELNET_H5,), "ply_data_train*.h5")
    if found is not None:
        names = {"points": "data", "label": "label", "normals": "normal"}
        parts = {
            split: _read_all_h5(sorted(found.glob(f"ply_data_{split}*.h5")), names, num_points)
            for split in ("train", "test")
        }
        classes = _lines(found / "shape_names.txt")
        return _Sets(parts, classes, found.name)
    found = _find(folder, (_MODELNET_TEXT,), "modelnet40_train.txt")
    if found is None:
        raise ValueError(_missing("modelnet40", folder))
    classes = _lines(found / "modelnet40_shape_names.txt")

    def clouds(split: str) -> Iterator[tuple[str, Path, int, Callable]]:
        for name in _lines(found / f"modelnet40_{split}.txt"):
            kind = name.rpartition("_")[0]
            label = classes.index(kind) if kind in classes else -1
            yield name, found / kind / f"{name}.txt", label, functools.partial(_columns, 6, ",")

    parts = {split: _read_texts(clouds(split), num_points, bad) for split in ("train", "test")}
    return _Sets(parts, classes, found.name)


def _scanobjectnn(folder: Path, argument: str, num_points: int, bad: list[BadRecord]) -> _Sets:
    del bad
    variant = argument or "pb_t50_rs"
    if variant not in _SCAN_FILES:
        raise ValueError(
            f"data must be scanobjectnn:VARIANT, a variant of {', '.join(_SCAN_FILES)}, "
            f"got {argument!r}"
        )
    inside, end = _SCAN_FILES[variant]
    found = _find(folder, (inside, f"h5_files/{inside}"), f"training{end}")
    if found is None:
        raise ValueError(_missing("scanobjectnn", folder))
    names = {"points": "data", "label": "label"}
    parts = {
        split: _read_h5(found / f"{file}{end}", names, num_points)
        for split, file in (("train", "training"), ("test", "test"))
    }
    return _Sets(parts, _SCAN_CLASSES, f"{found.name}, {variant}")


def _shapenet(folder: Path, argument: str, num_points: int, bad: list[BadRecord]) -> _Sets:
    del argument
    classes, counts = tuple(_SHAPENET_PARTS), list(_SHAPENET_PARTS.values())
    part_names = _numbered_parts(classes, counts)
    part_class = np.repeat(np.arange(len(counts)), counts)
    splits = {"train": "train", "validation": "val", "test": "test"}
    found = _find(folder, (_PARTS_H5, "shapenet_part_seg_hdf5_data"), "ply_data_train*.h5")
    if found is not None:
        names = {"points": "data", "label": "label", "part": "pid"}
        parts = {
            split: _read_all_h5(sorted(found.glob(f"ply_data_{file}*.h5")), names, num_points)
            for split, file in splits.items()
            if next(found.glob(f"ply_data_{file}*.h5"), None) is not None
        }
        return _Sets(parts, classes, found.name, part_names, part_class)
    found = _find(folder, (_PARTS_TEXT,), "synsetoffset2category.txt")
    if found is None:
        raise ValueError(_missing("shapenetpart", folder))
    pairs = (line.split() for line in _lines(found / "synsetoffset2category.txt"))
    categories = {pair[1]: pair[0] for pair in pairs if len(pair) == 2}

    def clouds(file: str) -> Iterator[tuple[str, Path, int, Callable]]:
        listing = found / "train_test_split" / f"shuffled_{file}_file_list.json"
        for name in json.loads(listing.read_text()):
            _, synset, identity = [*str(name).split("/"), "", "", ""][:3]
            kind = categories.get(synset, "")
            label = classes.index(kind) if kind in classes else -1
            path = found / synset / f"{identity}.txt"
            yield f"{synset}/{identity}", path, label, functools.partial(_columns, 7, None)

    parts = {split: _read_texts(clouds(file), num_points, bad) for split, file in splits.items()}
    return _Sets(parts, classes, found.name, part_names, part_class)


def _missing(kind: str, folder: Path) -> str:
    return f"data_dir must hold the files of {kind} ({_HELP[kind]}), got {folder} without them"


def _lines(file: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.name} cannot be read: {error}") from error


def _columns(num: int, delimiter: str | None, file: Path, num_points: int) -> np.ndarray:
    """Read rows of numbers. Seven columns: all rows, evenly thinned out, since they are ordered."""
    rows = None if num == 7 else num_points
    table = np.loadtxt(file, np.float32, delimiter=delimiter, ndmin=2, max_rows=rows)
    if table.shape[1] != num or not len(table):
        raise ValueError(f"wanted rows of {num} numbers, got {table.shape}")
    if len(table) > num_points:
        table = table[np.arange(num_points) * len(table) // num_points]
    return table


def _read_texts(
    clouds: Iterator[tuple[str, Path, int, Callable]], num_points: int, bad: list[BadRecord]
) -> dict[str, np.ndarray]:
    """Read one file a cloud; where it holds fewer points, the rest is marked as absent."""
    tables, labels = [], []
    for name, file, label, read in clouds:
        try:
            # Names come from a file: they must not lead out of the folder.
            if label < 0 or not re.fullmatch(r"[\w\-./]+", name) or ".." in name:
                raise ValueError("it belongs to no class, or is no name of a file")
            tables.append(read(file, num_points))
            labels.append(label)
        except (OSError, ValueError) as error:
            bad.append(BadRecord(name, " ".join(str(error).split())[:200]))
    if not tables:
        shown = f": {bad[0].name} ({bad[0].reason})" if bad else ""
        raise ValueError(f"no cloud could be read{shown}")
    exists = np.arange(num_points)[None] < np.array([[len(table)] for table in tables])
    width = tables[0].shape[1]
    padded = np.zeros((len(tables), num_points, width), np.float32)
    for row, table in zip(padded, tables, strict=True):
        row[: len(table)] = table
    arrays = {
        "points": padded[..., :3],
        "normals": padded[..., 3:6],
        "label": np.array(labels),
    }
    if width == 7:
        arrays["part"] = np.where(exists, padded[..., 6].astype(np.int64), -1)
    return {**arrays, "exists": exists}
