"""The log of a run: rows of numbers, for programs and for people."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeGuard

from lejepa_jax.training.boards.names import LOGGERS, Board, logger_names, open_board
from lejepa_jax.training.storage.files import (
    PARTIAL,
    describe_error,
    read_regular,
    write_atomically,
)


class Metrics:
    """Rows of numbers, in `metrics.jsonl` and on boards such as TensorBoard.

    Neither a full disk nor a board that fails ends a run, or costs a row that the disk has room
    for.

    Args:
        workdir: Folder of the run; None to write nothing, as all processes but one do.
        first_step: Step the run goes on from: rows after it are about to be made again.
        warn: Called with a line when the disk takes no more; the run goes on without a log.
        loggers: Names of the boards, as `--logger` has them.
        config: Configuration of the run, for boards that show it.

    Raises:
        OSError: If the log cannot be opened, or rows that are to be made again cannot be removed.

    Examples:
        >>> import tempfile
        >>> workdir = Path(tempfile.mkdtemp())
        >>> metrics = Metrics(workdir, 0, print)
        >>> metrics.write({"step": 1, "loss": 0.5})
        >>> metrics.close()
        >>> read_metrics(workdir)
        [{'step': 1, 'loss': 0.5}]
    """

    def __init__(
        self,
        workdir: Path | None,
        first_step: int,
        warn: Callable[[str], None],
        *,
        loggers: str = "tensorboard",
        config: Mapping[str, Any] = MappingProxyType({}),
    ):
        self._warn = warn
        self._failing = self._torn = False
        self._file, self._boards = None, {}
        if workdir is None:
            return
        for left_over in (workdir / "metrics.new", *workdir.glob(f"*{PARTIAL}")):
            if left_over.is_file():
                left_over.unlink(missing_ok=True)
        path = workdir / "metrics.jsonl"
        rows = [row for row in read_metrics(workdir) if row["step"] <= first_step]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if os.path.lexists(path) and read_regular(path) != text:
            write_atomically(path, text)
        # Unbuffered: what a full disk did not take is not written again with the next row.
        self._file = path.open("ab", buffering=0)
        self._boards: dict[str, Board] = {}
        for name in logger_names(loggers):
            # A service may raise anything: a run is worth more than its picture.
            try:
                self._boards[name] = open_board(name, workdir, first_step, config)
            except Exception as error:
                title = LOGGERS[name].title
                warn(f"nothing is written for {title}: {describe_error(error)}")

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        if self._file is None:
            return
        data = b"\n" * self._torn + json.dumps(row).encode() + b"\n"
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
            self._failing = self._torn = False
        except OSError as error:
            self._torn = self._torn or written > 0
            if not self._failing:
                self._warn(f"metrics could not be written: {describe_error(error)}")
            self._failing = True
        for name in list(self._boards):
            with self._that_may_fail(name) as board:
                board.write(row)

    def close(self) -> None:
        """Flush and close all."""
        for name in list(self._boards):
            with self._that_may_fail(name) as board:
                board.close()
        self._boards.clear()
        if self._file is not None:
            with contextlib.suppress(OSError):  # reported when it was written
                self._file.close()

    @contextlib.contextmanager
    def _that_may_fail(self, name: str) -> Iterator[Board]:
        try:
            yield self._boards[name]
        except Exception as error:
            # What was written last may be torn, and TensorBoard reads nothing beyond that.
            board = self._boards.pop(name)
            title = LOGGERS[name].title
            self._warn(f"no more is written for {title}: {describe_error(error)}")
            with contextlib.suppress(Exception):
                board.close()


def read_metrics(workdir: Path) -> list[dict[str, float]]:
    """Read the rows of a run; the last line may be torn if the machine died.

    Args:
        workdir: Folder of the run.

    Returns:
        One dictionary a logged step; none without a log. What is no row, and what is no number in
        a row, is left out.

    Examples:
        >>> read_metrics(Path("/nowhere"))
        []
    """
    try:
        text = read_regular(workdir / "metrics.jsonl")
    except OSError:
        return []
    rows = []
    for line in text.split("\n"):
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and is_count(row.get("step")):
                rows.append({name: value for name, value in row.items() if is_number(value)})
    return rows


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value that was read is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 or isinstance(value, float)


def is_count(value: Any) -> TypeGuard[float]:
    """Whether a value that was read is a number of steps."""
    return is_number(value) and math.isfinite(value) and value >= 0 and int(value) == value
