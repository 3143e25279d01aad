"""What a reader of clouds is: a function that is asked for a data set and gives arrays by split."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lejepa_jax.data.records import Ledger


class MemoryBudget:
    """How many bytes a load may still take, counted before they are taken.

    Args:
        limit: Bytes altogether.

    Raises:
        ValueError: For a negative limit.

    Examples:
        >>> budget = MemoryBudget(100)
        >>> budget.take(60, "a.ply")
        >>> budget.take(60, "b.ply")
        Traceback (most recent call last):
            ...
        ValueError: memory_limit=100 is less than b.ply needs: 60 bytes beside 60 of others
    """

    def __init__(self, limit: int):
        if limit < 0:
            raise ValueError(f"memory_limit must not be negative, got {limit}")
        self.limit, self.taken = limit, 0

    @property
    def left(self) -> int:
        """Bytes that may still be taken."""
        return self.limit - self.taken

    def take(self, num_bytes: int, what: str) -> None:
        """Count bytes that are about to be read.

        Args:
            num_bytes: How many.
            what: What they are, for the error.

        Raises:
            ValueError: If that is more than is left.
        """
        if num_bytes > self.left:
            raise ValueError(
                f"memory_limit={self.limit} is less than {what} needs: {num_bytes} bytes beside "
                f"{self.taken} of others"
            )
        self.taken += num_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class CloudRequest:
    """What a reader is asked for.

    Attributes:
        name: The whole name of the data set.
        argument: What the name says after its first colon, such as a path; empty without one.
        num_points: Points to keep of each cloud.
        data_dir: The folder of the data, if one was named.
        holdout: Which part is held out, "test" or "validation".
        ledger: Enter here the clouds that cannot be read.
        budget: Count here what is read.
    """

    name: str
    argument: str
    num_points: int
    data_dir: str | None
    holdout: str
    ledger: Ledger
    budget: MemoryBudget


class CloudSets(NamedTuple):
    """What a reader found.

    Attributes:
        splits: Arrays by name of the splits `train`, `test` and `validation`: `points` (n p 3),
            `label` (n), and where there are any `normals` (n p 3), `part` (n p) and `exists` (n p).
        class_names: One name a class.
        where: Where it was found, for the log and for errors.
        part_names: One name a part.
        part_class: The class that each part belongs to.
        ignored: Features and arrays that were found and are not used.
        version: What identifies the data on any machine, such as checksums of the files.
    """

    splits: Mapping[str, dict[str, np.ndarray]]
    class_names: tuple[str, ...]
    where: str
    part_names: tuple[str, ...] = ()
    part_class: np.ndarray | None = None
    ignored: tuple[str, ...] = ()
    version: str = ""


CloudReader = Callable[[CloudRequest], CloudSets]
"""Gives the splits of the data set that it is asked for, or a `ValueError` of one line."""


def version_of_files(files: Iterable[Path]) -> str:
    """Identify files by their names and sizes.

    Args:
        files: The files.

    Returns:
        A short text.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def refuse_argument(request: CloudRequest) -> None:
    """Require a name without a suffix.

    Args:
        request: What was asked for.

    Raises:
        ValueError: If the name has one.
    """
    kind, colon, _ = request.name.partition(":")
    if colon:
        raise ValueError(f"data must be {kind}, which has no variants, got {request.name!r}")
