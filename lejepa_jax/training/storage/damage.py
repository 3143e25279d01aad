"""Which checkpoints of a folder are damaged, and where they go.

Damage is what checksums or the format condemn: a file that is missing, cut short or changed. A disk
that does not answer, a permission that is missing or a model of other shapes says nothing about a
checkpoint, and moves none.
"""

import errno
import itertools
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from lejepa_jax.training.storage.attempts import Failure
from lejepa_jax.training.storage.files import checksums, describe_error, read_checksums

# Codes of the system that say a part is missing; all others are no word about the content.
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}


class Folders(NamedTuple):
    """Where the checkpoints of a run are, a folder a step, their checksums, and damaged ones."""

    checkpoints: Path
    records: Path
    aside: Path

    def record(self, step: int) -> Path:
        """File with the checksums of a step."""
        return self.records / f"{step}.json"


def steps_on_disk(folders: Folders) -> list[int]:
    """Steps with a folder.

    Args:
        folders: Of the run.

    Returns:
        Steps, the newest first.

    Examples:
        >>> steps_on_disk(Folders(*[Path("/nowhere")] * 3))
        []
    """
    if not folders.checkpoints.is_dir():
        return []
    names = [path.name for path in folders.checkpoints.iterdir() if path.is_dir()]
    # Not `isdigit`: `²` is a digit, and no number.
    return sorted(
        (int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name)), reverse=True
    )


def set_aside_damaged(folders: Folders, warn: Callable[[str], None]) -> None:
    """Set the newest checkpoints aside until one is whole.

    Args:
        folders: Of the run.
        warn: Called with a line for each.

    Raises:
        ValueError: If none is whole, or one cannot be read at the moment; nothing is moved then.
    """
    steps = steps_on_disk(folders)
    damaged = {}
    for step in steps:
        reason = _examine(folders, step, _damage)
        if reason is None:
            break  # older ones are looked at when they are needed
        damaged[step] = reason
    set_aside(folders, damaged, len(damaged) < len(steps), warn)
    # Orbax reads the losses of all of them when it opens the folder.
    unrated = {step: _examine(folders, step, _bad_metrics) for step in steps_on_disk(folders)}
    unrated = {step: reason for step, reason in unrated.items() if reason is not None}
    set_aside(folders, unrated, True, warn)


def set_aside_unread(
    folders: Folders, step: int, failure: Failure, warn: Callable[[str], None]
) -> None:
    """Set a checkpoint aside that could not be read, if that is its own fault.

    Args:
        folders: Of the run.
        step: Of the checkpoint.
        failure: What went wrong.
        warn: Called with a line for each that is moved.

    Raises:
        ValueError: If the system failed and not the checkpoint, if the checkpoint has not changed
            since it was written, or if it is the only one; nothing is moved then.
    """
    if failure.code is not None and failure.code not in _MISSING:
        raise _unread(folders, step, failure.reason)
    if read_checksums(folders.record(step)) is not None:
        # They were compared when the folder was opened.
        raise ValueError(
            f"the checkpoint of step {step} in {folders.checkpoints} is as it was written, but "
            f"cannot be read ({failure.reason}); nothing was moved"
        )
    set_aside(folders, {step: failure.reason}, len(steps_on_disk(folders)) > 1, warn)
    set_aside_damaged(folders, warn)


def set_aside(
    folders: Folders, damaged: Mapping[int, str], others: bool, warn: Callable[[str], None]
) -> None:
    """Move checkpoints where nobody looks for them, if there are others to go on from.

    Args:
        folders: Of the run.
        damaged: What is wrong, by step.
        others: Whether there are others.
        warn: Called with a line for each.

    Raises:
        ValueError: If there are no others.
        OSError: If one cannot be moved.
    """
    if damaged and not others:
        reasons = "; ".join(f"step {step}: {reason}" for step, reason in damaged.items())
        raise ValueError(f"no checkpoint in {folders.checkpoints} can be read ({reasons})")
    for step, reason in damaged.items():
        folders.aside.mkdir(exist_ok=True)
        names = (folders.aside / f"{step}-{number}" for number in itertools.count())
        target = next(path for path in names if not path.exists())
        source = folders.checkpoints / str(step)
        try:
            shutil.move(source, target)  # unlike a rename, also to another file system
        except OSError:
            if source.exists():
                shutil.rmtree(target, ignore_errors=True)
            raise
        folders.record(step).unlink(missing_ok=True)
        warn(
            f"the checkpoint of step {step} cannot be read ({reason}); it was set aside as "
            f"{target}, falling back to the one before"
        )


def _examine(
    folders: Folders, step: int, examine: Callable[[Folders, int], str | None]
) -> str | None:
    try:
        return examine(folders, step)
    except OSError as error:
        if error.errno in _MISSING:
            return describe_error(error)
        raise _unread(folders, step, describe_error(error)) from None


def _damage(folders: Folders, step: int) -> str | None:
    """Say what is wrong with a checkpoint, or None."""
    folder = folders.checkpoints / str(step)
    if not (folder / "_CHECKPOINT_METADATA").exists():
        return "it was never finished"
    wanted = read_checksums(folders.record(step))
    if wanted is None:
        return None  # the run was killed before, or the disk was full: reading it will show
    found = checksums(folder)
    wrong = [name for name in wanted if wanted[name] != found.get(name)]
    if not wrong:
        return None
    what = "is missing" if wrong[0] not in found else "was changed or cut short"
    return f"{wrong[0]} {what}"


def _bad_metrics(folders: Folders, step: int) -> str | None:
    try:
        json.loads((folders.checkpoints / str(step) / "metrics" / "metrics").read_text())
    except ValueError:
        return "its metrics cannot be read"
    return None


def _unread(folders: Folders, step: int, reason: str) -> ValueError:
    return ValueError(
        f"the checkpoint of step {step} in {folders.checkpoints} could not be read "
        f"({reason}); nothing was moved. Try again, or move it away to go on from "
        "the one before"
    )
