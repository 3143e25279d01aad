"""The README's Python runs, block after block, as a reader would type it."""

import re
from pathlib import Path

import jax

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_code_blocks_run_and_give_what_their_comments_say():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 5
    names = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(block, names)
            last = block.strip().splitlines()[-1]
            if shape := re.search(r"^(.*\.shape)  # (\(.*\))$", last):
                assert eval(shape.group(1), names) == eval(shape.group(2))


def test_the_recipes_it_names_exist():
    from recipes import recipes

    for name in recipes():
        assert f"`{name}`" in README, name
