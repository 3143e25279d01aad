"""The Python of the page about world models runs."""

import re
from pathlib import Path

import jax
import numpy as np

PAGE = Path(__file__).parents[3] / "docs" / "worldmodels.md"
SECTIONS = ("Environments", "Planning", "Success, and what it is compared with")


def test_environments_planning_and_success_run_as_shown():
    names = {}
    # As a reader has it: the tests' strict promotion is not what a page should be written for.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for title in SECTIONS:
            section = PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
            blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
            assert blocks
            for block in blocks:
                exec(block, names)
    rows = {row.policy: row for row in names["found"].rows}
    assert rows["planner"].rate == rows["oracle"].rate == 1
    assert rows["stay"].rate == 0
    assert names["data"].frames.shape == (20, 16, 32, 32, 3)
    pendulum = names["pendulum"]
    pendulum.set_state(np.array([0.5, 0.0]))
    assert pendulum.render().ndim == 3
