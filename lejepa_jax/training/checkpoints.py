"""Checkpoints of a run that survive what disks do: the newest that can be read is the one used.

A checkpoint counts only once it is whole: orbax writes beside it and renames. What was written is
then summed up, file by file, since a bit that flips in the weights is not seen by any format in use
here. Nothing that cannot be read is ever deleted; it is set aside.
"""

import json
import logging
import os
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jaxtyping import PyTree

_CHUNK = 2**24


class Checkpoints:
    """State, position in the data and configuration of a run: the newest 3 and the best.

    The best is the one with the lowest mean loss since the checkpoint before it. With several
    processes all take part, on a folder that all of them see.

    Args:
        workdir: Folder of the run.
        warn: Called with a line about each thing that went wrong and did not stop the run.

    Raises:
        ValueError: If there are checkpoints and none of them is whole.

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

    def __init__(self, workdir: Path, warn: Callable[[str], None] = logging.warning):
        self.folder = (workdir / "checkpoints").absolute()
        self.sums = (workdir / "checksums").absolute()
        self.aside = (workdir / "damaged").absolute()
        self.warn = warn
        if jax.process_index() == 0:
            self._set_aside_damaged()
        _together("checkpoints are looked through")
        self.manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        keep = ocp.checkpoint_managers
        return ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                # Without best_fn the metrics, by which BestN chooses, would not be written.
                best_fn=_mean_loss,
                best_mode="min",
                preservation_policy=keep.AnyPreservationPolicy(
                    [
                        keep.LatestN(3),
                        keep.BestN(get_metric_fn=_mean_loss, reverse=True, n=1),
                    ]
                ),
            ),
        )

    def newest(self) -> int | None:
        """Step of the newest checkpoint."""
        return self.manager.latest_step()

    def save(
        self, step: int, state: PyTree, position: Any, config: dict[str, Any], *, loss: float
    ) -> bool:
        """Write in the background; the state may be donated to the next step at once.

        Args:
            step: Number of steps done.
            state: Arrays of the run.
            position: Where the data iterator is, something JSON can hold.
            config: Configuration of the run, something JSON can hold.
            loss: Mean loss since the last checkpoint, by which the best is chosen.

        Returns:
            Whether the write was begun (or had been made before). A disk that takes nothing is
            warned about and ends no run.
        """
        self._finish()
        if step in self.manager.all_steps():
            return True
        try:
            self.manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    data=ocp.args.JsonSave(position),
                    config=ocp.args.JsonSave(config),
                ),
                metrics={"loss": loss},
            )
        except Exception as error:
            self._warn_unwritten(error, step)
            return False
        return True

    def configuration(self) -> dict[str, Any] | None:
        """Read the configuration the newest checkpoint was made with; None without one."""
        step = self.newest()
        if step is None:
            return None
        try:
            args = ocp.args.Composite(config=ocp.args.JsonRestore())
            return self.manager.restore(step, args=args)["config"]
        except Exception as error:
            self._fall_back(step, error)
            return self.configuration()

    def restore(self, like: PyTree) -> tuple[PyTree, Any] | None:
        """Read the newest checkpoint that can be read.

        Args:
            like: A state whose shapes and places on devices are wanted. The checkpoint may have
                been written from any other places.

        Returns:
            The state and the position in the data; None without a checkpoint.

        Raises:
            ValueError: If none of those that are there can be read.
        """
        step = self.newest()
        if step is None:
            return None
        try:
            restored = self.manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(like), data=ocp.args.JsonRestore()
                ),
            )
            return restored["state"], restored["data"]
        except Exception as error:
            self._fall_back(step, error)
            return self.restore(like)

    def close(self) -> bool:
        """Wait until everything is on disk; returns whether the last checkpoint is."""
        written = self._finish()
        self.manager.close()
        return written

    def _finish(self) -> bool:
        """Wait for the write that is under way, and sum up what was written."""
        try:
            self.manager.wait_until_finished()
        except Exception as error:
            self._warn_unwritten(error)
            # The failed step must not count as one that is there.
            self.manager.reload()
            return False
        if jax.process_index() == 0:
            for step in self.manager.all_steps():
                record = self.sums / f"{step}.json"
                if not record.exists():
                    try:
                        self.sums.mkdir(exist_ok=True)
                        record.write_text(json.dumps(_sums(self.folder / str(step))))
                    except OSError as error:
                        self.warn(f"no checksums for step {step}: {_line(error)}")
            for record in self.sums.glob("*.json"):
                if not (self.folder / record.stem).exists():
                    record.unlink(missing_ok=True)
        return True

    def _warn_unwritten(self, error: Exception, step: int | None = None) -> None:
        which = "the last checkpoint" if step is None else f"the checkpoint of step {step}"
        kept = self._steps_on_disk()
        kept = f"step {kept[0]} is kept" if kept else "there is none yet"
        self.warn(f"{which} could not be written ({_line(error)}); the run goes on, {kept}")

    def _steps_on_disk(self) -> list[int]:
        """Steps with a folder, newest first."""
        if not self.folder.is_dir():
            return []
        return sorted(
            (int(p.name) for p in self.folder.iterdir() if p.name.isdigit()), reverse=True
        )

    def _set_aside_damaged(self) -> None:
        steps = self._steps_on_disk()
        damaged = {}
        for step in steps:
            reason = self._damage(step)
            if reason is None:
                break  # older ones are looked at when they are needed
            damaged[step] = reason
        self._move(damaged, len(damaged) < len(steps))
        # The manager reads the metrics of all of them when it opens.
        old = {
            step: "its metrics cannot be read"
            for step in self._steps_on_disk()
            if not _is_json(self.folder / str(step) / "metrics" / "metrics")
        }
        self._move(old, True)

    def _damage(self, step: int) -> str | None:
        """Say what is wrong with a checkpoint, or None."""
        folder, record = self.folder / str(step), self.sums / f"{step}.json"
        if not (folder / "_CHECKPOINT_METADATA").exists():
            return "it was never finished"
        if not record.exists():
            return None  # the run was killed before: reading it will tell
        try:
            wanted = json.loads(record.read_text())
            found = _sums(folder)
        except (OSError, ValueError) as error:
            return _line(error)
        wrong = [name for name in wanted if wanted[name] != found.get(name)]
        if not wrong:
            return None
        what = "is missing" if wrong[0] not in found else "was changed or cut short"
        return f"{wrong[0]} {what}"

    def _move(self, damaged: Mapping[int, str], others: bool) -> None:
        """Set checkpoints aside, if there are others to go on from."""
        if damaged and not others:
            reasons = "; ".join(f"step {step}: {reason}" for step, reason in damaged.items())
            raise ValueError(f"no checkpoint in {self.folder} can be read ({reasons})")
        for step, reason in damaged.items():
            self.aside.mkdir(exist_ok=True)
            number = len(list(self.aside.iterdir()))
            target = self.aside / f"{step}-{number}"
            (self.folder / str(step)).rename(target)
            (self.sums / f"{step}.json").unlink(missing_ok=True)
            self.warn(
                f"the checkpoint of step {step} cannot be read ({reason}); it was set aside as "
                f"{target}, falling back to the one before"
            )

    def _fall_back(self, step: int, error: Exception) -> None:
        """Set aside what could not be read, and open the folder again."""
        if jax.process_index() == 0:
            self._move({step: _line(error)}, len(self._steps_on_disk()) > 1)
        _together(f"step {step} was set aside")
        self.manager.close()
        self.manager = self._open()


def _together(name: str) -> None:
    """Wait for all processes."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def _mean_loss(metrics: Mapping[str, float]) -> float:
    return metrics["loss"]


def _sums(folder: Path) -> dict[str, int]:
    """CRC-32 of each file below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total = 0
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    total = zlib.crc32(chunk, total)
            found[str(path.relative_to(folder))] = total
    return found


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return True


def _line(error: BaseException) -> str:
    """What the system said, or the first line of an error, which with tensorstore may be of 100."""
    system = re.search(r"os_error_code='?(\d+)", str(error))
    if system:
        return os.strerror(int(system[1]))
    text = str(error).strip().splitlines()
    return (text[0][:160] if text else "") or type(error).__name__
