"""Checkpoints of a run that survive what disks do: the newest that can be read is the one used.

A checkpoint counts only once it is whole: orbax writes beside it and renames. As soon as it is
there, checksums of its files are recorded, since no format in use here notices a flipped bit in the
weights. What is damaged is set aside and never deleted; what merely does not fit, or cannot be read
at the moment, stays where it is.
"""

import contextlib
import functools
import json
import logging
import math
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from lejepa_jax.training.compatibility import saved_names
from lejepa_jax.training.distributed import AgreeingBarrier, run_on_first
from lejepa_jax.training.storage.attempts import Failure, attempt
from lejepa_jax.training.storage.damage import (
    Folders,
    set_aside_damaged,
    set_aside_unread,
    steps_on_disk,
)
from lejepa_jax.training.storage.files import (
    PARTIAL,
    checksums,
    describe_error,
    plain_path,
    read_checksums,
    write_atomically,
)
from lejepa_jax.training.storage.fit import MisfitError, array_shapes, misfits, saved_shapes

T = TypeVar("T")

_NEWEST = 3


class Checkpoints:
    """State, position in the data and configuration of a run: the newest 3 and the best.

    The best is the one with the lowest finite mean loss since the checkpoint before it, or the best
    by another metric. With several processes all take part, on a folder that all of them see.

    Args:
        workdir: Folder of the run.
        warn: Called with a line about each thing that went wrong and did not stop the run.
        best: Name of the metric by which the best is chosen, and whether higher is better.

    Raises:
        ValueError: If there are checkpoints and none of them is whole, or the newest cannot be read
            at the moment.

    Examples:
        >>> import tempfile, jax.numpy as jnp
        >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()))
        >>> checkpoints.save(7, {"w": jnp.ones(2)}, {"next_index": 7}, {"seed": 0}, loss=0.5)
        True
        >>> checkpoints.restore({"w": jnp.zeros(2)})
        ({'w': Array([1., 1.], dtype=float32)}, {'next_index': 7})
        >>> checkpoints.close()
        True
    """

    def __init__(
        self,
        workdir: Path,
        warn: Callable[[str], None] = logging.warning,
        *,
        best: tuple[str, bool] = ("loss", False),
    ):
        workdir = workdir.absolute()
        self._higher_is_better = best[1]
        self._rank = functools.partial(_rank, *best)
        self.folders = Folders(
            workdir / "checkpoints", records=workdir / "checksums", aside=workdir / "damaged"
        )
        self.warn = warn
        self._failed: int | None = None
        self._writing: int | None = None
        self._recording: threading.Thread | None = None
        run_on_first(lambda: self.folders.checkpoints.mkdir(parents=True, exist_ok=True))
        run_on_first(lambda: set_aside_damaged(self.folders, warn))
        self._path, self._remove_path = plain_path(self.folders.checkpoints, self)
        self.manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(
            self._path,
            options=ocp.CheckpointManagerOptions(
                # Without best_fn the metrics, by which the best is chosen, would not be written.
                best_fn=self._rank,
                best_mode="min",
                preservation_policy=_NewestAndBest(self._rank),
                # Where folders are made in the background and cannot be, orbax waits for them for
                # 5 minutes.
                async_options=ocp.AsyncOptions(
                    create_directories_asynchronously=False,
                    # The barriers of a write's end, at which a process without room would be
                    # waited for; those that set its state are come to however it ended.
                    barrier_sync_fn=AgreeingBarrier(last=":set_value_"),
                ),
            ),
        )

    def newest(self) -> int | None:
        """Step of the newest checkpoint."""
        return self.manager.latest_step()

    @property
    def failed(self) -> int | None:
        """Step of the last checkpoint that was asked for, if it is known not to be on disk.

        A write goes on in the background: what became of it is known at the next `save` or at
        `close`.
        """
        return self._failed

    def best(self) -> tuple[int, float] | None:
        """Step of the best checkpoint, and the metric it was chosen by; None if none has it."""
        found = {step: self._rank(self.manager.metrics(step)) for step in self.manager.all_steps()}
        rated = [(rank, -step) for step, rank in found.items() if math.isfinite(rank)]
        if not rated:
            return None
        rank, step = min(rated)
        return -step, -rank if self._higher_is_better else rank

    def save(
        self,
        step: int,
        state: PyTree,
        position: Any,
        config: dict[str, Any],
        *,
        loss: float,
        metrics: Mapping[str, float] = MappingProxyType({}),
    ) -> bool:
        """Write in the background; the state may be donated to the next step at once.

        Args:
            step: Number of steps done.
            state: Arrays of the run.
            position: Where the data iterator is, something JSON can hold.
            config: Configuration of the run, something JSON can hold.
            loss: Mean loss since the last checkpoint; NaN or Inf if there is none.
            metrics: Others. Where the one by which the best is chosen is missing, NaN or Inf, this
                is never the best.

        Returns:
            Whether the write was begun (or had been made before); see also `failed`. A disk that
            takes nothing is warned about and ends no run.
        """
        self._finish()
        if step in self.manager.all_steps():
            self._failed = None
            return True
        try:
            run_on_first(self._prepare)
            begun = self.manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    data=ocp.args.JsonSave(position),
                    config=ocp.args.JsonSave(config),
                ),
                metrics={
                    name: value if math.isfinite(value) else None
                    for name, value in {**metrics, "loss": loss}.items()
                },
                force=True,
            )
        except Exception as error:
            if _lost_a_process(error):
                raise
            self._warn_unwritten(error, step)
            begun = False
        self._failed = None if begun else step
        if begun and jax.process_index() == 0:
            # Not a daemon: a process that ends without `close` still waits for orbax, and for this.
            self._recording = threading.Thread(target=self._record, name="checksums")
            self._recording.start()
        self._writing = step if begun else None
        return begun

    def configuration(self) -> dict[str, Any] | None:
        """Read the configuration the newest checkpoint was made with.

        Returns:
            It as it was saved (`upgrade_config` gives its fields the names of today); None without
            a checkpoint.

        Raises:
            ValueError: If no checkpoint can be read.
        """

        def read(step: int) -> dict[str, Any]:
            args = ocp.args.Composite(config=ocp.args.JsonRestore())
            return self.manager.restore(step, args=args)["config"]

        return self._read_newest(read)

    def restore(self, like: PyTree) -> tuple[PyTree, Any] | None:
        """Read the newest checkpoint that can be read.

        Args:
            like: A state whose shapes and places on devices are wanted. The checkpoint may have
                been written from any other places. If it is a dictionary, the checkpoint may have
                its fields under names they had before.

        Returns:
            The state and the position in the data; None without a checkpoint.

        Raises:
            ValueError: If none of those that are there can be read, if the newest holds other
                arrays than `like`, or if it is whole and cannot be read at the moment. Nothing is
                moved then.
        """

        def read(step: int) -> tuple[PyTree, Any]:
            saved = saved_shapes(self._path / str(step) / "state")
            wanted, names = like, {}
            if isinstance(like, dict):
                names = saved_names(list(like), {path.split("/")[0] for path in saved})
                wanted = {names[name]: value for name, value in like.items()}
            differing = misfits(saved, array_shapes(wanted))
            if differing:
                raise MisfitError(f"the checkpoint of step {step} does not fit: {differing}")
            args = ocp.args.Composite(
                state=ocp.args.StandardRestore(wanted), data=ocp.args.JsonRestore()
            )
            restored = self.manager.restore(step, args=args)
            state = restored["state"]
            if names:
                state = {name: state[names[name]] for name in like}
            return state, restored["data"]

        return self._read_newest(read)

    def close(self) -> bool:
        """Wait until everything is on disk.

        Returns:
            Whether the last checkpoint that was asked for is on disk; True if none was.
        """
        self._finish()
        try:
            self.manager.close()
        except Exception as error:
            self.warn(f"checkpoints were not closed: {describe_error(error)}")
        if self._failed is not None and jax.process_count() == 1:
            with contextlib.suppress(OSError):
                self._clear()
        self._remove_path()
        return self._failed is None

    # --- writing ----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Raise on all processes what would stop the first, and clear what failed writes left."""
        self._clear()
        probe = self.folders.checkpoints / f"probe{PARTIAL}"
        probe.mkdir(exist_ok=True)
        probe.rmdir()

    def _clear(self) -> None:
        """Remove folders that a killed process or a full disk left half-written."""
        for entry in self.folders.checkpoints.iterdir():
            if re.match(r"[0-9]+\.orbax-checkpoint-tmp", entry.name):
                shutil.rmtree(entry, ignore_errors=True)

    def _finish(self) -> None:
        """Wait for the write that is under way and its checksums."""
        try:
            self.manager.wait_until_finished()
        except Exception as error:
            self._warn_unwritten(error)
            self._failed = self._writing
            with contextlib.suppress(Exception):
                # The failed step must not count as one that is there.
                self.manager.reload()
        if self._recording is not None:
            self._recording.join()
            self._recording = None

    def _record(self) -> None:
        """Record checksums once the checkpoint is there; runs beside the training."""
        with contextlib.suppress(Exception):  # reported by `_finish`
            self.manager.wait_until_finished()
        try:
            for step in steps_on_disk(self.folders):
                if read_checksums(self.folders.record(step)) is None:
                    self.folders.records.mkdir(exist_ok=True)
                    write_atomically(
                        self.folders.record(step),
                        json.dumps(checksums(self.folders.checkpoints / str(step))),
                    )
            for record in self.folders.records.glob("*"):
                if not (self.folders.checkpoints / record.stem).exists():
                    record.unlink(missing_ok=True)
        except OSError as error:
            self.warn(f"no checksums of the newest checkpoint: {describe_error(error)}")

    def _warn_unwritten(self, error: Exception, step: int | None = None) -> None:
        which = "the last checkpoint" if step is None else f"the checkpoint of step {step}"
        kept = steps_on_disk(self.folders)
        kept = f"step {kept[0]} is kept" if kept else "there is none yet"
        self.warn(
            f"{which} could not be written ({describe_error(error)}); the run goes on, {kept}"
        )

    # --- reading ----------------------------------------------------------------------------------

    def _read_newest(self, read: Callable[[int], T]) -> T | None:
        """Read the newest checkpoint; those that turn out damaged are set aside."""
        self._finish()
        while (step := self.newest()) is not None:
            result = attempt(functools.partial(read, step), _is_not_about_the_checkpoint)
            if not isinstance(result, Failure):
                return result
            self._fall_back(step, result)
        return None

    def _fall_back(self, step: int, failure: Failure) -> None:
        """Set aside what could not be read, if that is its own fault, and open the folder again."""
        run_on_first(lambda: set_aside_unread(self.folders, step, failure, self.warn))
        self.manager.close()
        self.manager = self._open()


class _NewestAndBest:
    """Keep the newest checkpoints and the one of the lowest finite rank (the latest of equals)."""

    def __init__(self, rank: Callable[[Any], float]):
        self.rank = rank

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        ranks = {info.step: self.rank(info.metrics) for info in checkpoints}
        finite = [step for step, rank in ranks.items() if math.isfinite(rank)]
        kept = {*sorted(ranks)[-_NEWEST:], *sorted(finite, key=lambda s: (ranks[s], -s))[:1]}
        return [info.step in kept for info in checkpoints]


def _rank(name: str, higher_is_better: bool, metrics: Any) -> float:
    """Where a checkpoint stands by a metric, the best lowest; Inf for one without it."""
    value = metrics.get(name) if isinstance(metrics, Mapping) else None
    if not isinstance(value, int | float) or not math.isfinite(value):
        return math.inf
    return -float(value) if higher_is_better else float(value)


def _is_not_about_the_checkpoint(error: Exception) -> bool:
    return isinstance(error, MisfitError) or _lost_a_process(error)


def _lost_a_process(error: Exception) -> bool:
    """Whether another process has gone: nothing on this side can be mended then."""
    return isinstance(error, jax.errors.JaxRuntimeError) and jax.process_count() > 1
