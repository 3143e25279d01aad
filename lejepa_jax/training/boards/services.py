"""Weights & Biases and trackio: the same rows, for those who keep their runs there.

Both are optional. They work without a network: `WANDB_MODE=offline`, and trackio by itself.
"""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = "lejepa-jax"


def printable_config(value: Any) -> Any:
    r"""Make a configuration safe to show: no control characters in what came from outside.

    Args:
        value: Nested dictionaries and lists.

    Returns:
        The same, its strings and keys printable.

    Examples:
        >>> printable_config({"data": "a\x1b[2Jb", "steps": [1, 2.0, None]})
        {'data': 'a�[2Jb', 'steps': [1, 2.0, None]}
    """
    if isinstance(value, Mapping):
        return {_printable(str(name)): printable_config(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [printable_config(inner) for inner in value]
    return _printable(value) if isinstance(value, str) else value


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def run_id(workdir: Path) -> str:
    """Return the name by which services know a run, so that a resumed one goes on there.

    Args:
        workdir: Folder of the run, which keeps it in `logger_id`.

    Returns:
        The name: made once, at random.
    """
    path = workdir / "logger_id"
    try:
        found = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        found = ""
    if found.isalnum() and len(found) < 100:
        return found
    found = uuid.uuid4().hex[:16]
    path.write_text(found + "\n")
    return found


class WandbBoard:
    """A run of Weights & Biases; project `lejepa-jax` or `WANDB_PROJECT`.

    Args:
        workdir: Folder of the run; what is uploaded, or offline what is to be, is kept below it.
        first_step: Step the run goes on from.
        config: Its configuration.
    """

    def __init__(self, workdir: Path, first_step: int, config: Mapping[str, Any]):
        import wandb  # pyright: ignore[reportMissingImports]

        del first_step  # rows that are made again have the same numbers
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=_printable(workdir.resolve().name),
            id=run_id(workdir),
            resume="allow",
            dir=str(workdir),
            config=printable_config(config),
            # What a run prints is no business of the service, nor is the code.
            settings=wandb.Settings(console="off", silent=True, save_code=False),
        )

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        self._run.log({n: v for n, v in row.items() if n != "step"}, step=int(row["step"]))

    def close(self) -> None:
        """Wait until everything is sent."""
        self._run.finish()


class TrackioBoard:
    """A run of trackio, kept on this machine; `trackio show` draws it.

    Args:
        workdir: Folder of the run.
        first_step: Step the run goes on from.
        config: Its configuration.
    """

    def __init__(self, workdir: Path, first_step: int, config: Mapping[str, Any]):
        import trackio  # pyright: ignore[reportMissingImports]

        del first_step
        self._run: Any = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=f"{_printable(workdir.resolve().name)}-{run_id(workdir)[:6]}",
            config=printable_config(config),
            resume="allow",
        )

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        self._run.log({n: v for n, v in row.items() if n != "step"}, step=int(row["step"]))

    def close(self) -> None:
        """Wait until everything is stored."""
        self._run.finish()
