"""What a reader of fields is: a function that is asked for a data set and gives its records."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from lejepa_jax.checks import check_positive
from lejepa_jax.data.fields.source import Stored
from lejepa_jax.data.records import Ledger


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldOptions:
    """How fields are read, where the default may not fit.

    Attributes:
        clip: Two percentiles of each channel, such as (0.1, 99.9), beyond which values are clipped;
            None clips nothing.
        missing: A value that stands for a missing one, such as -9999, beside NaN.
        channel_names: Names of the channels, by which a model knows which of them an input has;
            by default what the files say, if they say it.
        group: Array or column that says what a field is of, such as the speaker or the patient.
        hold_out: Groups whose fields are the test part, by name or number; see `hold_out_groups`.
        unlabeled_held_out: Whether the training fields of these groups are trained on without
            labels.
        test_fraction: Share of the fields held out when a split has to be made.
        memory_limit: A data set of up to this many bytes is kept in memory, a larger one is read
            on demand. An archive must fit into it.
        file_limit: Bytes that one file may unpack to; more is a bad record.

    Raises:
        ValueError: For a value out of range.
    """

    clip: tuple[float, float] | None = None
    missing: float | None = None
    channel_names: tuple[str, ...] = ()
    group: str = ""
    hold_out: tuple[str, ...] = ()
    unlabeled_held_out: bool = False
    test_fraction: float = 0.2
    memory_limit: int = 2**31
    file_limit: int = 2**30

    def __post_init__(self):
        if self.clip is not None and not 0 <= self.clip[0] < self.clip[1] <= 100:
            raise ValueError(f"clip must be two percentiles (low, high), got {self.clip}")
        if self.hold_out and not self.group:
            raise ValueError(f"group must name what hold_out={self.hold_out} is of, got ''")
        if self.unlabeled_held_out and not self.hold_out:
            raise ValueError("unlabeled_held_out wants groups in hold_out, got none")
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"test_fraction must lie in (0, 1), got {self.test_fraction}")
        check_positive("memory_limit", self.memory_limit)
        check_positive("file_limit", self.file_limit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldRequest:
    """What a reader is asked for.

    Attributes:
        name: The whole name of the data set.
        path: Where it is: what the name says after its colon, below `data_dir` if there is one.
        num_axes: Axes of space, 1 to 3.
        options: How to read it.
        ledger: Enter here what is known to be unreadable.
    """

    name: str
    path: Path
    num_axes: int
    options: FieldOptions
    ledger: Ledger

    def with_channels(self, values: np.ndarray) -> np.ndarray:
        """Give values (*space c); where the axis of channels is missing there is one channel.

        Raises:
            ValueError: For another number of axes.
        """
        if values.ndim == self.num_axes:
            return values[..., None]
        if values.ndim != self.num_axes + 1:
            raise ValueError(
                f"it must have {self.num_axes} axes, or one more for channels, "
                f"got shape {values.shape}"
            )
        return values


class Records(NamedTuple):
    """The records of one split.

    Attributes:
        read: Gives the values of a record by its number; may be called by several threads at once,
            and may raise anything.
        labels: Class of each, -1 where unknown.
        describe: What a record is called in messages.
        path: The file of a record, where records are files.
        groups: What each is of, as text, where `FieldOptions.group` asks for it.
    """

    read: Callable[[int], Stored]
    labels: Int32[np.ndarray, " n"]
    describe: Callable[[int], str] = lambda i: f"record {i}"
    path: Callable[[int], str] | None = None
    groups: np.ndarray | None = None


class FieldSets(NamedTuple):
    """What a reader found.

    Attributes:
        splits: Records of `train` and maybe of `test` and `validation`.
        class_names: One name a class; empty without labels.
        spacing: Distance of two samples along each axis, if it is known and the same for all.
        version: What identifies the data on any machine.
        info: Facts for the log.
        channel_names: Of the channels, if the files say them.
    """

    splits: Mapping[str, Records]
    class_names: tuple[str, ...]
    spacing: tuple[float, ...] | None = None
    version: str = ""
    info: Mapping[str, str] = MappingProxyType({})
    channel_names: tuple[str, ...] = ()


FieldReader = Callable[[FieldRequest], FieldSets]
"""Gives the records of the data set that it is asked for, or a `ValueError` of one line."""


def check_spacing(
    own: tuple[float, ...] | None, wanted: tuple[float, ...] | None, others: str = "the others"
) -> None:
    """Refuse a field whose samples are not as far apart as those of the others.

    Args:
        own: Distance of two samples along each axis, if it is known.
        wanted: Of the others.
        others: What they are, for the error.

    Raises:
        ValueError: If they differ by more than a thousandth, or one of them is not known.

    Examples:
        >>> check_spacing((0.5,), (1.0,), "the first file")
        Traceback (most recent call last):
            ...
        ValueError: its samples are (0.5,) apart, those of the first file (1.0,)
    """
    if own is None or wanted is None:
        same = own is wanted
    else:
        same = len(own) == len(wanted) and np.allclose(own, wanted, rtol=1e-3)
    if not same:
        raise ValueError(f"its samples are {own} apart, those of {others} {wanted}")


def numbered_labels(labels: np.ndarray, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number classes that are given by number or by name.

    Args:
        labels: One an example: integers, -1 where unknown; or names, empty where unknown.
        count: Examples there are.

    Returns:
        Numbers, and one name a class.

    Raises:
        ValueError: For another length or type.

    Examples:
        >>> numbered_labels(np.array(["b", "", "a"]), 3)
        (array([ 1, -1,  0], dtype=int32), ('a', 'b'))
        >>> numbered_labels(np.array([3, 7, 3]), 3)[1]
        ('3', '7')
    """
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise ValueError(f"labels must have one entry a field ({count}), got {labels.shape}")
    if labels.dtype.kind in "SU":
        known = sorted(set(labels.astype(str).tolist()) - {""})
        number = {"": -1, **{name: i for i, name in enumerate(known)}}
        return np.array([number[x] for x in labels.astype(str)], np.int32), tuple(known)
    whole = labels.dtype.kind == "f" and (labels == np.floor(labels)).all()
    if labels.dtype.kind not in "iub" and not whole:
        raise ValueError(f"labels must be integers or names, got {labels.dtype}")
    labels = labels.astype(np.int64)
    values = np.unique(labels[labels >= 0])
    numbers = np.where(labels >= 0, np.searchsorted(values, labels), -1)
    return numbers.astype(np.int32), tuple(str(x) for x in values.tolist())


def version_of(paths: Iterable[Path]) -> str:
    """Identify files by their names and sizes."""
    digest = hashlib.sha256()
    for path in paths:
        text = f"{path.name} {path.stat().st_size}\n"
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]
