"""The page of a folder of images: whole, safe whatever files are called, and alive in a browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from lejepa_jax.report.explorer import Explored, write_explorer

COUNT = 1030  # more than a sheet of pictures
NAME = "</script><script>alert(1)</script>\x1b[2J.png"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    places = rng.uniform(size=(COUNT, 2)).astype(np.float32)
    neighbors = (np.arange(COUNT)[:, None] + [1, 2]) % COUNT
    explored = Explored(
        thumbnails=rng.integers(0, 255, (COUNT, 8, 8, 3), dtype=np.uint8),
        paths=[NAME, *(f"{i}.png" for i in range(1, COUNT))],
        labels=np.arange(COUNT) % 3 - 1,
        class_names=["<b>cat</b>", "dog"],
        places=places,
        neighbors=neighbors,
        cosine=np.full((COUNT, 2), 0.5, np.float32),
        distance=rng.uniform(size=COUNT).astype(np.float32),
        far=[3, 4],
        score=np.where(np.arange(COUNT) < 5, 1.25, np.nan),
        unlikely=[4, 3],
        pairs=[(0, 1, 0.99, True), (2, 3, 0.981, False)],
        least=0.98,
        cluster=np.arange(COUNT) % 2,
        members=[[0, 2], [1, 3]],
    )
    path = tmp_path_factory.mktemp("page") / "page.html"
    return write_explorer(path, explored, title="A <folder>", summary="Of & about")


def data_of(page):
    text = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(text.group(1))


def test_all_is_inside_and_nothing_is_fetched(page):
    text = page.read_text()
    data = data_of(text)
    assert len(data["sheets"]) == 2
    assert all(sheet.startswith("data:image/jpeg;base64,") for sheet in data["sheets"])
    assert not re.findall(r"(?:src|href)=[\"']?http", text)
    assert "default-src 'none'" in text
    assert data["score"][:6] == [1.25] * 5 + [None]
    assert min(data["x"]) >= 0
    assert max(data["x"]) <= 4095
    assert data["sizes"] == [515, 515]


def test_names_from_outside_are_text(page):
    text = page.read_text()
    assert "<title>A &lt;folder&gt;</title>" in text
    assert "alert(1)</script>" not in text
    assert "\x1b" not in text
    assert data_of(text)["paths"][0].startswith("</script><script>alert(1)")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no browser")
def test_a_browser_shows_the_image_of_the_link_and_the_lists(page, tmp_path):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    shown = subprocess.run(
        [*command, f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000", f"file://{page}#7"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert '<div id="path">7.png</div>' in shown
    near = re.search(r'id="near".*?</div>', shown, re.DOTALL).group(0)
    assert re.findall(r'data-index="(\d+)"', near) == ["8", "9"]
    for name in ("Outliers by distance", "Outliers by JEPA score", "Near-duplicates", "Clusters"):
        assert f">{name}</button>" in shown
