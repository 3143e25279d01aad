"""Recipes: one file each, whose docstring gives the command, the expected result, time and machine.

A recipe is a module of this folder with a constant `RECIPE`. Its name on the command line is that
of the file with hyphens for underscores. A file elsewhere will do: `python train.py ./mine.py`.
"""

import sys

from lejepa_jax.training.recipe import Recipe, read_recipes

__all__ = ["Recipe", "recipes"]


def recipes() -> dict[str, tuple[str, Recipe]]:
    """Load every recipe of this folder: its docstring and its configuration, by name."""
    return read_recipes(sys.modules[__name__])
