"""ShapeNetPart, as HDF5 files of 2,048 points or as text files with normals."""

import json
from collections.abc import Iterator

import numpy as np

from pointcloud_jax.data.formats.hdf5 import read_hdf5
from pointcloud_jax.data.readers.benchmark_files import (
    TextCloud,
    benchmark_folder,
    find_folder,
    missing_files,
    read_lines,
    read_spaced_rows,
    read_text_clouds,
)
from pointcloud_jax.data.reading import CloudRequest, CloudSets, refuse_argument

_HDF5 = ("hdf5_data", "shapenet_part_seg_hdf5_data")
_TEXT = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
_SOURCE = f"shapenet_part_seg_hdf5_data.zip or {_TEXT}.zip of shapenet.cs.stanford.edu/media"
# Categories and how many of the 50 parts each has, in the order of the labels.
_PARTS = {
    **{"Airplane": 4, "Bag": 2, "Cap": 2, "Car": 4, "Chair": 4, "Earphone": 3, "Guitar": 3},
    **{"Knife": 2, "Lamp": 4, "Laptop": 2, "Motorbike": 6, "Mug": 2, "Pistol": 3, "Rocket": 3},
    **{"Skateboard": 3, "Table": 3},
}


def read_shapenetpart(request: CloudRequest) -> CloudSets:
    """Read ``shapenetpart`` in `data_dir`.

    Args:
        request: What was asked for.

    Returns:
        Points, parts, and of text files normals.

    Raises:
        ValueError: If the files are not there or cannot be read.
    """
    refuse_argument(request)
    folder = benchmark_folder(request, _SOURCE)
    classes, counts = tuple(_PARTS), list(_PARTS.values())
    part_names = tuple(f"{c}/{i}" for c, n in _PARTS.items() for i in range(n))
    part_class = np.repeat(np.arange(len(counts)), counts)
    found = find_folder(folder, _HDF5, "ply_data_train*.h5")
    files = {"train": "train", "validation": "val", "test": "test"}
    if found is not None:
        names = {"points": "data", "label": "label", "part": "pid"}
        splits = {
            split: read_hdf5(
                sorted(found.glob(f"ply_data_{file}*.h5")),
                names,
                request.num_points,
                request.budget,
            )
            for split, file in files.items()
            if next(found.glob(f"ply_data_{file}*.h5"), None) is not None
        }
        return CloudSets(splits, classes, found.name, part_names, part_class)
    found = find_folder(folder, (_TEXT,), "synsetoffset2category.txt")
    if found is None:
        raise missing_files(request, _SOURCE, folder)
    pairs = (line.split() for line in read_lines(found / "synsetoffset2category.txt"))
    categories = {pair[1]: pair[0] for pair in pairs if len(pair) == 2}

    def clouds(file: str) -> Iterator[TextCloud]:
        listing = found / "train_test_split" / f"shuffled_{file}_file_list.json"
        for name in json.loads("\n".join(read_lines(listing))):
            _, synset, identity = [*str(name).split("/"), "", "", ""][:3]
            kind = categories.get(synset, "")
            label = classes.index(kind) if kind in classes else -1
            path = found / synset / f"{identity}.txt"
            yield TextCloud(f"{synset}/{identity}", path, label, read_spaced_rows(7, None))

    splits = {split: read_text_clouds(clouds(file), request) for split, file in files.items()}
    return CloudSets(splits, classes, found.name, part_names, part_class)
