import io
import zipfile

import numpy as np
import pytest

from lejepa_jax import data
from tests.lejepa_jax.data.pictures import RNG


def test_an_npz_of_images_is_split(tmp_path):
    images = RNG.integers(0, 256, (10, 6, 6)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(10) % 2, class_names=["x", "y"])
    splits = data.load(str(tmp_path / "a.npz"), image_size=6)
    assert splits.class_names == ("x", "y")
    assert (len(splits.train), len(splits.test), splits.train.channels) == (8, 2, 1)


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X_train", "y_train", "X_val", "y_val"),
    ],
)
def test_the_usual_names_of_arrays_are_known(tmp_path, keys):
    images = RNG.integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    labels = np.array([[0], [1], [2], [0], [1]], np.uint8)
    arrays = dict(zip(keys, (images, labels, images[:2], labels[:2]), strict=True))
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    splits = data.load(f"npz:{tmp_path / 'a.npz'}", image_size=4)
    assert splits.test.labels.tolist() == [0, 1]
    assert splits.test.num_classes == 3
    np.testing.assert_array_equal(splits.train.gather(np.arange(5))["image"], images)


def test_archives_that_cannot_be_used_are_refused(tmp_path):
    file = tmp_path / "a.npz"

    def refused(message, **arrays):
        if arrays:
            np.savez(file, **arrays)
        with pytest.raises(ValueError, match=message) as error:
            data.load(f"npz:{file}", image_size=4, options=data.DataOptions(memory_limit=10**6))
        assert "\n" not in str(error.value)

    images = np.zeros((3, 4, 4), np.uint8)
    refused("is not a file")
    refused("got points, weights", points=images, weights=images)
    refused("images must be uint8.*got float32", images=np.zeros((3, 4, 4), np.float32))
    refused(r"of shape \(n, h, w\)", images=images[0])
    refused("labels must be integers, got float64", images=images, labels=np.zeros(3))
    refused("one entry an image", images=images, labels=np.zeros(2, int))
    refused("1 or 3 channels", images=np.zeros((3, 3, 4, 4), np.uint8))
    refused("more than memory_limit", images=np.zeros((400, 50, 50, 3), np.uint8))
    refused("allow_pickle=False", images=np.array([{"a": 1}], dtype=object))
    file.write_bytes(b"PK not a zip")
    refused("is not an .npz of images")
    # A header that promises more than any machine has.
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (2**50, 4, 4)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    refused("is not an .npz of images")
