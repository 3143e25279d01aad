"""A folder becomes a file of features, in pieces; stopping and adding images repeats no work."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import lejepa_jax
import train
from lejepa_jax.models.embedding import embed_folder
from lejepa_jax.models.feature_files import read_rows

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    """11 images of 2 classes, one of them broken."""
    for index in range(11):
        add(tmp_path / "images", f"{'ab'[index % 2]}/{index:02d}.png")
    (tmp_path / "images" / "a" / "04.png").write_bytes(b"broken")
    return tmp_path / "images"


def add(root, name):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (9, 12, 3), np.uint8)).save(root / name)


def read(path):
    pieces = list(read_rows(path))
    rows = {}
    for piece in pieces:
        for where, label, features in zip(*piece, strict=True):
            assert where not in rows
            rows[where] = label, features
    return rows


@pytest.mark.parametrize("ending", [".npz", ".parquet", ".csv"])
def test_every_format_holds_paths_labels_and_the_features_of_a_call(
    model, folder, tmp_path, ending
):
    out = tmp_path / f"features{ending}"
    found = embed_folder(model, folder, out, piece=3)
    assert (found.rows, found.new, found.finished) == (10, 10, True)
    assert [record.name for record in found.unreadable] == ["a/04.png"]
    rows = read(out)
    expected = model([folder / name for name in rows])
    for (name, (label, features)), own in zip(rows.items(), expected, strict=True):
        assert label == name[0]
        np.testing.assert_allclose(features, own, rtol=1e-5, atol=1e-6)
    about = json.loads((tmp_path / f"features{ending}.json").read_text())
    assert about["rows"] == 10
    assert about["unreadable"][0]["path"] == "a/04.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        out.name,
        f"{out.name}.json",
        "images",
    ]


def test_a_csv_and_an_npz_open_with_what_people_have(model, folder, tmp_path):
    embed_folder(model, folder, tmp_path / "f.csv")
    embed_folder(model, folder, tmp_path / "f.npz")
    with (tmp_path / "f.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    with np.load(tmp_path / "f.npz") as arrays:
        assert [line["path"] for line in lines] == arrays["paths"].tolist()
        first = np.array([line["f0"] for line in lines], np.float32)
        np.testing.assert_array_equal(first, arrays["features"][:, 0])


class Counted:
    """Counts what is computed."""

    def __init__(self, model, monkeypatch):
        self.rows, program = 0, model.program

        def counting(*arguments):
            function = program(*arguments)

            def call(batch):
                self.rows += len(batch["image"])
                return function(batch)

            return call

        monkeypatch.setattr(model, "program", counting)


def test_what_was_stopped_goes_on_and_ends_with_the_same_bytes(
    model, folder, tmp_path, monkeypatch
):
    whole, out = tmp_path / "whole.npz", tmp_path / "stopped.npz"
    embed_folder(model, folder, whole)
    counted = Counted(model, monkeypatch)
    found = embed_folder(model, folder, out, piece=100, stop=lambda: True)
    assert not found.finished
    assert not out.exists()
    assert counted.rows == 4  # a batch
    found = embed_folder(model, folder, out)
    assert (found.rows, found.finished) == (10, True)
    # The broken one is tried again, the others that were done are not.
    assert counted.rows == 4 + 8
    assert read(out).keys() == read(whole).keys()
    for name, (label, features) in read(whole).items():
        assert read(out)[name][0] == label
        np.testing.assert_allclose(read(out)[name][1], features, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ending", [".npz", ".parquet", ".csv"])
def test_images_added_later_are_embedded_alone(model, folder, tmp_path, monkeypatch, ending):
    out = tmp_path / f"features{ending}"
    embed_folder(model, folder, out)
    before = read(out)
    (folder / "a" / "04.png").unlink()
    add(folder, "c/new.png")
    counted = Counted(model, monkeypatch)
    found = embed_folder(model, folder, out)
    assert (found.rows, found.new, counted.rows) == (11, 1, 4)
    after = read(out)
    assert after["c/new.png"][0] == "c"
    for name, (label, features) in before.items():
        assert after[name][0] == label
        np.testing.assert_array_equal(after[name][1], features)
    # Nothing new: nothing is computed, nothing is written.
    written = out.stat().st_mtime_ns
    assert embed_folder(model, folder, out).new == 0
    assert (counted.rows, out.stat().st_mtime_ns) == (4, written)


def test_features_of_another_model_or_folder_are_not_mixed(model, folder, tmp_path):
    out = tmp_path / "features.npz"
    embed_folder(model, folder, out)
    with pytest.raises(ValueError, match="features of another layers"):
        embed_folder(model, folder, out, num_layers=2)
    add(tmp_path / "others", "x.png")
    with pytest.raises(ValueError, match="features of another folder"):
        embed_folder(model, tmp_path / "others", out)
    (tmp_path / "features.npz.json").unlink()
    with pytest.raises(ValueError, match="was not written by embed"):
        embed_folder(model, folder, out)
    with pytest.raises(ValueError, match="out must end in"):
        embed_folder(model, folder, tmp_path / "features.txt")


def test_a_folder_in_which_nothing_can_be_read_is_an_error(model, tmp_path):
    (tmp_path / "images").mkdir()
    for index in range(6):
        (tmp_path / "images" / f"{index}.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"none of 6 images could be read, the first: 0\.png"):
        embed_folder(model, tmp_path / "images", tmp_path / "features.npz")


def test_the_command(model, folder, tmp_path, capsys):
    saved = lejepa_jax.save(model, tmp_path / "model")
    out = str(tmp_path / "features.parquet")
    flags = ["--data-dir", str(folder), "--out", out]
    assert train.main(["embed", str(saved), *flags]) == 0
    said = capsys.readouterr().out
    assert "skipped a/04.png: not an image" in said
    assert "10 rows, 10 of them new, 1 images could not be read" in said
    assert len(read(tmp_path / "features.parquet")) == 10
    assert train.main(["embed", "nowhere", *flags]) == 2
    assert "error: model must be the folder of a run" in capsys.readouterr().err
    assert train.main(["embed", str(saved)]) == 2
    assert "data-dir" in capsys.readouterr().err
