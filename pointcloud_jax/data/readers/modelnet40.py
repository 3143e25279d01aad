"""ModelNet40, as HDF5 files of 2,048 points or as text files with normals."""

from collections.abc import Iterator

from pointcloud_jax.data.formats.hdf5 import read_hdf5
from pointcloud_jax.data.readers.benchmark_files import (
    TextCloud,
    benchmark_folder,
    find_folder,
    missing_files,
    read_first_rows,
    read_lines,
    read_text_clouds,
)
from pointcloud_jax.data.reading import CloudRequest, CloudSets, refuse_argument

_HDF5, _TEXT = "modelnet40_ply_hdf5_2048", "modelnet40_normal_resampled"
_SOURCE = f"{_HDF5}.zip or {_TEXT}.zip of shapenet.cs.stanford.edu/media"


def read_modelnet40(request: CloudRequest) -> CloudSets:
    """Read ``modelnet40`` in `data_dir`.

    Args:
        request: What was asked for.

    Returns:
        Points and normals.

    Raises:
        ValueError: If the files are not there or cannot be read.
    """
    refuse_argument(request)
    folder = benchmark_folder(request, _SOURCE)
    found = find_folder(folder, (_HDF5,), "ply_data_train*.h5")
    if found is not None:
        names = {"points": "data", "label": "label", "normals": "normal"}
        splits = {
            split: read_hdf5(
                sorted(found.glob(f"ply_data_{split}*.h5")),
                names,
                request.num_points,
                request.budget,
            )
            for split in ("train", "test")
            if next(found.glob(f"ply_data_{split}*.h5"), None) is not None
        }
        return CloudSets(splits, read_lines(found / "shape_names.txt"), found.name)
    found = find_folder(folder, (_TEXT,), "modelnet40_train.txt")
    if found is None:
        raise missing_files(request, _SOURCE, folder)
    classes = read_lines(found / "modelnet40_shape_names.txt")

    def clouds(split: str) -> Iterator[TextCloud]:
        for name in read_lines(found / f"modelnet40_{split}.txt"):
            kind = name.rpartition("_")[0]
            label = classes.index(kind) if kind in classes else -1
            yield TextCloud(name, found / kind / f"{name}.txt", label, read_first_rows(6, ","))

    splits = {split: read_text_clouds(clouds(split), request) for split in ("train", "test")}
    return CloudSets(splits, classes, found.name)
