"""Clouds by name: procedural solids, your own files, and those of the usual benchmarks.

`load` turns a name into two `CloudSource`, one to train on and one held out, which `batches` and
`eval_batches` of `lejepa_jax.data.batching` give out in batches. All clouds of a set hold the same
number of points; where fewer are known, `exists` says which. Nothing read here is executed: no
pickles, no links out of a folder or an HDF5 file.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.data.records import Ledger
from lejepa_jax.data.splits import Parts, Splits, hold_out
from pointcloud_jax.data.points import to_unit_radius
from pointcloud_jax.data.readers.folder import read_folder
from pointcloud_jax.data.readers.modelnet40 import read_modelnet40
from pointcloud_jax.data.readers.npz import read_npz
from pointcloud_jax.data.readers.scanobjectnn import read_scanobjectnn
from pointcloud_jax.data.readers.shapenetpart import read_shapenetpart
from pointcloud_jax.data.readers.solids import read_solids
from pointcloud_jax.data.reading import CloudReader, CloudRequest, CloudSets, MemoryBudget
from pointcloud_jax.data.source import CloudSource, join

#: Readers by what the name of a data set says before its colon.
READERS: Mapping[str, CloudReader] = MappingProxyType(
    {
        "shapes": read_solids,
        "modelnet40": read_modelnet40,
        "scanobjectnn": read_scanobjectnn,
        "shapenetpart": read_shapenetpart,
        "npz": read_npz,
        "folder": read_folder,
    }
)
# Bytes of a point: coordinates and normals, its part, and whether it exists.
_POINT_BYTES = {"points": 12, "normals": 12, "part": 4, "exists": 1}


def load(
    name: str,
    *,
    num_points: int,
    normals: bool = False,
    parts: bool = False,
    data_dir: str | None = None,
    holdout: Literal["test", "validation"] = "test",
    max_bad_records: int = 0,
    memory_limit: int = 2**31,
    reader: CloudReader | None = None,
) -> Splits:
    """Load clouds by name, each moved to its centroid and scaled to radius 1.

    ====================  ========================================================================
    ``shapes``            Procedural solids (`pointcloud_jax.data.shapes`), 60 of each of 18
                          families to train on and 30 held out, always the same; ``shapes:N`` for N
                          and N/2.
    ``folder:PATH``       One file a cloud (.ply, .obj, .xyz, .txt, .csv, .npy, .las, .laz) below
                          PATH; with the name ``folder`` alone, below `data_dir`. Sub-folders are
                          classes, and ``train`` and ``test`` splits, as for images. Vertices of
                          meshes are points; surfaces are not sampled.
    ``npz:PATH``          Arrays ``points`` (n p 3) and, each optional, ``normals``, ``exists`` (n
                          p), ``label`` (-1 where unknown), ``class_names``, ``is_test`` (positive
                          where held out), ``part`` (n p), ``part_names`` and ``part_class``. Digits
                          at the end of a name do not count; ``category`` may stand for label and
                          class.
    ``modelnet40``        `data_dir` holds modelnet40_ply_hdf5_2048 or modelnet40_normal_resampled.
    ``scanobjectnn``      `data_dir` holds main_split and main_split_nobg. The variant PB_T50_RS;
                          others are ``scanobjectnn:obj_bg`` and ``scanobjectnn:obj_only``.
    ``shapenetpart``      `data_dir` holds the HDF5 files (without normals) or the text files (with
                          them). Labels are the categories. Trained on train and val together.
    ====================  ========================================================================

    `data_dir` may be the folder itself or the one above it. A part of the training data that stands
    in for missing test data is stratified by class and depends on the data alone.

    Args:
        name: See the table.
        num_points: Points kept of each cloud: of benchmarks the first, as is usual (of the text
            files of ShapeNetPart, whose points are ordered, every so many-th), of your own clouds
            random ones that depend on the cloud's index or file name alone.
        normals: Whether to keep normals.
        parts: Whether to keep the parts of the points.
        data_dir: Where the files are.
        holdout: `validation` holds a part of the training data out and leaves the test data alone.
        max_bad_records: Clouds that cannot be read, or are not finite, skipped before it is an
            error.
        memory_limit: Bytes that the data may take, unpacked and as it is kept; more is refused
            before it is read.
        reader: A function of your own that reads the data set, whatever its name.

    Returns:
        The splits. Their `info` says which features and arrays were found and are not used.

    Raises:
        ValueError: One line about what is missing or wrong, and how to get it.

    Examples:
        >>> load("teapots", num_points=64)
        Traceback (most recent call last):
            ...
        ValueError: data must be one of shapes, modelnet40, ... or folder:PATH, got 'teapots'
    """
    check_positive("num_points", num_points)
    check_choice("holdout", holdout, ("test", "validation"))
    kind, _, argument = name.partition(":")
    if reader is None and kind not in READERS and name.lower().endswith(".npz"):
        kind, argument = "npz", name
    if reader is None and kind not in READERS:
        names = ", ".join(k for k in READERS if k not in ("npz", "folder"))
        raise ValueError(f"data must be one of {names}, npz:PATH or folder:PATH, got {name!r}")
    ledger = Ledger(name, max_bad_records, "clouds")
    request = CloudRequest(
        name=name,
        argument=argument,
        num_points=num_points,
        data_dir=data_dir,
        holdout=holdout,
        ledger=ledger,
        budget=MemoryBudget(memory_limit),
    )
    sets = (READERS[kind] if reader is None else reader)(request)
    keep = _features(sets, name, normals=normals, parts=parts)
    # Everything is in memory once more, as it will be kept.
    request.budget.take(
        sum(
            arrays["points"].shape[0] * arrays["points"].shape[1] * _POINT_BYTES.get(key, 0)
            for arrays in sets.splits.values()
            for key in keep
        ),
        f"{name} as float32",
    )
    arrays = {
        split: to_unit_radius({k: v for k, v in found.items() if k in keep}, split, ledger)
        for split, found in sets.splits.items()
    }
    sources = {
        split: _source(found, sets, parts=parts, ledger=ledger) for split, found in arrays.items()
    }
    return _split(name, sets, sources, holdout)


def _features(sets: CloudSets, name: str, *, normals: bool, parts: bool) -> set[str]:
    """Names of the arrays to keep."""
    for what, wanted, key in (("normals", normals, "normals"), ("parts", parts, "part")):
        if wanted and any(key not in found for found in sets.splits.values()):
            raise ValueError(f"data must have {what} here, got {name!r} ({sets.where}) without")
    padded = any(not found["exists"].all() for found in sets.splits.values() if "exists" in found)
    optional = {"normals": normals, "part": parts, "exists": padded}
    return {"points", "label", *(key for key, wanted in optional.items() if wanted)}


def _source(
    arrays: dict[str, np.ndarray], sets: CloudSets, *, parts: bool, ledger: Ledger
) -> CloudSource:
    arrays = dict(arrays)
    points, label = arrays.pop("points"), arrays.pop("label")
    return CloudSource(
        points,
        label,
        sets.class_names,
        **arrays,
        part_names=sets.part_names if parts else (),
        part_class=sets.part_class if parts else None,
        bad_records=ledger.records(),
        version=sets.version,
    )


def _split(
    name: str,
    sets: CloudSets,
    sources: Mapping[str, CloudSource],
    holdout: Literal["test", "validation"],
) -> Splits:
    """Hold clouds out; validation clouds that are not asked for are trained on."""
    train, test, validation = (sources.get(split) for split in ("train", "test", "validation"))
    if train is None:
        raise ValueError(f"{name} ({sets.where}) has no clouds to train on")
    held = test if holdout == "test" else validation
    if holdout == "test" and validation is not None:
        if held is None:
            held = validation
        else:
            train = join(train, validation)
    info = {"from": sets.where}
    if sets.ignored:
        info["ignored"] = ", ".join(sets.ignored)
    if held is not None:
        return hold_out(name, Parts(train, held, info=info), noun="clouds")
    return hold_out(name, Parts(train, test, info=info), holdout=holdout, noun="clouds")
