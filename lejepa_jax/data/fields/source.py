"""Fields by index: series, planes and volumes of any channels, as they were stored."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int32, Int64, Shaped

from lejepa_jax.checks import MissingExtra
from lejepa_jax.data.fields.normalization import Normalization
from lejepa_jax.data.records import BadRecord, Ledger, TooManyBadRecords
from lejepa_jax.data.source import Batch, Origin, Source

#: Types that reach the devices as they are.
KEPT_TYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32")
_CHECKED = 64

Stored = Any
"""An array (*space c), or what has its `shape`, `ndim`, `size` and `dtype` and is sliced like one:
memory-mapped, or read in chunks, so that only what is cut out is read."""


class Layout(NamedTuple):
    """What all fields of a data set have in common.

    Attributes:
        shape: Samples stored along each axis of space; smaller fields are padded at their ends,
            of larger ones the middle is kept.
        channels: Values of each sample.
        dtype: Their type.
        spacing: Distance of two samples along each axis; None where it is not known.
        channel_names: Of the channels, if they have names.
    """

    shape: tuple[int, ...]
    channels: int
    dtype: np.dtype
    spacing: tuple[float, ...] | None = None
    channel_names: tuple[str, ...] = ()

    @property
    def num_bytes(self) -> int:
        """Size of one field."""
        return int(np.prod(self.shape)) * self.channels * self.dtype.itemsize


class FieldSource(Source):
    """Random access to fields of one layout.

    ``source[i]`` has ``values`` (*shape c) in the type of the data, ``extent`` (int32, how many of
    the samples along each axis are there: the rest is padding), ``label`` and ``index``.

    Attributes:
        layout: Shape, channels, type and spacing.
        ledger: Where bad records of the load are kept.
        normalization: Statistics of the channels of the training part, once they are measured.
    """

    layout: Layout
    ledger: Ledger
    normalization: Normalization | None = None

    @property
    def channels(self) -> int:
        """Values of each sample."""
        return self.layout.channels

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        """Fields that could not be read so far, in all splits of the load."""
        return self.ledger.records()


class FieldsInMemory(FieldSource):
    """Fields held as one array.

    Args:
        values: The fields, padded.
        extents: Samples of each along each axis.
        labels: Class of each, -1 where unknown.
        class_names: One name a class.
        layout: What they have in common.
        ledger: Where bad records are kept.
        origin: Where they come from.
        records: The number of each in `origin`.
    """

    labels: Int32[np.ndarray, " n"]

    def __init__(
        self,
        values: Shaped[np.ndarray, "n *space c"],
        extents: Int32[np.ndarray, "n rank"],
        labels: Int32[np.ndarray, " n"],
        class_names: Sequence[str],
        layout: Layout,
        ledger: Ledger,
        *,
        origin: Origin,
        records: Int64[np.ndarray, " n"],
    ):
        self._values, self._extents, self.labels = values, extents, labels
        self.class_names, self.layout, self.ledger = tuple(class_names), layout, ledger
        self.origin, self.records = origin, records

    def __len__(self) -> int:
        return len(self._values)

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the fields at `indices`, stacked."""
        return {
            "values": self._values[indices],
            "extent": self._extents[indices],
            "label": self.labels[indices],
            "index": indices.astype(np.int32),
        }

    def subset(self, indices: Int[np.ndarray, " b"]) -> "FieldsInMemory":
        """Return a source of only the fields at `indices`, in that order."""
        assert self.records is not None
        assert self.origin is not None
        return FieldsInMemory(
            self._values[indices],
            self._extents[indices],
            self.labels[indices],
            self.class_names,
            self.layout,
            self.ledger,
            origin=self.origin,
            records=self.records[indices],
        )


class FieldsOnDemand(FieldSource):
    """Fields that are read when they are asked for, a batch shared out over threads.

    A field that cannot be read is replaced by the next one that can; the ``index`` of a row says
    which it holds.

    Args:
        read: Gives the values of a record.
        labels: Class of each.
        class_names: One name a class.
        layout: What they have in common.
        ledger: Where bad records are kept.
        origin: Where they come from.
        records: Numbers of the records of this source.
        pool: Threads that read.
    """

    labels: Int32[np.ndarray, " n"]

    def __init__(
        self,
        read: Callable[[int], Stored],
        labels: Int32[np.ndarray, " n"],
        class_names: Sequence[str],
        layout: Layout,
        ledger: Ledger,
        *,
        origin: Origin,
        records: Int64[np.ndarray, " n"],
        pool: ThreadPoolExecutor,
    ):
        self._read, self.labels, self._pool = read, labels, pool
        self.class_names, self.layout, self.ledger = tuple(class_names), layout, ledger
        self.origin, self.records = origin, records

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Int[np.ndarray, " b"]) -> "FieldsOnDemand":
        """Return a source of only the fields at `indices`, in that order."""
        assert self.records is not None
        assert self.origin is not None
        return FieldsOnDemand(
            self._read,
            self.labels[indices],
            self.class_names,
            self.layout,
            self.ledger,
            origin=self.origin,
            records=self.records[indices],
            pool=self._pool,
        )

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the fields at `indices`, stacked; another where one cannot be read."""
        asked = np.asarray(indices, np.int64)
        batch, failed = self.read(asked)
        self.ledger.add(failed.values())
        for row in sorted(failed):
            for step in range(1, len(self)):
                other = (asked[row] + step) % len(self)
                found, bad = self.read(np.array([other]))
                if not bad:
                    for name in batch:
                        batch[name][row] = found[name][0]
                    break
                self.ledger.add(bad.values())
            else:
                raise TooManyBadRecords(f"{self.ledger.title} has no field that can be read")
        return batch

    def in_memory(self) -> FieldsInMemory:
        """Read everything once and leave out what is unreadable."""
        batch, failed = self.read(np.arange(len(self)))
        self.ledger.add(failed.values(), len(self))
        kept = np.delete(np.arange(len(self)), sorted(failed))
        assert self.records is not None
        assert self.origin is not None
        return FieldsInMemory(
            batch["values"][kept],
            batch["extent"][kept],
            self.labels[kept],
            self.class_names,
            self.layout,
            self.ledger,
            origin=self.origin,
            records=self.records[kept],
        )

    def check(self) -> None:
        """Read a few fields evenly spread, so that an unreadable data set is known at once."""
        some = np.unique(np.linspace(0, len(self) - 1, _CHECKED).astype(np.int64))
        _, failed = self.read(some)
        self.ledger.add(failed.values(), len(some))

    def read(self, indices: Int[np.ndarray, " b"]) -> tuple[Batch, dict[int, BadRecord]]:
        """Read the fields at `indices`; nothing stands in for what is unreadable.

        Returns:
            The fields, and what could not be read by its row, which is zero and of no extent.
        """
        shape, count = self.layout.shape, len(indices)
        batch = {
            "values": np.zeros((count, *shape, self.layout.channels), self.layout.dtype),
            "extent": np.zeros((count, len(shape)), np.int32),
            "label": self.labels[indices],
            "index": indices.astype(np.int32),
        }
        assert self.records is not None
        assert self.origin is not None
        describe = self.origin.describe

        def one(row: int, record: int) -> BadRecord | None:
            try:
                values = fit(self._read(record), self.layout)
            except MissingExtra:
                raise
            except Exception as error:  # damaged and hostile files raise errors of all kinds
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                return BadRecord(describe(record), reason)
            where = tuple(slice(n) for n in values.shape[:-1])
            batch["values"][row][where] = values
            batch["extent"][row] = values.shape[:-1]
            return None

        found = self._pool.map(one, range(count), self.records[indices].tolist())
        return batch, {row: bad for row, bad in enumerate(found) if bad is not None}


def fit(values: Stored, layout: Layout) -> np.ndarray:
    """Cut the middle out of what is larger than a layout, and widen the type if that is safe.

    Args:
        values: A field.
        layout: What it has to fit.

    Returns:
        The field; it may be smaller than the layout.

    Raises:
        ValueError: If it has other axes or channels, is empty, or its type would be narrowed.

    Examples:
        >>> layout = Layout((2,), 1, np.dtype(np.int16))
        >>> fit(np.arange(4, dtype=np.int16)[:, None], layout)[:, 0].tolist()
        [1, 2]
        >>> fit(np.zeros((2, 1), np.float32), layout)
        Traceback (most recent call last):
            ...
        ValueError: it holds float32, which int16 of the others cannot hold
    """
    rank = len(layout.shape)
    if values.ndim != rank + 1:
        raise ValueError(f"it must have {rank} axes and channels, got shape {values.shape}")
    if values.shape[-1] != layout.channels:
        raise ValueError(f"it has {values.shape[-1]} channels, the others have {layout.channels}")
    if not values.size:
        raise ValueError(f"it is empty, of shape {values.shape}")
    if not np.can_cast(values.dtype, layout.dtype, "safe"):
        raise ValueError(f"it holds {values.dtype}, which {layout.dtype} of the others cannot hold")
    starts = [max((n - m) // 2, 0) for n, m in zip(values.shape, layout.shape, strict=False)]
    where = tuple(slice(s, s + m) for s, m in zip(starts, layout.shape, strict=True))
    return np.asarray(values[where], layout.dtype)


def check_channel_names(names: Sequence[str], channels: int) -> None:
    """Require a name of its own for each channel, or none at all.

    Examples:
        >>> check_channel_names(("red", "red"), 2)
        Traceback (most recent call last):
            ...
        ValueError: channel_names must be 2 different names or none, got ('red', 'red')
    """
    if names and len(set(names)) != channels:
        given = tuple(names)
        raise ValueError(f"channel_names must be {channels} different names or none, got {given}")


def kept_type(dtype: np.dtype) -> np.dtype:
    """Type in which values are kept: their own, where devices know it.

    Args:
        dtype: Of a file.

    Returns:
        The type: float64 becomes float32, for devices compute in it.

    Raises:
        ValueError: For 64-bit integers, complex numbers and anything that is not numeric.

    Examples:
        >>> kept_type(np.dtype(">u2")), kept_type(np.dtype("float64"))
        (dtype('uint16'), dtype('float32'))
    """
    if dtype.name in KEPT_TYPES:
        return dtype.newbyteorder("=")
    if dtype.name == "float64":
        return np.dtype(np.float32)
    hint = ": save them as int32 or float32" if dtype.kind in "iuf" else ""
    raise ValueError(f"values must be of {', '.join(KEPT_TYPES)} or float64, got {dtype}{hint}")


def narrowed(values: Stored) -> Stored:
    """Give a field of float64 as one of float32, of which only what is cut out is converted.

    Examples:
        >>> narrowed(np.zeros((3, 1)))[:2].dtype
        dtype('float32')
    """
    return _Narrowed(values) if values.dtype.name == "float64" else values


class _Narrowed:
    """A field of float64 of which only what is cut out becomes float32."""

    def __init__(self, values: Stored):
        self._values = values
        self.shape, self.ndim, self.size = values.shape, values.ndim, values.size
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, where: Any) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.asarray(self._values[where]).astype(np.float32)
