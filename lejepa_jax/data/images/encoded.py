"""Images that are read and decoded when they are asked for."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32, Int64

from lejepa_jax.checks import MissingExtra
from lejepa_jax.data.images.arrays import DecodedImages
from lejepa_jax.data.images.decoding import ImageFile, read_image, read_sample, shorter_side
from lejepa_jax.data.images.levels import Scale
from lejepa_jax.data.records import BadRecord, Ledger, TooManyBadRecords
from lejepa_jax.data.source import Batch, ImageSource, Origin

_CHECKED = 256  # images decoded at start-up of a data set that is too large to decode whole
_VALUES_AN_IMAGE = 4096  # that percentiles are taken of

Encoded = tuple[ImageFile, int]
"""What a data set is read as: a file or the decoded pixels, and the label."""


class ByteBudget:
    """Bytes that decoding may take at a time, shared by threads; more than all are lent to one.

    Args:
        limit: How many.
    """

    def __init__(self, limit: int):
        self._limit, self._used = limit, 0
        self._turn, self._freed = threading.Lock(), threading.Condition()

    @contextlib.contextmanager
    def hold(self, num_bytes: int) -> Iterator[None]:
        """Wait until so many bytes are free, or nobody holds any, and hold them."""
        # One waits at a time, so that a large image is not passed by small ones for ever.
        with self._turn, self._freed:
            self._freed.wait_for(lambda: not self._used or self._used + num_bytes <= self._limit)
            self._used += num_bytes
        try:
            yield
        finally:
            with self._freed:
                self._used -= num_bytes
                self._freed.notify_all()


class Decoding(NamedTuple):
    """What the sources of a load share.

    Attributes:
        ledger: Where bad records are kept.
        scale: Which values become 0 and 255.
        budget: Bytes that decoding may take at a time.
        num_threads: How many threads share a batch.
        pool: Those threads.
    """

    ledger: Ledger
    scale: Scale
    budget: ByteBudget
    num_threads: int
    pool: ThreadPoolExecutor


class EncodedImages(ImageSource):
    """Images read and decoded when asked for, a batch shared out over threads.

    An image that cannot be read is replaced by the next one that can, so batches keep their size
    and the order stays a function of the index; the ``index`` of a row says which image it holds.

    Args:
        fetch: Reads records by number.
        origin: What a record is called, and where it lies.
        records: Numbers of the records of this source.
        labels: Class of each; None where learning them means reading everything.
        image_size: Height and width of the images given out.
        channels: 1 (gray) or 3 (RGB).
        class_names: One name a class.
        decoding: What the sources of a load share.
    """

    origin: Origin
    records: Int64[np.ndarray, " n"]

    def __init__(
        self,
        fetch: Callable[[list[int]], list[Encoded]],
        origin: Origin,
        records: Int64[np.ndarray, " n"],
        *,
        labels: Int32[np.ndarray, " n"] | None,
        image_size: int,
        channels: int,
        class_names: Sequence[str],
        decoding: Decoding,
    ):
        self._fetch, self.origin, self.records = fetch, origin, records
        self._decoding = decoding
        self.labels, self.image_size, self.channels = labels, image_size, channels
        self.class_names = tuple(class_names)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        """Images found unreadable so far, in all splits of the load."""
        return self._decoding.ledger.records()

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Read and decode the images at `indices`."""
        out = self._allocate(len(indices))
        held = np.array(indices, np.int64)
        rows = np.arange(len(held))
        for _ in range(len(self)):
            failed = self._decode(rows, held[rows], out)
            if not failed:
                out["index"][:] = held
                return out
            self._decoding.ledger.add(list(failed.values()))
            rows = np.array(sorted(failed))
            held[rows] = (held[rows] + 1) % len(self)
        raise TooManyBadRecords("no image could be read")

    def read(self, indices: Int[np.ndarray, " b"]) -> tuple[Batch, dict[int, BadRecord]]:
        """Read and decode the images at `indices`; nothing stands in for what is unreadable.

        Returns:
            The images, and what could not be read by its row, which is black.
        """
        out = self._allocate(len(indices))
        out["index"][:] = indices
        return out, self._decode(np.arange(len(indices)), indices, out)

    def subset(self, indices: Int[np.ndarray, " b"]) -> "EncodedImages":
        """Return a source of only the images at `indices`, in that order."""
        return EncodedImages(
            self._fetch,
            self.origin,
            self.records[indices],
            labels=None if self.labels is None else self.labels[indices],
            image_size=self.image_size,
            channels=self.channels,
            class_names=self.class_names,
            decoding=self._decoding,
        )

    def in_memory(self) -> DecodedImages:
        """Decode everything once and drop what is unreadable."""
        out = self._allocate(len(self))
        every = np.arange(len(self))
        failed = self._decode(every, every, out)
        self._report(failed, len(self))
        records = self.records
        if failed:
            out = {key: np.delete(rows, sorted(failed), axis=0) for key, rows in out.items()}
            records = np.delete(records, sorted(failed))
        return DecodedImages(
            out["image"],
            out["label"],
            out["aspect"],
            self.class_names,
            self._decoding.ledger,
            origin=self.origin,
            records=records,
        )

    def check(self) -> None:
        """Decode a few images evenly spread, so that an unreadable data set is known at once."""
        some = self._spread()
        failed = self._decode(np.arange(len(some)), some, self._allocate(len(some)))
        self._report(failed, len(some))

    def typical_side(self) -> int | None:
        """Find the median of the shorter sides of a few images evenly spread, by their headers."""
        sides = []
        for record in self.records[self._spread()].tolist():
            with contextlib.suppress(Exception):  # decoding it will say what is wrong
                sides.append(shorter_side(self._fetch([record])[0][0]))
        known = sorted(side for side in sides if side is not None)
        return known[len(known) // 2] if known else None

    def percentiles(self, percentiles: tuple[float, float]) -> tuple[float, float]:
        """Find percentiles of the values of a few images evenly spread, as they are in the files.

        Raises:
            ValueError: If no image can be read, or they are of several types.
        """
        samples, kinds = [], set()
        for record in self.records[self._spread()].tolist():
            with contextlib.suppress(Exception):  # decoding it will say what is wrong
                file, _ = self._fetch([record])[0]
                values, kind = read_sample(file, self.channels, _VALUES_AN_IMAGE)
                samples.append(values)
                kinds.add(kind.name)
        title = self._decoding.ledger.title
        if not samples:
            self.check()  # which says why
            raise ValueError(f"{title} has no images to take percentiles of")
        if len(kinds) > 1:
            raise ValueError(
                f"data_range cannot be percentiles where images are of several types: {title} has "
                f"{', '.join(sorted(kinds))}"
            )
        low, high = np.percentile(np.concatenate(samples), percentiles).tolist()
        if not low < high:
            raise ValueError(f"data_range cannot be percentiles: those of {title} are all {low:g}")
        return low, high

    def _spread(self) -> Int64[np.ndarray, " k"]:
        """Positions of a few images."""
        return np.unique(np.linspace(0, len(self) - 1, _CHECKED).astype(np.int64))

    def _report(self, failed: dict[int, BadRecord], num_tried: int) -> None:
        self._decoding.ledger.add(list(failed.values()), num_tried)
        self._decoding.scale.check(self._decoding.ledger.title)

    def _allocate(self, n: int) -> Batch:
        return {
            "image": np.zeros((n, self.image_size, self.image_size, self.channels), np.uint8),
            "label": np.full(n, -1, np.int32),
            "index": np.zeros(n, np.int32),
            "aspect": np.ones(n, np.float32),
        }

    def _decode(self, rows: np.ndarray, indices: np.ndarray, out: Batch) -> dict[int, BadRecord]:
        """Decode `indices` into the `rows` of `out`; return what went wrong, by row."""
        # Reading records in runs is much cheaper than one by one; four runs a thread keep all busy.
        size = int(np.clip(len(rows) // (4 * self._decoding.num_threads), 1, 256))
        runs = [slice(i, i + size) for i in range(0, len(rows), size)]
        work = functools.partial(self._decode_run, out=out)
        results = self._decoding.pool.map(work, [rows[r] for r in runs], [indices[r] for r in runs])
        return {row: bad for result in results for row, bad in result}

    def _decode_run(
        self, rows: np.ndarray, indices: np.ndarray, out: Batch
    ) -> list[tuple[int, BadRecord]]:
        records = self.records[indices].tolist()
        failed = []
        # A decoder may raise anything on damaged or hostile bytes, hence the broad excepts.
        try:
            fetched = self._fetch(records)
        except MissingExtra:
            raise
        except Exception:
            fetched = [None] * len(records)
        for row, record, item in zip(rows.tolist(), records, fetched, strict=True):
            try:
                file, label = item or self._fetch([record])[0]
                image, aspect = read_image(
                    file,
                    self.image_size,
                    self.channels,
                    scale=self._decoding.scale,
                    hold=self._decoding.budget.hold,
                )
                out["image"][row], out["label"][row], out["aspect"][row] = image, label, aspect
            except MissingExtra:
                raise
            except Exception as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                failed.append((row, BadRecord(self.origin.describe(record), reason)))
        return failed
