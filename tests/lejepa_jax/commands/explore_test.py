"""`explore`: from a model and a folder to a page."""

import functools
import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

import train
from lejepa_jax.models import ImagePreprocessing, random_model, save
from lejepa_jax.nn import ResNet


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    make = functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small", in_channels=1)
    preprocessing = ImagePreprocessing(channels=1, image_size=8, eval_size=8, batch_size=8)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save(random_model(jax.random.key(0), {"encoder": make}, preprocessing), folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("data") / "images", np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 255, (9, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    (folder / "dog" / "copy.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    (folder / "dog" / "torn.png").write_bytes(b"\x89PNG not a picture")
    return folder


def explore(*arguments):
    return train.main(["explore", *map(str, arguments)])


def test_a_page_of_a_folder_has_all_that_can_be_read(model, images, tmp_path, capsys):
    out = tmp_path / "page.html"
    flags = ("--clusters", "3", "--scored", "4", "--out", out)
    assert explore(model, "--data-dir", images, *flags) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "13 images of images" in said
    assert "1 could not be read" in said
    text = re.search(r"application/json\">(.*?)</script>", out.read_text(), re.DOTALL).group(1)
    data = json.loads(text)
    assert sorted(data["paths"])[0] == "cat/0.png"
    assert data["classes"] == ["cat", "dog"]
    copy, first = data["paths"].index("dog/copy.png"), data["paths"].index("cat/0.png")
    assert data["pairs"][0] == [*sorted((copy, first)), 1.0, True]
    assert data["near"][copy][0] == first
    assert sum(score is not None for score in data["score"]) == 4
    # Made again with fewer images: the features that are there are read.
    assert explore(model, "--data-dir", images, *flags, "--limit", "5", "--map", "pca") == 0
    assert "chosen at random of 13 images" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--out", "page.txt"), "out must end in .html, got 'page.txt'"),
        (("--limit", "0"), "limit must be positive, got 0"),
        (("--duplicates", "2"), "duplicates must be a cosine in [-1, 1], got 2.0"),
    ],
)
def test_wrong_flags_get_one_line(model, images, flags, message, capsys):
    assert explore(model, "--data-dir", images, *flags) == 2
    assert message in " ".join(capsys.readouterr().err.split())
