"""The README's Python runs, block after block, as a reader would type it."""

import re
from pathlib import Path

import jax

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_code_blocks_run_and_give_what_their_comments_say():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 5
    names, compared = {}, 0
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(block, names)
            for line in block.splitlines():
                if said := re.search(r"^(\S[^#]*\S)  # (\(.*\)|True|False)$", line):
                    assert eval(said[1], names) == eval(said[2]), line
                    compared += 1
    assert compared >= 4


def test_the_recipes_it_names_exist():
    from recipes import recipes

    for name in recipes():
        assert f"`{name}`" in README, name
