"""Options of a command, read from a frozen dataclass as those of a recipe are."""

import contextlib
import io
import os
from typing import TypeVar

import jax

from lejepa_jax.training.command_line import program_words, unboxed
from lejepa_jax.training.devices import cache_compiled_programs
from lejepa_jax.training.errors import UsageError

T = TypeVar("T")


def parse_options(kind: type[T], arguments: list[str]) -> T:
    """Read the options of a command.

    Args:
        kind: A dataclass; its docstring is the help.
        arguments: What was typed, the name of the command in front.

    Returns:
        The options.

    Raises:
        UsageError: One line about what is wrong.
    """
    import tyro

    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return tyro.cli(kind, args=arguments[1:], prog=f"{program_words()[-1]} {arguments[0]}")
    except SystemExit as exit_:
        if exit_.code == 0:
            raise
        raise UsageError(unboxed(boxed.getvalue())) from None


def cores() -> int:
    """Count the cores that this process may use: a CPU is fastest with a device each."""
    allowed = getattr(os, "sched_getaffinity", None)
    return os.cpu_count() or 1 if allowed is None else len(allowed(0))


def prepare_devices(devices: int | None, *, usual: int | None = None) -> None:
    """Compile once a machine, and make the devices of a CPU that were asked for.

    Args:
        devices: How many; None for what there is.
        usual: Devices of a CPU where none were asked for.

    Raises:
        UsageError: If there are fewer.
    """
    cache_compiled_programs()
    count = devices or usual
    if count is not None:
        with contextlib.suppress(RuntimeError):  # they are there already
            jax.config.update("jax_num_cpu_devices", count)
    if devices is not None and not 1 <= devices <= jax.local_device_count():
        raise UsageError(f"devices must be at most {jax.local_device_count()} here, got {devices}")
