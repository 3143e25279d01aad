"""A page to look through a folder by what an encoder sees in them.

One HTML file that works from disk in a browser: its pictures, its data and its script are inside,
and its policy lets it fetch nothing.
"""

import base64
import html
import importlib.resources
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from lejepa_jax.report.drawing import printable

# A sheet of pictures has so many across and down.
_ACROSS = 32
_STEPS = 4095  # places on the map, across


class Explored(NamedTuple):
    """What the page shows of some images or fields.

    Attributes:
        thumbnails: A picture each, square.
        paths: What each is called.
        labels: Class of each, -1 where unknown.
        class_names: Names of the classes; empty where there are none.
        places: Where each is on the map, in [0, 1].
        neighbors: Images most like each, the nearest first.
        cosine: How much alike.
        distance: How far each is from its neighbors.
        far: Outliers by that, the farthest first.
        score: JEPA score of some; NaN of the others.
        unlikely: Outliers by that, the least likely first.
        pairs: Near-duplicates: two positions, their cosine, and whether the files are equal.
        least: Smallest cosine of such a pair.
        cluster: Group of each.
        members: A few of each group.
    """

    thumbnails: UInt8[np.ndarray, "n s s 3"]
    paths: Sequence[str]
    labels: Int[np.ndarray, " n"]
    class_names: Sequence[str]
    places: Float[np.ndarray, "n 2"]
    neighbors: Int[np.ndarray, "n k"]
    cosine: Float[np.ndarray, "n k"]
    distance: Float[np.ndarray, " n"]
    far: Sequence[int]
    score: Float[np.ndarray, " n"]
    unlikely: Sequence[int]
    pairs: Sequence[tuple[int, int, float, bool]]
    least: float
    cluster: Int[np.ndarray, " n"]
    members: Sequence[Sequence[int]]


def write_explorer(
    path: str | os.PathLike[str], explored: Explored, *, title: str, summary: str
) -> Path:
    """Write the page.

    Args:
        path: File to write; it is replaced in one move.
        explored: What it shows.
        title: Heading.
        summary: A sentence or two below it.

    Returns:
        The path.

    Examples:
        >>> import tempfile
        >>> one, two = np.zeros(1, int), np.zeros((1, 2), np.float32)
        >>> shown = Explored(np.zeros((1, 8, 8, 3), np.uint8), ["a"], one - 1, [], two,
        ...                  one[:, None], two[:, :1], two[0, :1], [0], two[0, :1], [], [], 0.9,
        ...                  one, [[0]])
        >>> path = write_explorer(tempfile.mkdtemp() + "/a.html", shown, title="A", summary="B")
        >>> "<title>A</title>" in path.read_text()
        True
    """
    page = importlib.resources.files("lejepa_jax.report").joinpath("explorer.html").read_text()
    # No text of the data may end the element it is in.
    data = json.dumps(_data(explored), separators=(",", ":")).replace("<", "\\u003c")
    # The data last: what stands in it is not looked at again.
    for name, text in (("TITLE", title), ("SUMMARY", summary)):
        page = page.replace(f"@{name}@", html.escape(printable(text)))
    page = page.replace("@DATA@", data)
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)
    return path


def _data(explored: Explored) -> dict[str, Any]:
    places = np.rint(explored.places * _STEPS).astype(int)
    scores = [None if np.isnan(s) else round(float(s), 2) for s in explored.score]
    scored = sum(score is not None for score in scores)
    return {
        "tile": explored.thumbnails.shape[1],
        "across": _ACROSS,
        "sheets": [
            _sheet(explored.thumbnails[start : start + _ACROSS**2])
            for start in range(0, len(explored.thumbnails), _ACROSS**2)
        ],
        "paths": [printable(path) for path in explored.paths],
        "classes": [printable(name) for name in explored.class_names],
        "label": explored.labels.tolist(),
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "near": explored.neighbors.tolist(),
        "cosine": np.round(explored.cosine.astype(float), 3).tolist(),
        "distance": np.round(explored.distance.astype(float), 4).tolist(),
        "far": list(explored.far),
        "score": scores,
        "scored": f"Those with the lowest JEPA score, of {scored:,} that have one (those far from "
        "their neighbors, and as many at random): what the encoder takes for unlikely.",
        "unlikely": list(explored.unlikely),
        "pairs": [list(pair) for pair in explored.pairs],
        "least": explored.least,
        "cluster": explored.cluster.tolist(),
        "clusters": [list(members) for members in explored.members],
        "sizes": np.bincount(explored.cluster, minlength=len(explored.members)).tolist(),
    }


def _sheet(tiles: UInt8[np.ndarray, "n s s 3"]) -> str:
    """Draw pictures side by side, as an address of a JPEG that holds itself."""
    from PIL import Image

    side = tiles.shape[1]
    rows = -(-len(tiles) // _ACROSS)
    sheet = np.full((rows * side, _ACROSS * side, 3), 127, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, _ACROSS)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
