"""The log of a run: rows of numbers, for programs and for TensorBoard."""

import contextlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from lejepa_jax.training.storage.files import (
    PARTIAL,
    describe_error,
    read_regular,
    write_atomically,
)

_FLUSH_SECONDS = 30.0


class Metrics:
    """Rows of numbers, in `metrics.jsonl` and for TensorBoard.

    Neither a full disk nor TensorBoard's files end a run, or cost a row that the disk has room for.

    Args:
        workdir: Folder of the run; None to write nothing, as all processes but one do.
        first_step: Step the run goes on from: rows after it are about to be made again.
        warn: Called with a line when the disk takes no more; the run goes on without a log.

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

    def __init__(self, workdir: Path | None, first_step: int, warn: Callable[[str], None]):
        self._warn = warn
        self._failing = self._torn = False
        self._file = self._board = None
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
        try:
            self._board = _Board(workdir / "tensorboard", first_step)
        except OSError as error:
            warn(f"nothing is written for TensorBoard: {describe_error(error)}")

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
        with self._board_that_may_fail() as board:
            if board is not None:
                board.write(row)

    def close(self) -> None:
        """Flush and close both."""
        with self._board_that_may_fail() as board:
            if board is not None:
                board.close()
        self._board = None
        if self._file is not None:
            with contextlib.suppress(OSError):  # reported when it was written
                self._file.close()

    @contextlib.contextmanager
    def _board_that_may_fail(self) -> Iterator["_Board | None"]:
        try:
            yield self._board
        except OSError as error:
            # What was written last may be torn, and TensorBoard reads nothing beyond that.
            board, self._board = self._board, None
            self._warn(f"no more is written for TensorBoard: {describe_error(error)}")
            with contextlib.suppress(OSError):
                if board is not None:
                    board.close()


class _Board:
    """A file of events, written here: the thread of `SummaryWriter` dies unseen on a full disk."""

    def __init__(self, folder: Path, first_step: int):
        from tensorboardX.proto import event_pb2, summary_pb2
        from tensorboardX.record_writer import RecordWriter

        self._events: Any = event_pb2
        self._summaries: Any = summary_pb2
        folder.mkdir(exist_ok=True)
        # By time, as TensorBoard reads them in the order of their names.
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.{platform.node()}"
        self._writer = RecordWriter(str(folder / f"{name}.{os.getpid()}.{time.time_ns()}"))
        self._add(0, file_version="brain.Event:2")
        # What a run that was killed wrote beyond its last checkpoint is not shown.
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        self._add(first_step + 1, session_log=start)
        self._flushed = -math.inf

    def write(self, row: Mapping[str, float]) -> None:
        values = [
            self._summaries.Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name != "step"
        ]
        self._add(int(row["step"]), summary=self._summaries.Summary(value=values))
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        event = self._events.Event(wall_time=time.time(), step=step, **content)
        self._writer.write(event.SerializeToString())


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
