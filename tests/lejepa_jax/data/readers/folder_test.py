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


def bytes_name(root, name: bytes):
    """A path whose last part is no UTF-8, as the system hands it out; skips where it cannot be."""
    path = root / os.fsdecode(name)
    try:
        path.mkdir(parents=True)
    except OSError:
        pytest.skip("the file system wants UTF-8")
    path.rmdir()
    return path


def test_classes_whose_names_are_not_utf8_are_refused_in_a_line_that_can_be_printed(tmp_path):
    folder(tmp_path, 2)
    folder(bytes_name(tmp_path, b"caf\xe9").parent, 2, classes=(os.fsdecode(b"caf\xe9"),))
    with pytest.raises(ValueError, match=r"names of classes that are not UTF-8: 'caf\\udce9'") as e:
        data.load(f"folder:{tmp_path}", image_size=4)
    str(e.value).encode()


def test_files_whose_names_are_not_utf8_are_read_and_named(tmp_path):
    root = bytes_name(tmp_path, b"shelf\xff")
    folder(root, 2)
    save(root / "cat" / os.fsdecode(b"\xe9.png"), noise())
    splits = data.load(f"folder:{root}", image_size=4)
    assert len(splits.train) + len(splits.test) == 5
    data.fingerprint(splits)
    (root / "cat" / os.fsdecode(b"\xfe.png")).write_bytes(b"")
    with pytest.raises(ValueError, match=r"shelf\\udcff has unread.*'cat/\\udcfe.png'") as e:
        data.load(f"folder:{root}", image_size=4)
    str(e.value).encode()


def test_names_from_outside_stay_as_they_are_and_messages_stay_on_one_line(tmp_path):
    strange = "a[bold]b<td>\n\x1b[31m"
    folder(tmp_path, 2, classes=(strange, "dog"))
    splits = data.load(f"folder:{tmp_path}", image_size=4)
    assert strange in splits.class_names
    assert data.printable(strange) == r"a[bold]b<td>\n\x1b[31m"
    (tmp_path / strange / "bad.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\[bold\]b<td>\\n") as e:
        data.load(f"folder:{tmp_path}", image_size=4)
    assert str(e.value).isprintable()


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_gray_images_stay_gray(tmp_path, splits, memory_limit):
    for part in ("train", "test") if splits else ("",):
        for i in range(3):
            save(tmp_path / part / f"{i}.png", noise()[..., 0])
        save(tmp_path / part / "a.png", np.dstack([noise()[..., 0]] * 2))
        Image.fromarray(noise()[..., 0]).save(tmp_path / part / "p.gif")
    options = data.DataOptions(memory_limit=memory_limit)
    loaded = data.load(f"folder:{tmp_path}", image_size=4, options=options)
    assert loaded.train.channels == loaded.test.channels == 1
    assert loaded.train[0]["image"].shape == (4, 4, 1)
    one_color = tmp_path / ("test" if splits else "") / "z.png"
    save(one_color, noise())
    loaded = data.load(f"folder:{tmp_path}", image_size=4, options=options)
    assert loaded.train.channels == loaded.test.channels == 3
    wanted = data.DataOptions(memory_limit=memory_limit, channels=1)
    loaded = data.load(f"folder:{tmp_path}", image_size=4, options=wanted)
    assert loaded.train.channels == 1


def labeled(root, text, encoding="utf-8"):
    for i in range(5):
        save(root / "deep" / f"{i}.png", noise()[..., :1].repeat(3, -1))
    (root / "labels.csv").write_text(text, encoding=encoding)
    return root


def test_a_table_names_the_classes(tmp_path):
    table = "file,weight,label\ndeep/0.png,3,10\ndeep/1.png,3,9\ndeep/2.png,,10\ndeep/3.png,1,\n"
    labeled(tmp_path / "a", "\ufeff" + table)
    splits = data.load(f"folder:{tmp_path / 'a'}", image_size=4)
    assert splits.class_names == ("9", "10")
    labels = sorted([*splits.train.labels.tolist(), *splits.test.labels.tolist()])
    assert labels == [-1, -1, 0, 1, 1]
    assert splits.info["classes"].endswith("without a class")


def test_one_table_may_serve_all_splits(tmp_path):
    for part in ("train", "test"):
        for i in range(2):
            save(tmp_path / part / f"{i}.png", noise())
    rows = ["train/0.png,wolf", "train/1.png,dog", "test/0.png,dog", "test/1.png,wolf"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))
    splits = data.load(f"folder:{tmp_path}", image_size=4)
    assert splits.class_names == ("dog", "wolf")
    assert splits.train.labels.tolist() == [1, 0]
    assert splits.test.labels.tolist() == [0, 1]
    (tmp_path / "test" / "labels.csv").write_text("file,label\n0.png,cow\n")
    with pytest.raises(ValueError, match="has classes unknown to train: 'cow'"):
        data.load(f"folder:{tmp_path}", image_size=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\n", "must have the columns file and label, got 'name', 'label'"),
        ("", "must have the columns file and label, got none"),
        ("file,label\ndeep/9.png,a\n", "line 2: no file 'deep/9.png'"),
        ("file,label\n../x.png,a\n", "line 2: file must be a path below the table"),
        ("file,label\n/etc/x.png,a\n", "line 2: file must be a path below the table"),
        ("file,label\ndeep/0.png,a\ndeep/0.png,b\n", "line 3: 'deep/0.png' has two labels"),
        ('file,label\n"deep/0.png,a\n', "is not a table in UTF-8"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, text, message):
    labeled(tmp_path, text)
    with pytest.raises(ValueError, match=message) as error:
        data.load(f"folder:{tmp_path}", image_size=4)
    assert "\n" not in str(error.value)


def test_tables_that_are_no_text_or_no_file_are_refused(tmp_path):
    labeled(tmp_path / "a", "file,label\ndeep/0.png,caf\xe9\n", "latin-1")
    with pytest.raises(ValueError, match="is not a table in UTF-8"):
        data.load(f"folder:{tmp_path / 'a'}", image_size=4)
    labeled(tmp_path / "b", "")
    (tmp_path / "b" / "labels.csv").unlink()
    (tmp_path / "b" / "labels.csv").symlink_to(tmp_path / "a" / "labels.csv")
    with pytest.raises(ValueError, match=r"labels.csv' must be a file"):
        data.load(f"folder:{tmp_path / 'b'}", image_size=4)
