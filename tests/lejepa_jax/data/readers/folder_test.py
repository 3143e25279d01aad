import io
import os

import numpy as np
import pytest
from PIL import Image

from lejepa_jax import data
from tests.lejepa_jax.data.pictures import folder, noise, save


def test_a_folder_without_splits_is_split_by_class(tmp_path):
    folder(tmp_path, 10)
    save(tmp_path / "dog" / "deep" / "er" / "X.JPEG", noise())
    (tmp_path / "dog" / "notes.txt").write_text("ignored")
    (tmp_path / ".cache").mkdir()
    splits = data.load(f"folder:{tmp_path}", image_size=4)
    assert splits.class_names == ("cat", "dog")
    assert np.bincount(splits.train.labels).tolist() == [8, 9]
    assert np.bincount(splits.test.labels).tolist() == [2, 2]
    assert "stratified by class" in splits.info["test"]


def test_a_folder_without_classes_has_no_labels(tmp_path):
    for i in range(5):
        save(tmp_path / f"{i}.png", noise())
    splits = data.load(f"folder:{tmp_path}", image_size=4)
    assert splits.train.num_classes == 0
    assert splits.train.labels.tolist() == [-1] * 4
    assert len(splits.test) == 1


@pytest.mark.parametrize("name", ["test", "Validation", "val"])
def test_folders_of_splits_are_used(tmp_path, name):
    folder(tmp_path / "train", 3)
    folder(tmp_path / name, 2, classes=("dog",))
    folder(tmp_path / "extra", 1)
    splits = data.load(f"folder:{tmp_path}", image_size=4)
    assert (len(splits.train), len(splits.test)) == (6, 2)
    assert splits.test.labels.tolist() == [1, 1]
    assert splits.info["ignored"] == "extra"


def test_the_test_folder_is_left_alone_when_validating(tmp_path):
    folder(tmp_path / "train", 5)
    folder(tmp_path / "test", 3)
    splits = data.load(f"folder:{tmp_path}", image_size=4, holdout="validation")
    assert (len(splits.train), len(splits.test)) == (8, 2)
    folder(tmp_path / "val", 4)
    splits = data.load(f"folder:{tmp_path}", image_size=4, holdout="validation")
    assert (len(splits.train), len(splits.test)) == (10, 8)


def test_trains_are_a_class_of_things_too(tmp_path):
    folder(tmp_path, 3, classes=("car", "train"))
    assert data.load(f"folder:{tmp_path}", image_size=4).class_names == ("car", "train")


def hostile(root, kind):
    folder(root, 2)
    if kind == "link":
        secret = root.parent / "secret.png"
        save(secret, noise())
        (root / "cat" / "a.png").symlink_to(secret)
        return "'cat/a.png'.*a link out of the folder"
    if kind == "linked folder":
        folder(root.parent / "other", 1)
        (root / "cat" / "more").symlink_to(root.parent / "other" / "cat")
        return "'cat/more'.*a link to a folder"
    if kind == "broken link":
        (root / "cat" / "a.png").symlink_to(root / "nowhere.png")
        return "'cat/a.png'.*a broken link"
    if kind == "pipe":
        os.mkfifo(root / "cat" / "a.png")
        return "'cat/a.png'.*not a file"
    if kind == "bomb":
        chunk = io.BytesIO()
        Image.new("1", (9000, 9000)).save(chunk, "PNG")
        (root / "cat" / "a.png").write_bytes(chunk.getvalue())
        return "'cat/a.png'.*9000 x 9000 pixels.*decompression bomb"
    if kind == "larger bomb":
        header = io.BytesIO()
        Image.new("1", (8, 8)).save(header, "BMP")
        huge = bytearray(header.getvalue())
        huge[18:26] = (60000).to_bytes(4, "little") * 2
        (root / "cat" / "a.bmp").write_bytes(bytes(huge))
        return "'cat/a.bmp'.*decompression bomb"
    # PostScript is a program; Pillow would hand it to an interpreter.
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n"
    (root / "cat" / "a.png").write_bytes(program)
    return "'cat/a.png'.*not an image"


@pytest.mark.parametrize(
    "kind", ["link", "linked folder", "broken link", "pipe", "bomb", "larger bomb", "program"]
)
def test_hostile_files_are_refused_by_name(tmp_path, kind):
    message = hostile(tmp_path / "images", kind)
    with pytest.raises(ValueError, match=message):
        data.load(f"folder:{tmp_path / 'images'}", image_size=4)
    splits = data.load(f"folder:{tmp_path / 'images'}", image_size=4, max_bad_records=1)
    assert len(splits.train) + len(splits.test) == 4


def test_links_inside_the_folder_are_read(tmp_path):
    folder(tmp_path, 3)
    (tmp_path / "cat" / "a.png").symlink_to(tmp_path / "dog" / "0.png")
    splits = data.load(f"folder:{tmp_path}", image_size=4)
    assert len(splits.train) + len(splits.test) == 7


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    def refused(message):
        return pytest.raises(ValueError, match=message)

    with refused("is not a folder"):
        data.load(f"folder:{tmp_path / 'missing'}", image_size=4)
    with refused("is not a folder"):
        data.load("folder:", image_size=4)
    with refused("has no images"):
        data.load(f"folder:{tmp_path}", image_size=4)
    folder(tmp_path / "a", 2)
    (tmp_path / "a" / "bird").mkdir()
    with refused("has classes without images: 'bird'"):
        data.load(f"folder:{tmp_path / 'a'}", image_size=4)
    folder(tmp_path / "b", 2)
    save(tmp_path / "b" / "loose.png", noise())
    with refused("1 images beside class folders .* 'loose.png'"):
        data.load(f"folder:{tmp_path / 'b'}", image_size=4)
    folder(tmp_path / "c" / "train", 2)
    folder(tmp_path / "c" / "test", 2, classes=("cow",))
    with refused("has classes unknown to train: 'cow'"):
        data.load(f"folder:{tmp_path / 'c'}", image_size=4)
    save(tmp_path / "d" / "one.png", noise())
    with refused("1 images, too few"):
        data.load(f"folder:{tmp_path / 'd'}", image_size=4)
