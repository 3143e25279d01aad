import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import grain
import hypothesis
import hypothesis.strategies as st
import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image

from lejepa_jax.data import loading as data

RNG = np.random.default_rng(0)


def numbered(n: int, size: int = 2) -> data.ImageSource:
    """A source whose every pixel is the number of its image."""
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, size, size, 1))
    return data.from_arrays(np.ascontiguousarray(images), np.arange(n) % 3)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


def noise(height: int = 4, width: int = 4) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)


def folder(root, per_class: int = 5, classes=("cat", "dog")):
    for name in classes:
        for i in range(per_class):
            save(root / name / f"{i}.png", noise())
    return root


def indices(iterator, steps: int) -> np.ndarray:
    return np.concatenate([next(iterator)["index"] for _ in range(steps)])


# --- the handwritten digits ---


def test_five_hundred_digits_are_held_out_by_class_and_never_other_ones():
    splits = data.load("digits", image_size=8)
    assert (len(splits.train), len(splits.test)) == (1297, 500)
    assert splits.class_names == tuple("0123456789")
    assert set(np.bincount(splits.test.labels)) <= {48, 49, 50, 51}
    # The scans of the held-out part, summed up: a change of the split is a change of every result.
    ink = splits.test.gather(np.arange(500))["image"].astype(np.int64)
    weights = np.arange(1, 501)[:, None, None, None]
    assert (int(ink.sum()), int((ink * weights).sum())) == (2489047, 622807122)


def test_digits_to_choose_hyper_parameters_on_are_training_digits():
    splits = data.load("digits", image_size=8)
    tuned = data.load("digits", image_size=8, holdout="validation")

    def scans(source):
        images = source.gather(np.arange(len(source)))["image"]
        return sorted(image.tobytes() for image in images)

    assert sorted(scans(tuned.train) + scans(tuned.test)) == scans(splits.train)
    assert set(np.bincount(tuned.test.labels)) <= set(range(24, 29))
    assert "validation" in tuned.info


def test_digits_can_be_asked_for_in_another_size():
    splits = data.load("digits", image_size=12)
    assert splits.train[3]["image"].shape == (12, 12, 1)


@hypothesis.given(
    st.lists(st.integers(0, 4), min_size=12, max_size=60), st.floats(0.05, 0.6), st.randoms()
)
def test_a_stratified_split_gives_every_class_its_share(labels, fraction, random):
    labels = np.array(labels)
    num_test = max(1, round(fraction * len(labels)))
    counts = np.bincount(labels, minlength=5)
    hypothesis.assume(num_test <= len(labels) - np.count_nonzero(counts))
    train, test = data.stratified_split(labels, num_test)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    assert len(test) == num_test
    held = np.bincount(labels[test], minlength=5)
    assert np.all(counts[counts > 0] > held[counts > 0])
    if counts[counts > 0].min() >= 5:
        assert np.all(np.abs(held - counts * num_test / len(labels)) < 1)
    np.testing.assert_array_equal(data.stratified_split(labels, num_test)[1], test)


def test_the_only_image_of_a_class_is_trained_on():
    train, _ = data.stratified_split(np.array([0, 1, 1, 1]), 2)
    assert 0 in train


def test_a_split_that_would_empty_a_class_is_refused():
    with pytest.raises(ValueError, match="num_test must leave an image of each of 3 classes"):
        data.stratified_split(np.array([0, 1, 2, 2]), 2)


# --- batches ---


@hypothesis.given(st.integers(1, 17), st.integers(0, 2**40), st.booleans())
def test_batches_cut_the_sequence_of_epochs_into_equal_pieces(batch_size, seed, shuffle):
    n = 17
    iterator = data.batches(
        numbered(n), batch_size=batch_size, seed=seed, shuffle=shuffle, prefetch=0
    )
    epochs = [data.epoch_order(seed, e, n) if shuffle else np.arange(n) for e in range(4)]
    steps = 3 * n // batch_size
    np.testing.assert_array_equal(
        indices(iterator, steps), np.concatenate(epochs)[: steps * batch_size]
    )


@hypothesis.given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 50))
def test_an_epoch_visits_everything_once_in_an_order_of_its_own(seed, epoch, n):
    order = data.epoch_order(seed, epoch, n)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n >= 20:
        assert not np.array_equal(order, data.epoch_order(seed, epoch + 1, n))
        assert not np.array_equal(order, data.epoch_order(seed + 1, epoch, n))


def test_the_order_never_changes_between_versions():
    np.testing.assert_array_equal(data.epoch_order(7, 3, 10), [2, 4, 7, 3, 5, 1, 8, 9, 0, 6])


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_together_hold_the_batch_of_one(process_count):
    source = numbered(11)
    whole = data.batches(source, batch_size=8, seed=5)
    parts = [
        data.batches(source, batch_size=8, seed=5, process_index=p, process_count=process_count)
        for p in range(process_count)
    ]
    for _ in range(5):
        expected, got = next(whole), [next(part) for part in parts]
        for key, value in expected.items():
            np.testing.assert_array_equal(np.concatenate([g[key] for g in got]), value)


def test_a_row_is_the_image_that_its_index_says():
    batch = next(data.batches(numbered(11), batch_size=8, seed=1))
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["index"])
    np.testing.assert_array_equal(batch["label"], batch["index"] % 3)
    types = {key: value.dtype.name for key, value in batch.items()}
    assert types == {"image": "uint8", "label": "int32", "index": "int32", "aspect": "float32"}


def test_an_iterator_resumes_from_its_state_or_its_step():
    source = numbered(10)
    first = data.batches(source, batch_size=4, seed=3)
    indices(first, 7)
    state = json.loads(json.dumps(first.get_state()))
    rest = indices(first, 6)
    second = data.batches(source, batch_size=4, seed=3)
    next(second)
    second.set_state(state)
    np.testing.assert_array_equal(indices(second, 6), rest)
    third = data.batches(source, batch_size=4, seed=3, start=7, prefetch=0)
    assert third.get_state() == state
    np.testing.assert_array_equal(indices(third, 6), rest)


def test_a_checkpoint_holds_the_iterator(tmp_path):
    source = numbered(10)
    first = data.batches(source, batch_size=4, seed=3)
    indices(first, 3)
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(first)))
        manager.wait_until_finished()
        rest = indices(first, 4)
        second = data.batches(source, batch_size=4, seed=3)
        restore = grain.checkpoint.CheckpointRestore(second)
        second = manager.restore(3, args=ocp.args.Composite(data=restore))["data"]
    np.testing.assert_array_equal(indices(second, 4), rest)


def test_steps_end_the_iteration_wherever_it_began():
    source = numbered(10)
    assert len(list(data.batches(source, batch_size=4, seed=0, steps=5))) == 5
    assert len(list(data.batches(source, batch_size=4, seed=0, steps=5, start=3))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 12}, r"batch_size must not exceed the number of examples \(10\), got 12"),
        ({"batch_size": 0}, "batch_size must be a positive multiple"),
        ({"batch_size": 6, "process_count": 4}, r"multiple of process_count \(4\), got 6"),
        ({"batch_size": 4, "process_count": 2, "process_index": 2}, r"must be in \[0, 2\), got 2"),
        ({"batch_size": 4, "seed": -1}, "got seed=-1"),
        ({"batch_size": 4, "start": 4, "steps": 3}, "start=4, steps=3"),
        ({"batch_size": 4, "prefetch": -1}, "prefetch must not be negative, got -1"),
    ],
)
def test_batches_that_cannot_be_made_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        data.batches(numbered(10), **{"seed": 0, **options})


@pytest.mark.parametrize("process_count", [1, 2])
@pytest.mark.parametrize("n", [1, 7, 8])
def test_evaluation_sees_every_image_once_in_batches_of_one_shape(n, process_count):
    parts = [
        list(
            data.eval_batches(
                numbered(n), batch_size=4, process_index=p, process_count=process_count
            )
        )
        for p in range(process_count)
    ]
    seen = []
    for step in zip(*parts, strict=True):
        batch = {key: np.concatenate([part[key] for part in step]) for key in step[0]}
        assert batch["image"].shape == (4, 2, 2, 1)
        seen += batch["index"][batch["mask"]].tolist()
    assert seen == list(range(n))


# --- sources ---


def test_a_source_is_a_sequence_of_records():
    source = numbered(4)
    assert [int(record["index"]) for record in source] == [0, 1, 2, 3]
    with pytest.raises(IndexError, match=r"\[0, 4\), got 4"):
        source[4]
    part = source.subset(np.array([3, 1]))
    assert (part[0]["image"][0, 0, 0], int(part[0]["index"])) == (3, 0)
    assert source.in_memory() is source


def test_images_of_the_right_size_are_left_untouched():
    images = RNG.integers(0, 256, (3, 5, 5, 3)).astype(np.uint8)
    assert np.shares_memory(data.from_arrays(images)._images, images)  # pyright: ignore


def test_others_are_squashed_without_aliasing_and_keep_their_aspect():
    board = np.indices((24, 48)).sum(0) % 2 * 255
    record = data.from_arrays(board[None].astype(np.uint8), image_size=6)[0]
    assert record["aspect"] == 2
    assert record["label"] == -1
    np.testing.assert_allclose(record["image"], 127.5, atol=1)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ((0, 4, 4), {}, "at least one image"),
        ((2, 4, 4, 4), {}, "1 or 3 channels"),
        ((2, 4, 5), {}, "not square"),
        ((2, 4, 4), {"labels": np.array([0, 1, 2])}, r"one entry an image \(2\)"),
        ((2, 4, 4), {"labels": np.array([0, 2]), "class_names": ["a", "b"]}, "got 0 to 2"),
        ((2, 4, 4), {"labels": np.array([0, 2**40])}, "number the classes from 0"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        data.from_arrays(np.zeros(images, np.uint8), **options)


# --- folders ---


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


def test_every_kind_of_image_becomes_rgb(tmp_path):
    pixels = noise()
    gray = pixels[..., 0]
    save(tmp_path / "a.png", pixels)
    save(tmp_path / "b.png", gray)
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "c.tif")
    Image.fromarray(pixels).quantize(16).save(tmp_path / "d.gif")
    Image.fromarray((gray.astype(np.uint16) << 8) + 77).save(tmp_path / "e.png")
    alpha = np.where(np.arange(4)[:, None] < 2, 255, 0) * np.ones((1, 4), int)
    save(tmp_path / "f.webp", np.dstack([pixels, alpha]), lossless=True, exact=True)
    palette = Image.fromarray(pixels).quantize(16)
    palette.save(tmp_path / "g.png", transparency=bytes(16))
    Image.fromarray(gray > 127).save(tmp_path / "h.bmp")
    source = data.load(f"folder:{tmp_path}", image_size=4, memory_limit=0)
    images = dict(zip("abcdefgh", every_image(source), strict=True))
    np.testing.assert_array_equal(images["a"], pixels)
    np.testing.assert_array_equal(images["b"], np.dstack([gray] * 3))
    np.testing.assert_allclose(images["c"], pixels.astype(int), atol=2)
    np.testing.assert_array_equal(images["d"], np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(images["e"], np.dstack([gray] * 3))
    np.testing.assert_array_equal(images["f"][:2], pixels[:2])
    assert np.all(images["f"][2:] == 255)
    assert np.all(images["g"] == 255)
    np.testing.assert_array_equal(images["h"], np.dstack([np.where(gray > 127, 255, 0)] * 3))


def every_image(splits: data.Splits) -> np.ndarray:
    """All images of unlabeled splits, in the order of the files."""
    n = len(splits.train) + len(splits.test)
    train, test = data.stratified_split(np.full(n, -1), len(splits.test))
    images = [s.gather(np.arange(len(s)))["image"] for s in (splits.train, splits.test)]
    return np.concatenate(images)[np.argsort(np.concatenate([train, test]))]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    shown = noise(3, 6)
    # How the camera must have stored what is to be shown, by the standard's eight cases.
    stored = [
        shown,
        shown[:, ::-1],
        shown[::-1, ::-1],
        shown[::-1],
        shown.transpose(1, 0, 2),
        np.rot90(shown, 1),
        np.rot90(shown, 2).transpose(1, 0, 2),
        np.rot90(shown, -1),
    ][orientation - 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i in range(2):
        save(tmp_path / f"{i}.png", stored, exif=exif)
    record = data.load(f"folder:{tmp_path}", image_size=6).train[0]
    assert record["aspect"] == 2
    plain = data.from_arrays(shown[None], image_size=6)[0]
    np.testing.assert_array_equal(record["image"], plain["image"])


def test_a_large_jpeg_is_shrunk_as_a_whole(tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 255, 640)[None, :, None], (480, 640, 3))
    for i in range(2):
        save(tmp_path / f"{i}.jpg", ramp, quality=95)
    record = data.load(f"folder:{tmp_path}", image_size=16).train[0]
    expected = ramp.reshape(480, 16, 40, 3).mean((0, 2))[None]
    difference = record["image"].astype(float) - expected
    assert np.abs(difference[:, 1:-1]).max() < 3
    np.testing.assert_allclose(record["aspect"], 4 / 3, rtol=1e-6)


@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_unreadable_images_are_named_and_counted(tmp_path, memory_limit):
    folder(tmp_path, 6)
    (tmp_path / "cat" / "2.png").write_bytes(b"not an image")
    whole = (tmp_path / "dog" / "1.png").read_bytes()
    (tmp_path / "dog" / "1.png").write_bytes(whole[: len(whole) // 2])
    options = {"image_size": 4, "memory_limit": memory_limit, "test_fraction": 0.1}
    message = r"2 so far.*allows 1: 'cat/2.png' \(.*; 'dog/1.png' \("
    with pytest.raises(ValueError, match=message) as error:
        data.load(f"folder:{tmp_path}", max_bad_records=1, **options)
    assert "\n" not in str(error.value)
    splits = data.load(f"folder:{tmp_path}", max_bad_records=2, **options)
    assert [bad.name for bad in splits.train.bad_records] == ["'cat/2.png'", "'dog/1.png'"]


def test_a_batch_keeps_its_size_when_an_image_turns_out_unreadable(tmp_path):
    folder(tmp_path, 6, classes=("cat",))
    options = {"image_size": 4, "memory_limit": 0, "test_fraction": 0.1, "max_bad_records": 1}
    source = data.load(f"folder:{tmp_path}", **options).train
    good = source.gather(np.arange(5))["image"]
    held_out = data.stratified_split(np.zeros(6, int), 1)[1][0]
    victim = [i for i in range(6) if i != held_out][4]
    (tmp_path / "cat" / f"{victim}.png").write_bytes(b"")
    batch = source.gather(np.array([4, 2]))
    np.testing.assert_array_equal(batch["image"], good[[0, 2]])
    assert batch["index"].tolist() == [0, 2]
    masks = [b["mask"].tolist() for b in data.eval_batches(source, batch_size=3)]
    assert masks == [[True] * 3, [True, False, False]]
    (tmp_path / "cat" / f"{(victim + 1) % 6 if held_out != (victim + 1) % 6 else 1}.png").unlink()
    with pytest.raises(ValueError, match="2 so far, where max_bad_records allows 1"):
        source.gather(np.arange(5))


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


# --- .npz ---


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
            data.load(f"npz:{file}", image_size=4, memory_limit=10**6)
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


# --- TFDS ---


def png(value: int, channels: int = 3) -> io.BytesIO:
    file = io.BytesIO()
    pixels = np.full((6, 9, channels), value, np.uint8)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "PNG")
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Data sets prepared by tfds, which encodes arrays only with TensorFlow but accepts files."""
    tfds = pytest.importorskip("tensorflow_datasets")
    image, label = tfds.features.Image, tfds.features.ClassLabel

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        SPLITS: dict
        FEATURES: dict

        def _info(self):
            features = tfds.features.FeaturesDict(self.FEATURES)
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {split: iter(list(enumerate(e))) for split, e in self.SPLITS.items()}

        def _generate_examples(self):
            raise NotImplementedError

    def prepare(name, features, splits):
        builder = type(name, (Prepared,), {"FEATURES": features, "SPLITS": splits, "name": name})
        builder(data_dir=root, file_format="array_record").download_and_prepare()

    root = str(tmp_path_factory.mktemp("tfds"))
    color = {"image": image(shape=(None, None, 3)), "label": label(names=["even", "odd"])}

    def examples(*values):  # a file can be read only once
        return [{"image": png(i), "label": i % 2} for i in values]

    prepare("tiny_color", color, {"train": examples(*range(15)), "test": examples(*range(5))})
    held = {"validation": examples(8, 9, 10), "test": [{"image": png(99), "label": -1}]}
    prepare("tiny_contest", color, {"train": examples(*range(8)), **held})
    gray = {"id": np.int64, "scan": image(shape=(6, 9, 1))}
    prepare("tiny_gray", gray, {"train": [{"id": i, "scan": png(i, 1)} for i in range(10)]})
    damaged = examples(*range(9))
    damaged[3]["image"] = io.BytesIO(b"?")
    prepare("tiny_damaged", color, {"train": damaged, "test": examples(0, 1)})
    prepare("tiny_numbers", {"x": np.int64}, {"train": [{"x": 1}]})
    return root


def test_a_tfds_name_is_read_without_tensorflow(data_dir):
    # In a process of its own, where no class of that name was ever defined, and where no reader may
    # be imported before it is needed.
    program = f"""
import sys
from lejepa_jax.data import loading as data
early = {{"grain", "PIL", "sklearn", "tensorflow_datasets"}} & set(sys.modules)
assert not early, early
splits = data.load("tiny_color", image_size=6, data_dir={data_dir!r})
batch = next(data.batches(splits.train, batch_size=15, seed=0))
assert sorted(batch["image"][:, 0, 0, 1].tolist()) == list(range(15))
assert (batch["label"] == batch["image"][:, 0, 0, 0] % 2).all()
assert (batch["aspect"] == 1.5).all()
assert splits.class_names == ("even", "odd")
assert len(splits.test) == 5
assert "tensorflow" not in sys.modules
"""
    arguments = [sys.executable, "-W", "error", "-c", program]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_test_split_without_labels_is_not_tested_on(data_dir):
    splits = data.load("tiny_contest", image_size=6, data_dir=data_dir)
    assert len(splits.test) == 3
    tuned = data.load("tiny_contest", image_size=6, data_dir=data_dir, holdout="validation")
    assert len(tuned.train) + len(tuned.test) == 8
    named = {"train_split": "train[:50%]", "test_split": "test"}
    splits = data.load("tiny_contest", image_size=6, data_dir=data_dir, **named)
    assert (len(splits.train), len(splits.test), splits.test[0]["label"]) == (4, 1, -1)


def test_the_image_feature_is_found_by_its_type(data_dir):
    splits = data.load("tiny_gray", image_size=6, data_dir=data_dir)
    assert (splits.train.channels, splits.train.num_classes) == (1, 0)
    assert (len(splits.train), len(splits.test)) == (8, 2)


@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_damaged_records_are_named(data_dir, memory_limit):
    options = {"image_size": 6, "data_dir": data_dir, "memory_limit": memory_limit}
    with pytest.raises(ValueError, match=r"1 so far.*train\[3\] \(not an image"):
        data.load("tiny_damaged", **options)
    splits = data.load("tiny_damaged", max_bad_records=1, **options)
    assert splits.train.bad_records[0].name == "train[3]"
    values = {int(record["image"][0, 0, 0]) for record in splits.train}
    assert values == set(range(9)) - {3}


def test_data_sets_that_cannot_be_read_are_refused(data_dir, tmp_path):
    def refused(name, message, where=data_dir, **options):
        with pytest.raises(ValueError, match=message) as error:
            data.load(name, image_size=6, data_dir=str(where), **options)
        assert "\n" not in str(error.value)

    refused("no_such_data", "unknown data set 'no_such_data': want digits, folder:PATH")
    refused("../../etc/passwd", "unknown data set")
    refused("", "unknown data set ''")
    refused(str(tmp_path), "did you mean folder:")
    refused("tiny_color", "data_dir must be a folder, got", where=tmp_path / "missing")
    refused(
        "cifar10", f"cifar10 is not prepared in {tmp_path}/cifar10.*: run `tfds build", tmp_path
    )
    refused("tiny_color", "no split 'extra': it has .*train", test_split="extra")
    refused("tiny_numbers", "no uint8 image feature: it has x")
    refused("digits", "for TFDS data sets", train_split="train")
    source = Path(data_dir) / "tiny_color" / "1.0.0"
    copy = tmp_path / "tiny_color" / "1.0.0"
    copy.mkdir(parents=True)
    for name in ("dataset_info.json", "features.json"):
        text = (source / name).read_text()
        (copy / name).write_text(text.replace("array_record", "tfrecord"))
    refused("tiny_color", "not stored as array_record.*tfds convert_format", tmp_path)
    (copy / "dataset_info.json").write_text("{")
    refused("tiny_color", "tiny_color cannot be opened in", tmp_path)


@pytest.mark.parametrize(
    "options",
    [{"image_size": 0}, {"test_fraction": 1.0}, {"max_bad_records": -1}, {"num_threads": 0}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must"):
        data.load("digits", **{"image_size": 8, **options})
