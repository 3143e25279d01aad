"""docs/statistics.md: its Python runs as it stands there, and the tests it names exist."""

import re
from pathlib import Path

import jax

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "statistics.md").read_text()


def test_the_code_blocks_run():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 2
    names = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(block, names)


def test_the_tests_it_names_exist():
    named = set(re.findall(r"`(\w+_test\.py)::(\w+)`", PAGE))
    assert len(named) > 10
    files = {path.name: [] for path in ROOT.glob("tests/**/*_test.py")}
    for path in ROOT.glob("tests/**/*_test.py"):
        files[path.name].append(path.read_text())
    for file, test in named:
        assert any(f"def {test}(" in text for text in files[file]), f"{file}::{test}"
    for path in re.findall(r"`(tests/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).exists(), path
