"""Boards by name, and what they need."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lejepa_jax.training.boards.services import TrackioBoard, WandbBoard
from lejepa_jax.training.boards.tensorboard import TensorBoard
from lejepa_jax.training.errors import UsageError


@runtime_checkable
class Board(Protocol):
    """Shows rows of numbers to people."""

    def write(self, row: Mapping[str, float], /) -> None:
        """Add a row, which has a `step`."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


class Logger(NamedTuple):
    """A kind of board.

    Attributes:
        title: What messages call it.
        library: The library it needs, and the extra of this package that brings it.
        extra: Name of that extra.
        open: Makes one from the folder of the run, the step it goes on from and its configuration.
    """

    title: str
    library: str
    extra: str
    open: Callable[[Path, int, Mapping[str, Any]], Board]


#: Kinds of boards by name.
LOGGERS: Mapping[str, Logger] = MappingProxyType(
    {
        "tensorboard": Logger("TensorBoard", "tensorboardX", "train", TensorBoard),
        "wandb": Logger("Weights & Biases", "wandb", "wandb", WandbBoard),
        "trackio": Logger("trackio", "trackio", "trackio", TrackioBoard),
    }
)


def logger_names(text: str) -> tuple[str, ...]:
    """Read the names of loggers.

    Args:
        text: Names with commas between them, or `none`.

    Returns:
        The names.

    Raises:
        ValueError: If there is no such logger.

    Examples:
        >>> logger_names("tensorboard,wandb"), logger_names("none")
        (('tensorboard', 'wandb'), ())
        >>> logger_names("paper")
        Traceback (most recent call last):
            ...
        ValueError: logger must be none, or some of tensorboard, wandb, trackio, got 'paper'
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if names == ("none",):
        return ()
    if any(name not in LOGGERS for name in names):
        raise ValueError(f"logger must be none, or some of {', '.join(LOGGERS)}, got {text!r}")
    return names


def check_loggers(text: str) -> None:
    """Require that what loggers need is installed.

    Args:
        text: Names of loggers.

    Raises:
        UsageError: One line with the command that installs what is missing.
        ValueError: If there is no such logger.
    """
    for name in logger_names(text):
        logger = LOGGERS[name]
        try:
            missing = importlib.util.find_spec(logger.library) is None
        except ValueError:  # a module without a spec is there
            missing = False
        if missing:
            raise UsageError(
                f"logger {name} needs {logger.library}, which is not installed: "
                f"pip install 'lejepa-jax[{logger.extra}]'"
            )


def open_board(name: str, workdir: Path, first_step: int, config: Mapping[str, Any]) -> Board:
    """Open a board of a run.

    Args:
        name: Name of a logger.
        workdir: Folder of the run.
        first_step: Step the run goes on from.
        config: Its configuration, as `describe` gives it.

    Returns:
        The board.
    """
    return LOGGERS[name].open(workdir, first_step, config)
