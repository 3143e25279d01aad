"""The command line: a recipe by name or by path, and flags that change it."""

import contextlib
import dataclasses
import difflib
import io
import itertools
import re
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.help_text import two_groups
from lejepa_jax.training.recipe import Recipe, read_recipe

# Flags that people know from elsewhere, and what they are here.
ALIASES = {
    "--batch-size": "--global-batch-size",
    "--global-batch": "--global-batch-size",
    "--lr": "--learning-rate",
    "--average-decay": "--ema-decay",
    "--optimiser": "--optimizer",
    "--task.eval-batch": "--task.eval-batch-size",
    "--task.neighbours": "--task.knn-k",
}


def program_words() -> list[str]:
    """Return what a person types to start this program, as printed commands begin.

    Returns:
        `lejepa` if it was started by that name, else `python train.py`.

    Examples:
        >>> program_words()
        ['python', 'train.py']
    """
    return ["lejepa"] if Path(sys.argv[0]).stem == "lejepa" else ["python", "train.py"]


def parse(
    arguments: list[str],
    recipes: Mapping[str, tuple[str, Recipe]],
    *,
    default: str,
    commands: str = "",
) -> tuple[str, Recipe]:
    """Read the recipe and its flags.

    Args:
        arguments: What was typed: a recipe, or a path of one, then flags.
        recipes: Docstring and configuration of every recipe, by name.
        default: The recipe where none is named.
        commands: What else the program can do, for the help.

    Returns:
        The name of the recipe, and the recipe.

    Raises:
        UsageError: One line about what is wrong.
    """
    import tyro

    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = [default, *arguments]
    name, found = arguments[0], dict(recipes)
    if name.endswith(".py"):
        try:
            own = read_recipe(name)
        except ValueError as error:
            raise UsageError(str(error)) from None
        name = re.sub(r"\W+", "-", name.removesuffix(".py").rsplit("/", 1)[-1])
        found = {name: own}
        arguments = [name, *arguments[1:]]
    if not name.startswith("-") and name not in found:
        near = difflib.get_close_matches(name, found, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"unknown recipe {name!r}{meant}; there are {', '.join(found)} (a path ./mine.py is a "
            "recipe, too; --help lists the commands)"
        )
    flags = [_flag(argument) for argument in arguments]
    texts = {}
    if name in found:
        found = {name: found[name]}  # so that no flag of another recipe is suggested
        texts = _take_texts(flags, found[name][1])
    boxed, shown = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed), contextlib.redirect_stdout(shown):
            recipe = tyro.extras.overridable_config_cli(
                found,
                args=flags,
                prog=program_words()[-1],
                description="Train a recipe, on any number of devices. The same command resumes "
                f"a run that was stopped. Without a recipe: {default}."
                + (f"\n\nCommands beside training:\n{commands}" if commands else ""),
            )
    except SystemExit as exit_:
        if exit_.code == 0:
            text = shown.getvalue()
            sys.stdout.write(two_groups(text) + "\n" if name in found else text)
            raise
        raise UsageError(unboxed(boxed.getvalue())) from None
    if texts:
        task: Any = recipe.task
        recipe = dataclasses.replace(recipe, task=dataclasses.replace(task, **texts))
    return name, recipe


def _take_texts(flags: list[str], recipe: Recipe) -> dict[str, str]:
    """Take out of the flags those of fields of the task that may be a name or what it names.

    The parser shows such a field as fixed where a recipe has no name there, and where a function
    could stand in its place.
    """
    task: Any = recipe.task
    hints = typing.get_type_hints(type(task))
    fields = []
    for field in dataclasses.fields(task):
        if typing.get_origin(hints[field.name]) is tuple:
            continue  # texts, each a flag's value of its own
        choices = typing.get_args(hints[field.name])
        callables = any(typing.get_origin(choice) is Callable for choice in choices)
        if str in choices and (callables or not isinstance(getattr(task, field.name), str | None)):
            fields.append(field.name)
    found = {}
    for field in fields:
        for wanted in {f"--task.{field}", f"--task.{field.replace('_', '-')}"}:
            for index, flag in enumerate(flags):
                given, equals, value = flag.partition("=")
                if given == wanted and equals:
                    found[field] = value
                    del flags[index]
                    break
                if flag == wanted and index + 1 < len(flags):
                    found[field] = flags[index + 1]
                    del flags[index : index + 2]
                    break
    return found


def _flag(argument: str) -> str:
    flag, equals, value = argument.partition("=")
    return ALIASES.get(flag, flag) + equals + value


def unboxed(message: str) -> str:
    """Take the text out of the box that the command line parser draws: a log wants a line.

    Args:
        message: What the parser printed.

    Returns:
        Its text in one line.
    """
    lines = [line.strip(" │╭╮╰╯─") for line in message.splitlines()]
    lines = [line for line in lines if line.strip("-")]
    # The first line is the title of the box, the last ones point to the help.
    text = " ".join(itertools.takewhile(lambda line: not line.startswith("For full"), lines[1:]))
    # Of the flags that are near, the parser shows the help.
    text = re.sub(r"\s*Perhaps you meant: (--\S+).*", r"; did you mean \1?", text)
    return re.sub(r"^Error parsing \S+: ", "", text) or message.strip()
