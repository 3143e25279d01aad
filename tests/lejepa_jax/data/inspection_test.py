import json
import shutil

import numpy as np
import pytest

from lejepa_jax import data
from tests.lejepa_jax.data.pictures import RNG, folder, noise, save


def identify(root, memory_limit: int = 2**31):
    options = data.DataOptions(memory_limit=memory_limit)
    return data.fingerprint(data.load(f"folder:{root}", image_size=4, options=options))


def test_a_fingerprint_is_the_same_wherever_the_data_lie(tmp_path):
    folder(tmp_path / "here", 5)
    shutil.copytree(tmp_path / "here", tmp_path / "away" / "there")
    known = identify(tmp_path / "here")
    assert known == identify(tmp_path / "away" / "there") == identify(tmp_path / "here", 0)
    assert json.loads(json.dumps(known)) == known
    assert data.fingerprint_changes(known, json.loads(json.dumps(known))) == ()
    assert known["train"]["count"] == 8


def test_a_fingerprint_never_changes_between_versions(tmp_path):
    for name in ("a", "b"):
        for i in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{i}.pgm").write_bytes(b"P5 1 1 255\n" + bytes([i]))
    assert identify(tmp_path)["test"] == {
        "count": 1,
        "classes": "cf6ab613e3942391f88ed698557e1680",
        "names": "195c7802c2fc84177ff0ae7cb23ed794",
        "labels": "ac65cbb9e4ee2a51f8403de111fbc1a3",
        "sizes": "755179e72fbe8be190d61836180a461e",
    }


def changed(root, what):
    some = sorted((root / "cat").iterdir())[0]
    match what:
        case "file added":
            shutil.copy(some, some.with_name("zzz.png"))
        case "file renamed":
            some.rename(some.with_name("zzz.png"))
        case "contents":
            save(some, noise(9, 9))
        case "class renamed":
            (root / "dog").rename(root / "wolf")


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("file added", "train has 9 examples, not 8"),
        ("file renamed", "the names of the examples"),
        ("contents", "differs in the sizes of the files"),
        ("class renamed", "differs in the names of the classes"),
    ],
)
def test_a_change_of_the_data_is_named(tmp_path, what, line):
    folder(tmp_path, 5)
    known = identify(tmp_path)
    changed(tmp_path, what)
    assert line in "; ".join(data.fingerprint_changes(known, identify(tmp_path)))


def test_labels_and_arrays_are_part_of_a_fingerprint(tmp_path):
    images = RNG.integers(0, 256, (10, 4, 4)).astype(np.uint8)
    labels = np.arange(10) % 2

    def of(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return data.fingerprint(data.load(str(tmp_path / "a.npz"), image_size=4))

    known = of(images=images, labels=labels)
    assert known == of(images=images, labels=labels)
    assert known != of(images=images ^ 1, labels=labels)
    assert known != of(images=images, labels=1 - labels)
    splits = data.load("digits", image_size=8)
    others = splits._replace(train=splits.train.subset(np.arange(1297)[::-1]))
    changes = data.fingerprint_changes(data.fingerprint(splits), data.fingerprint(others))
    assert changes == ("train differs in the labels and the names of the examples, or their order",)


@pytest.mark.parametrize("memory_limit", [0, 2**31])
def test_images_that_are_trained_and_tested_on_are_counted(tmp_path, memory_limit):
    folder(tmp_path / "train", 4)
    folder(tmp_path / "test", 3)
    shutil.copy(tmp_path / "train" / "cat" / "1.png", tmp_path / "test" / "dog" / "again.png")
    options = data.DataOptions(memory_limit=memory_limit)
    splits = data.load(f"folder:{tmp_path}", image_size=4, options=options)
    assert splits.info["duplicates"] == "1 of 7 held-out images are trained on, too"
    (tmp_path / "test" / "dog" / "again.png").unlink()
    splits = data.load(f"folder:{tmp_path}", image_size=4, options=options)
    assert "duplicates" not in splits.info


def test_what_is_too_much_to_compare_is_said(monkeypatch, tmp_path):
    folder(tmp_path, 4)
    monkeypatch.setattr("lejepa_jax.data.inspection._MAX_BYTES", 10)
    splits = data.load(f"folder:{tmp_path}", image_size=4)
    assert splits.info["duplicates"].startswith("not looked for")


def test_the_facts_of_a_folder_say_where_splits_and_classes_come_from(tmp_path):
    folder(tmp_path / "train", 4)
    save(tmp_path / "train" / "cat" / "more.png", noise())
    folder(tmp_path / "Test", 3)
    folder(tmp_path / "val", 2)
    folder(tmp_path / "extra", 1)
    splits = data.load(f"folder:{tmp_path}", image_size=4)
    assert dict(splits.info) == {
        "test": "folder 'Test'",
        "validation": "folder 'val', left alone",
        "ignored": "extra",
        "classes": "2 of 4 to 5 images to train on",
    }
