"""A file of events for TensorBoard, written without a thread."""

import math
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FLUSH_SECONDS = 30.0


class TensorBoard:
    """A file of events, written here: the thread of `SummaryWriter` dies unseen on a full disk.

    Args:
        workdir: Folder of the run; the events are in `tensorboard` below it.
        first_step: Step the run goes on from: later ones of before are shown no more.
        config: Not shown here.
    """

    def __init__(self, workdir: Path, first_step: int, config: Mapping[str, Any] | None = None):
        del config
        folder = workdir / "tensorboard"
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
        """Add a row."""
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
        """Flush and close the file."""
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        event = self._events.Event(wall_time=time.time(), step=step, **content)
        self._writer.write(event.SerializeToString())
