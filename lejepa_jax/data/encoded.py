"""Images that are read and decoded when they are asked for."""

import functools
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int, Int32

from lejepa_jax.data.arrays import DecodedImages
from lejepa_jax.data.images import read_image
from lejepa_jax.data.records import BadRecord, Ledger
from lejepa_jax.data.source import Batch, ImageSource

_CHECKED = 256  # images decoded at start-up of a data set that is too large to decode whole

Encoded = tuple[str | io.BytesIO | np.ndarray, int]
"""What a data set is read as: a file or the decoded pixels, and the label."""


class EncodedImages(ImageSource):
    """Images read and decoded when asked for, a batch shared out over threads.

    An image that cannot be read is replaced by the next one that can, so batches keep their size
    and the order stays a function of the index; the ``index`` of a row says which image it holds.

    Args:
        fetch: Reads records by number.
        name: What a record is called in messages.
        records: Numbers of the records of this source.
        labels: Class of each; None where learning them means reading everything.
        image_size: Height and width of the images given out.
        channels: 1 (gray) or 3 (RGB).
        class_names: One name a class.
        ledger: Where bad records are kept.
        num_threads: How many threads share a batch.
        pool: Those threads.
    """

    def __init__(
        self,
        fetch: Callable[[list[int]], list[Encoded]],
        name: Callable[[int], str],
        records: np.ndarray,
        *,
        labels: Int32[np.ndarray, " n"] | None,
        image_size: int,
        channels: int,
        class_names: Sequence[str],
        ledger: Ledger,
        num_threads: int,
        pool: ThreadPoolExecutor,
    ):
        self._fetch, self._name, self._records = fetch, name, records
        self._ledger, self._num_threads, self._pool = ledger, num_threads, pool
        self.labels, self.image_size, self.channels = labels, image_size, channels
        self.class_names = tuple(class_names)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        """Images found unreadable so far, in all splits of the load."""
        return self._ledger.records()

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
            self._ledger.add(failed.values())
            rows = np.array(sorted(failed))
            held[rows] = (held[rows] + 1) % len(self)
        raise ValueError("no image could be read")

    def subset(self, indices: Int[np.ndarray, " b"]) -> "EncodedImages":
        """Return a source of only the images at `indices`, in that order."""
        return EncodedImages(
            self._fetch,
            self._name,
            self._records[indices],
            labels=None if self.labels is None else self.labels[indices],
            image_size=self.image_size,
            channels=self.channels,
            class_names=self.class_names,
            ledger=self._ledger,
            num_threads=self._num_threads,
            pool=self._pool,
        )

    def in_memory(self) -> DecodedImages:
        """Decode everything once and drop what is unreadable."""
        out = self._allocate(len(self))
        every = np.arange(len(self))
        failed = self._decode(every, every, out)
        self._ledger.add(failed.values())
        if len(failed) == len(self):
            raise ValueError("no image could be read")
        if failed:
            out = {key: np.delete(rows, sorted(failed), axis=0) for key, rows in out.items()}
        return DecodedImages(
            out["image"], out["label"], out["aspect"], self.class_names, self._ledger
        )

    def check(self) -> None:
        """Decode a few images evenly spread, so that an unreadable data set is known at once."""
        some = np.unique(np.linspace(0, len(self) - 1, _CHECKED).astype(np.int64))
        failed = self._decode(np.arange(len(some)), some, self._allocate(len(some)))
        self._ledger.add(failed.values())

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
        size = int(np.clip(len(rows) // (4 * self._num_threads), 1, 256))
        runs = [slice(i, i + size) for i in range(0, len(rows), size)]
        work = functools.partial(self._decode_run, out=out)
        results = self._pool.map(work, [rows[r] for r in runs], [indices[r] for r in runs])
        return {row: bad for result in results for row, bad in result}

    def _decode_run(
        self, rows: np.ndarray, indices: np.ndarray, out: Batch
    ) -> list[tuple[int, BadRecord]]:
        records = self._records[indices].tolist()
        failed = []
        # A decoder may raise anything on damaged or hostile bytes, hence the broad excepts.
        try:
            fetched = self._fetch(records)
        except Exception:
            fetched = [None] * len(records)
        for row, record, item in zip(rows.tolist(), records, fetched, strict=True):
            try:
                file, label = item or self._fetch([record])[0]
                image, aspect = read_image(file, self.image_size, self.channels)
                out["image"][row], out["label"][row], out["aspect"][row] = image, label, aspect
            except Exception as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                failed.append((row, BadRecord(self._name(record), reason)))
        return failed
