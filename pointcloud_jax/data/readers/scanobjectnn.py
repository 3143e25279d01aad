"""ScanObjectNN, as HDF5 files of 2,048 points."""

from pointcloud_jax.data.formats.hdf5 import read_hdf5
from pointcloud_jax.data.readers.benchmark_files import (
    benchmark_folder,
    find_folder,
    missing_files,
)
from pointcloud_jax.data.reading import CloudRequest, CloudSets

_SOURCE = "h5_files.zip, which hkust-vgd.github.io/scanobjectnn sends on request"
_FILES = {  # folder and end of the file names of each variant
    "pb_t50_rs": ("main_split", "_objectdataset_augmentedrot_scale75.h5"),
    "obj_bg": ("main_split", "_objectdataset.h5"),
    "obj_only": ("main_split_nobg", "_objectdataset.h5"),
}
_CLASSES = (
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door"),
    *("shelf", "table", "bed", "pillow", "sink", "sofa", "toilet"),
)


def read_scanobjectnn(request: CloudRequest) -> CloudSets:
    """Read ``scanobjectnn`` or ``scanobjectnn:VARIANT`` in `data_dir`.

    Args:
        request: What was asked for.

    Returns:
        Points.

    Raises:
        ValueError: If the files are not there or cannot be read, or the variant is unknown.
    """
    folder = benchmark_folder(request, _SOURCE)
    variant = request.argument if ":" in request.name else "pb_t50_rs"
    if variant not in _FILES:
        raise ValueError(
            f"data must be scanobjectnn:VARIANT, a variant of {', '.join(_FILES)}, "
            f"got {request.argument!r}"
        )
    inside, end = _FILES[variant]
    found = find_folder(folder, (inside, f"h5_files/{inside}"), f"training{end}")
    if found is None:
        raise missing_files(request, _SOURCE, folder)
    names = {"points": "data", "label": "label"}
    splits = {
        split: read_hdf5([found / f"{file}{end}"], names, request.num_points, request.budget)
        for split, file in (("train", "training"), ("test", "test"))
    }
    return CloudSets(splits, _CLASSES, f"{found.name}, {variant}")
