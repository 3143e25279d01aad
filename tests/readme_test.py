"""The README's Python runs, block after block, as a reader would type it."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import train
from tests.program import tiny_run

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.fixture
def finished_run(tmp_path, monkeypatch):
    """What the README finds where it is read: a run of digits that is over, and a new image."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "recipes", tiny_run.recipes)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert train.main(["digits", "--steps", "1", "--devices", "1"]) == 0
    Image.fromarray(np.full((9, 7), 200, np.uint8)).save("digit.png")


@pytest.mark.usefixtures("finished_run")
def test_the_code_blocks_run_and_give_what_their_comments_say():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    names, compared = {}, 0
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(block, names)
            for line in block.splitlines():
                if said := re.search(r"^(\S[^#]*\S)  # (\(.*\)|True|False)$", line):
                    assert eval(said[1], names) == eval(said[2]), line
                    compared += 1
    assert compared >= 5


def test_the_recipes_it_names_exist():
    from recipes import recipes

    for name in recipes():
        assert f"`{name}`" in README, name
