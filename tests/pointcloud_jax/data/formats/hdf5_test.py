"""HDF5 files that lead elsewhere, or claim more than there is memory for."""

import numpy as np
import pytest

from pointcloud_jax.data import loading

h5py = pytest.importorskip("h5py")


@pytest.fixture
def folder(tmp_path):
    """Two files of a benchmark, as they should be."""
    for split in ("train", "test"):
        with h5py.File(tmp_path / f"ply_data_{split}0.h5", "w") as opened:
            opened["data"] = np.random.default_rng(0).normal(size=(4, 8, 3)).astype("f4")
            opened["label"] = np.uint8([0, 1, 1, 0])
    (tmp_path / "shape_names.txt").write_text("airplane\nbathtub\n")
    return tmp_path


def load(folder, **options):
    return loading.load("modelnet40", num_points=5, data_dir=str(folder), **options)


def replace(folder, write):
    with h5py.File(folder / "ply_data_train0.h5", "a") as opened:
        del opened["data"]
        write(opened)


def test_raw_data_in_another_file_is_not_read(folder):
    load(folder)
    secret = folder / "secret"
    secret.write_bytes(bytes(range(96)) * 4)
    replace(
        folder,
        lambda opened: opened.create_dataset(
            "data", (4, 8, 3), "f4", external=[(str(secret), 0, 384)]
        ),
    )
    with pytest.raises(ValueError, match=r"ply_data_train0\.h5: data is stored in another file"):
        load(folder)


def test_a_virtual_data_set_is_not_read(folder):
    layout = h5py.VirtualLayout((4, 8, 3), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "ply_data_test0.h5"), "data", (4, 8, 3))
    replace(folder, lambda opened: opened.create_virtual_dataset("data", layout))
    with pytest.raises(ValueError, match=r"ply_data_train0\.h5: data is stored in another file"):
        load(folder)


def test_more_than_the_memory_limit_is_refused_before_it_is_read(folder):
    """A billion clouds of a fill value are a file of two kilobytes."""
    replace(folder, lambda opened: opened.create_dataset("data", (10**9, 8, 3), "f4", chunks=True))
    assert (folder / "ply_data_train0.h5").stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"memory_limit=2147483648 is less than data .* needs"):
        load(folder)


def test_the_limit_counts_what_is_kept(folder):
    load(folder, memory_limit=10_000)
    with pytest.raises(ValueError, match="memory_limit=700 is less than"):
        load(folder, memory_limit=700)


def test_what_is_no_array_of_numbers_is_refused(folder):
    replace(folder, lambda opened: opened.create_group("data"))
    with pytest.raises(ValueError, match="data must be an array of numbers"):
        load(folder)
