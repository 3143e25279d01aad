"""The table of commands: to add one, write its module and its line here."""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from lejepa_jax.training.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import Console


class Program(NamedTuple):
    """What a command has of the program that runs it.

    Attributes:
        recipes: Docstring and configuration of every recipe, by name.
        default: The recipe where none is named.
        console: Where to print.
        train: Trains what a command line asks for, or the name and the recipe that are given as a
            second argument, and returns the exit code.
    """

    recipes: Mapping[str, tuple[str, Recipe]]
    default: str
    console: "Console"
    train: Callable[..., int]


class Command(NamedTuple):
    """A command.

    Attributes:
        module: Module of `lejepa_jax.commands` that has it, as a function `run` of the arguments
            (with the name of the command in front) and the program, that returns the exit code. It
            is imported when it is used. A wrong argument raises `UsageError`.
        usage: What stands behind its name.
        summary: What it does, for the help.
    """

    module: str
    usage: str
    summary: str


#: Commands by name.
COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "ls": Command("runs", "[FOLDER]", "list the runs below a folder"),
        "show": Command("runs", "WORKDIR", "show one run, with all it was configured to"),
        "embed": Command(
            "embed", "MODEL --data-dir PATH", "write the features of all images below a folder"
        ),
        "explore": Command(
            "explore", "MODEL --data-dir PATH", "a page to look through a folder of images"
        ),
        "evaluate": Command(
            "evaluate", "MODEL --data NAME", "probe a model on another labeled data set"
        ),
        "finetune": Command(
            "finetune", "MODEL --data-dir PATH", "train a classifier that begins with a model"
        ),
        "export": Command(
            "export",
            "MODEL --format safetensors|timm|torchvision|stablehlo|onnx --out PATH",
            "write the encoder of a model for other libraries",
        ),
        "import": Command(
            "import_",
            "FILE --format timm|torchvision --architecture NAME --out FOLDER",
            "make a model of weights in the names of another library",
        ),
        "publish": Command(
            "publish", "MODEL hf://OWNER/NAME [--public]", "put a model on the Hugging Face hub"
        ),
        "preview": Command("preview", "RECIPE [FLAGS]", "draw the views that a recipe trains on"),
        "replay": Command(
            "replay",
            "RECORDINGS --out PATH",
            "replay recorded actions with noise, as more trajectories to train on",
        ),
        "sweep": Command(
            "sweep",
            "RECIPE [FLAGS, some with several values] [--seeds N] [--jobs N]",
            "train every combination, and compare the runs without labels",
        ),
    }
)


def run_command(arguments: list[str], program: Program) -> int:
    """Run the command that the first argument names.

    Args:
        arguments: What was typed.
        program: What runs it.

    Returns:
        The exit code.
    """
    module = importlib.import_module(f"lejepa_jax.commands.{COMMANDS[arguments[0]].module}")
    return module.run(arguments, program)


def list_commands() -> str:
    """List the commands for the help, a paragraph each.

    Returns:
        The text.

    Examples:
        >>> print(list_commands().splitlines()[0])
        ls [FOLDER]: list the runs below a folder
    """
    # A blank line between two, without which the help would run them together.
    return "\n\n".join(f"{name} {c.usage}: {c.summary}" for name, c in COMMANDS.items())
