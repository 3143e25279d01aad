"""What a sweep runs: every combination of the values that were typed."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lejepa_jax.training.command_line import ALIASES
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.recipe import Recipe

_LONGEST_VALUE = 40


class Grid(NamedTuple):
    """The flags of a sweep.

    Attributes:
        fixed: Flags that all runs share, as they were typed.
        varied: Flags with several values.
    """

    fixed: list[str]
    varied: dict[str, list[str]]


def read_grid(flags: Sequence[str], recipe: Recipe) -> Grid:
    """Tell the flags with several values from those of all runs.

    Args:
        flags: What was typed behind the recipe.
        recipe: It; a field of it that is a tuple takes several values as one.

    Returns:
        The flags.

    Raises:
        UsageError: If something stands before the first flag, or a flag has a value twice.

    Examples:
        >>> from recipes.digits import RECIPE
        >>> grid = read_grid("--steps 9 --seed 0 1 --task.trade-off 0.1 0.2".split(), RECIPE)
        >>> grid.fixed, list(grid.varied)
        (['--steps', '9'], ['--seed', '--task.trade-off'])
    """
    grid = Grid([], {})
    for flag, values in _flags_and_values(flags):
        if len(values) < 2 or isinstance(_field(recipe, flag), tuple | list):
            grid.fixed.extend([flag, *values])
        elif len(set(values)) < len(values):
            raise UsageError(f"{flag} has a value twice: {' '.join(values)}")
        else:
            grid.varied[flag] = values
    return grid


def combinations(varied: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Combine every value of a flag with every one of the others.

    Args:
        varied: Values by flag.

    Returns:
        A value of each flag, the last flag changing fastest; one empty combination of no flags.

    Examples:
        >>> combinations({"--a": ["1", "2"], "--b": ["x"]})
        [{'--a': '1', '--b': 'x'}, {'--a': '2', '--b': 'x'}]
    """
    return [
        dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())
    ]


def short_name(values: Mapping[str, str]) -> str:
    """Name a combination, as a person says it and as a folder can be called.

    Args:
        values: A value of each flag.

    Returns:
        The last part of each flag and its value.

    Examples:
        >>> short_name({"--task.trade-off": "0.02", "--task.encoder": "vit('S')", "--seed": "1"})
        'trade-off=0.02,encoder=vit_S_,seed=1'
    """
    parts = []
    for flag, value in values.items():
        text = re.sub(r"[^\w.+-]+", "_", value)[:_LONGEST_VALUE]
        parts.append(f"{flag.removeprefix('--').rsplit('.', 1)[-1]}={text}")
    return ",".join(parts) or "run"


def _flags_and_values(flags: Sequence[str]) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for token in flags:
        if token.startswith("--"):
            flag, equals, value = token.partition("=")
            found.append((ALIASES.get(flag, flag), [value] if equals else []))
        elif found:
            found[-1][1].append(token)
        else:
            raise UsageError(f"sweep wants a recipe, then flags, got {token!r}")
    return found


def _field(recipe: Recipe, flag: str) -> Any:
    value: Any = recipe
    for name in flag.removeprefix("--").replace("-", "_").split("."):
        value = getattr(value, name, None)
    return value
