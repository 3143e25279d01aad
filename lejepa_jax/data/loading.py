r"""Images by index, and batches whose order is a function of the seed and the step alone.

Three layers, each usable without the next:

- `load` turns a name (``digits``, any TFDS name, ``folder:PATH``, ``npz:PATH``) into two
  `ImageSource`, one to train on and one held out.
- an `ImageSource` gives uint8 images of one size by index. Small data sets are decoded once and
  kept in memory; larger ones are read and decoded on demand, in threads.
- `batches` and `eval_batches` give stacked batches through grain. Batch `step` holds the same
  images whatever the number of processes, so its state is one integer and a run may resume on
  another number of machines.

Nothing read here is executed: no pickles, no links out of a folder, no decompression bombs. The
heavy readers (grain, tensorflow-datasets, scikit-learn, Pillow) are imported by the functions that
need them.
"""

import abc
import contextlib
import functools
import io
import logging
import os
import re
import sys
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, SupportsIndex

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64, UInt8

if TYPE_CHECKING:
    import grain
    from PIL import Image as PilImage

Batch = dict[str, np.ndarray]
"""image uint8 (b s s c), label int32 (b), index int32 (b), aspect float32 (b); stacked."""

# Pillow opens many more, PostScript among them, which it hands to another program.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_EXTENSIONS = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
    *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
# A quarter of a gigabyte decoded. Below the size at which Pillow itself begins to warn.
_MAX_PIXELS = 2**26
_HELD_OUT = ("test", "validation", "val", "valid")
_CHECKED = 256  # images decoded at start-up of a data set that is too large to decode whole


class BadRecord(NamedTuple):
    """An image that could not be read: where it is and why."""

    name: str
    reason: str


class _Ledger:
    """Unreadable images met so far and how many are tolerated; shared by the splits of a load."""

    def __init__(self, title: str, limit: int):
        self._title, self._limit = title, limit
        self._reasons: dict[str, str] = {}  # by name, since a bad image is met again every epoch
        self._lock = threading.Lock()

    def add(self, records: Iterable[BadRecord]) -> None:
        with self._lock:
            self._reasons.update(records)
            bad = [f"{name} ({reason})" for name, reason in sorted(self._reasons.items())]
        if len(bad) > self._limit:
            shown = "; ".join(bad[:5]) + ("; ..." if len(bad) > 5 else "")
            raise ValueError(
                f"{self._title} has unreadable images, {len(bad)} so far, where max_bad_records "
                f"allows {self._limit}: {shown}"
            )

    def records(self) -> tuple[BadRecord, ...]:
        with self._lock:
            return tuple(BadRecord(*item) for item in sorted(self._reasons.items()))


class Source(abc.ABC):
    """Random access to examples of any kind.

    ``source[i]`` is a dictionary of arrays, among them ``label`` (-1 when there is none) and
    ``index`` (the position ``i``). `gather` gives many of them, stacked.

    Attributes:
        class_names: One name a class; empty when the data has no labels.
        labels: The class of every example, or None where learning them means reading all the data.
    """

    class_names: tuple[str, ...]
    labels: Int32[np.ndarray, " n"] | None

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 when the data has no labels."""
        return len(self.class_names)

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        """Examples found unreadable so far, by name, in all splits of the load."""
        return ()

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the examples at `indices`, stacked."""

    @abc.abstractmethod
    def subset(self, indices: Int[np.ndarray, " b"]) -> "Source":
        """Return a source of only the examples at `indices`, in that order."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in [0, {len(self)}), got {index}")
        return {key: value[0] for key, value in self.gather(np.array([index])).items()}


class ImageSource(Source):
    """Random access to uint8 images of one size.

    ``source[i]`` has ``image`` (s s c), ``label``, ``index`` and ``aspect`` (width over height of
    the original, so that crops can be drawn in true proportions from the squashed square).

    Attributes:
        image_size: Height and width of every image, in pixels.
        channels: 1 (gray) or 3 (RGB).
    """

    image_size: int
    channels: int

    @abc.abstractmethod
    def subset(self, indices: Int[np.ndarray, " b"]) -> "ImageSource":
        """Return a source of only the images at `indices`, in that order."""

    @abc.abstractmethod
    def in_memory(self) -> "ImageSource":
        """Decode everything once, in threads, and drop what is unreadable."""


class _Decoded(ImageSource):
    """Images held as one array."""

    labels: Int32[np.ndarray, " n"]

    def __init__(
        self,
        images: UInt8[np.ndarray, "n s s c"],
        labels: Int32[np.ndarray, " n"],
        aspects: Float32[np.ndarray, " n"],
        class_names: Sequence[str],
        ledger: _Ledger | None = None,
    ):
        self._images, self.labels, self._aspects = images, labels, aspects
        self.image_size, self.channels = images.shape[1], images.shape[3]
        self.class_names = tuple(class_names)
        self._ledger = ledger

    def __len__(self) -> int:
        return len(self._images)

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        return self._ledger.records() if self._ledger else ()

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        return {
            "image": self._images[indices],
            "label": self.labels[indices],
            "index": indices.astype(np.int32),
            "aspect": self._aspects[indices],
        }

    def subset(self, indices: Int[np.ndarray, " b"]) -> "ImageSource":
        kept = self.gather(indices)
        names = self.class_names
        return _Decoded(kept["image"], kept["label"], kept["aspect"], names, self._ledger)

    def in_memory(self) -> ImageSource:
        return self


# What a data set is read as: a file or the decoded pixels, and the label.
_Encoded = tuple[str | io.BytesIO | np.ndarray, int]


class _OnDemand(ImageSource):
    """Images read and decoded when asked for, a batch shared out over threads.

    An image that cannot be read is replaced by the next one that can, so batches keep their size
    and the order stays a function of the index; the ``index`` of a row says which image it holds.
    """

    def __init__(
        self,
        fetch: Callable[[list[int]], list[_Encoded]],
        name: Callable[[int], str],
        records: np.ndarray,
        *,
        labels: Int32[np.ndarray, " n"] | None,
        image_size: int,
        channels: int,
        class_names: Sequence[str],
        ledger: _Ledger,
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
        return self._ledger.records()

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
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

    def subset(self, indices: Int[np.ndarray, " b"]) -> "ImageSource":
        return _OnDemand(
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

    def in_memory(self) -> ImageSource:
        out = self._allocate(len(self))
        every = np.arange(len(self))
        failed = self._decode(every, every, out)
        self._ledger.add(failed.values())
        if len(failed) == len(self):
            raise ValueError("no image could be read")
        if failed:
            out = {key: np.delete(rows, sorted(failed), axis=0) for key, rows in out.items()}
        return _Decoded(out["image"], out["label"], out["aspect"], self.class_names, self._ledger)

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
                image, aspect = _read_image(file, self.image_size, self.channels)
                out["image"][row], out["label"][row], out["aspect"][row] = image, label, aspect
            except Exception as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                failed.append((row, BadRecord(self._name(record), reason)))
        return failed


class Splits(NamedTuple):
    """A data set, ready to train and to test on.

    Attributes:
        name: The name it was loaded by.
        train: Examples to train on.
        test: Held-out examples: the test part, or the validation part if that was asked for.
        class_names: One name a class; empty when the data has no labels.
        info: Facts a person wants in the log: where each split came from, what was ignored.
    """

    name: str
    train: Any  # a `Source`; of images, an `ImageSource`
    test: Any
    class_names: tuple[str, ...]
    info: Mapping[str, str]


def from_arrays(
    images: UInt8[np.ndarray, "n h w c"] | UInt8[np.ndarray, "n h w"],
    labels: Int[np.ndarray, "..."] | None = None,
    *,
    image_size: int | None = None,
    class_names: Sequence[str] | None = None,
) -> ImageSource:
    """Serve images that are already in memory.

    Args:
        images: Gray (no channel axis, or 1 channel) or RGB images.
        labels: Class of each image, -1 where unknown; None when there are none.
        image_size: Images of another size are squashed to this one; None keeps square images as
            they are.
        class_names: One name a class; by default the numbers up to the largest label.

    Returns:
        A source that shares memory with `images` when no resizing was needed.

    Raises:
        ValueError: If there are no images, or shapes, labels and names do not fit together.

    Examples:
        >>> source = from_arrays(np.zeros((3, 4, 4), np.uint8), np.array([0, 1, 0]))
        >>> len(source), source.num_classes, source[1]["image"].shape
        (3, 2, (4, 4, 1))
    """
    images = images[..., None] if images.ndim == 3 else images
    n, height, width, channels = images.shape
    size = height if image_size is None else image_size
    if not n:
        raise ValueError("images must hold at least one image, got 0")
    if channels not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, last, got shape {images.shape}")
    if image_size is None and height != width:
        raise ValueError(
            f"image_size must be given for images that are not square, got {height}x{width}"
        )
    if (height, width) != (size, size):
        images = np.stack([_read_image(image, size, channels)[0] for image in images])
    labels = np.full(n, -1) if labels is None else labels
    if labels.shape != (n,):
        raise ValueError(f"labels must have one entry an image ({n}), got shape {labels.shape}")
    if class_names is None:
        class_names = _numbered(labels)
    if labels.min() < -1 or labels.max() >= max(len(class_names), 1):
        raise ValueError(
            f"labels must lie in [-1, {len(class_names)}), got {labels.min()} to {labels.max()}"
        )
    aspects = np.full(n, width / height, np.float32)
    return _Decoded(images, labels.astype(np.int32), aspects, class_names)


def _numbered(labels: np.ndarray) -> list[str]:
    """Numbers as the names of the classes."""
    if labels.max() >= 2**20:
        raise ValueError(f"labels must number the classes from 0, got one of {labels.max()}")
    return [str(i) for i in range(labels.max() + 1)]


def load(
    name: str,
    *,
    image_size: int,
    data_dir: str | None = None,
    holdout: Literal["test", "validation"] = "test",
    test_fraction: float = 0.2,
    train_split: str | None = None,
    test_split: str | None = None,
    memory_limit: int = 2**31,
    max_bad_records: int = 0,
    num_threads: int | None = None,
) -> Splits:
    """Load a data set by name.

    ===============  =============================================================================
    ``digits``       scikit-learn's 1,797 handwritten digits, gray, 8 x 8, 500 of them held out.
    ``folder:PATH``  Images below PATH; with the name ``folder`` alone, below `data_dir`. Its
                     sub-folders are the classes, however deep the images lie in them; without
                     sub-folders there are no labels. Folders ``train`` and ``test`` (or
                     ``validation``, ``val``, ``valid``) are the splits. Links that leave PATH, and
                     links to folders, are not followed.
    ``npz:PATH``     Arrays ``images`` (n h w [c], uint8) and ``labels``, or a pair for each split
                     under ``x_train, y_train, x_test, ...`` or ``train_images, train_labels,
                     ...``; ``class_names`` if you like. A path that ends in .npz does too.
    any other        A TFDS name (``cifar10``, ``imagenette/320px-v2``) prepared as array_record;
                     read without TensorFlow.
    ===============  =============================================================================

    Where a split is missing it is taken from the training images, stratified by class; where the
    labels are not known without reading everything, at random. Such splits are fixed: they depend
    on the data alone, on no seed.

    Images are squashed to a square, which the ``aspect`` of each tells how to undo. Images of a
    folder or TFDS set become RGB unless TFDS declares them gray: transparency is laid over white,
    16-bit images keep their upper 8 bits, EXIF orientation is applied.

    Args:
        name: See the table.
        image_size: Height and width of the images given out, in pixels.
        data_dir: The folder of images, or where TFDS data sets lie; by default
            ``TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.
        holdout: Which part `Splits.test` holds. With "validation" the test part is left alone: it
            is what to choose hyper-parameters on.
        test_fraction: Share of the images held out when a split has to be made.
        train_split: TFDS split to train on, slices allowed (``train[:90%]``); by default ``train``.
        test_split: TFDS split to hold out; by default ``test`` if it has labels, else
            ``validation``.
        memory_limit: A data set of up to this many bytes, decoded, is decoded at once and kept in
            memory. An .npz must fit into it.
        max_bad_records: Unreadable images tolerated. Up to that many are skipped and listed in
            `ImageSource.bad_records`. In each process.
        num_threads: Threads that read and decode; by default two a core, at most 16.

    Returns:
        The splits.

    Raises:
        ValueError: If the data set does not exist, has no images, an empty class, or more
            unreadable images than `max_bad_records`; always one line that names what is wrong.

    Examples:
        >>> splits = load("digits", image_size=8)
        >>> len(splits.train), len(splits.test), splits.train.channels
        (1297, 500, 1)
        >>> tuned = load("digits", image_size=8, holdout="validation")
        >>> len(tuned.train), len(tuned.test)
        (1038, 259)
    """
    if image_size < 1:
        raise ValueError(f"image_size must be positive, got {image_size}")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie in (0, 1), got {test_fraction}")
    if max_bad_records < 0:
        raise ValueError(f"max_bad_records must not be negative, got {max_bad_records}")
    if holdout not in ("test", "validation"):
        raise ValueError(f"holdout must be 'test' or 'validation', got {holdout!r}")
    threads = min(16, 2 * (os.cpu_count() or 1)) if num_threads is None else num_threads
    if threads < 1:
        raise ValueError(f"num_threads must be positive, got {threads}")
    if name == "folder":
        if data_dir is None:
            raise ValueError("data_dir must name a folder of images for the data set folder")
        name = f"folder:{data_dir}"
    ledger = _Ledger(name, max_bad_records)

    kind, _, path = name.partition(":")
    if name.lower().endswith(".npz") and kind != "npz":
        kind, path = "npz", name
    if (name == "digits" or kind in ("folder", "npz")) and (train_split or test_split):
        raise ValueError(f"train_split and test_split are for TFDS data sets, got them for {name}")
    encoded = functools.partial(
        _OnDemand,
        image_size=image_size,
        ledger=ledger,
        num_threads=threads,
        pool=ThreadPoolExecutor(threads, thread_name_prefix="decode"),
    )
    if name == "digits":
        parts = _digits(image_size)
    elif kind == "npz":
        parts = _npz(path, image_size, memory_limit)
    elif kind == "folder":
        parts = _folder(path, encoded, ledger)
    else:
        parts = _tfds(name, data_dir, train_split, test_split, encoded)

    held = {"test": parts.test, "validation": parts.validation}
    sources = [source for source in (parts.train, held[holdout]) if source is not None]
    in_memory = memory_limit >= sum(len(s) * image_size**2 * s.channels for s in sources)

    def prepare(source: ImageSource) -> ImageSource:
        if in_memory:
            return source.in_memory()
        if isinstance(source, _OnDemand):
            source.check()
        return source

    # A test part that has to be made is set aside first, so that it is never validated on.
    train, test, info = prepare(parts.train), parts.train, dict(parts.info)
    for part in ("test",) if holdout == "test" else ("test", "validation"):
        if (known := held[part]) is not None:
            test = known
            continue
        labels = np.zeros(len(train), np.int32) if train.labels is None else train.labels
        if len(labels) < 2:
            raise ValueError(f"{name} has {len(labels)} images, too few to hold some out")
        kept, taken = stratified_split(labels, max(1, round(test_fraction * len(labels))))
        train, test = train.subset(kept), train.subset(taken)
        how = "at random" if labels.max() < 1 else "stratified by class"
        info[part] = f"{len(test)} images held out of train, {how}"
    return Splits(name, train, prepare(test), train.class_names, info)


def stratified_split(
    labels: Int[np.ndarray, " n"], num_test: int
) -> tuple[Int64[np.ndarray, " a"], Int64[np.ndarray, " b"]]:
    """Split positions so that every class keeps its share; the same on every call and machine.

    Seats are shared out by largest remainders, so a class holds ``num_test * n_class / n`` test
    positions rounded up or down, and one image of each class is always left to train on.

    Args:
        labels: The class of every image.
        num_test: How many positions to hold out.

    Returns:
        The positions to train on and those held out, each ascending.

    Raises:
        ValueError: If there are too few images to hold out `num_test` of them.

    Examples:
        >>> train, test = stratified_split(np.array([0, 0, 0, 0, 1, 1]), 3)
        >>> np.bincount(np.array([0, 0, 0, 0, 1, 1])[test])
        array([2, 1])
    """
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if not 0 < num_test <= len(labels) - len(counts):
        raise ValueError(
            f"num_test must leave an image of each of {len(counts)} classes, "
            f"got {num_test} of {len(labels)}"
        )
    share = counts * (num_test / len(labels))
    seats = np.minimum(np.floor(share), counts - 1).astype(np.int64)
    while seats.sum() < num_test:
        seats[np.argmax(np.where(seats < counts - 1, share - seats, -np.inf))] += 1
    # Raw bits, because numpy promises those, and not its permutations, to stay the same.
    shuffled = np.argsort(np.random.PCG64(0).random_raw(len(labels)), kind="stable")
    held = np.zeros(len(labels), bool)
    for k, quota in enumerate(seats):
        held[shuffled[classes[shuffled] == k][:quota]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def epoch_order(seed: int, epoch: int, num_examples: int) -> Int64[np.ndarray, " n"]:
    """Permutation of the examples in one epoch.

    Args:
        seed: Names the run's order.
        epoch: How many times the data has been gone through before.
        num_examples: How many there are.

    Returns:
        Every position once.

    Examples:
        >>> sorted(epoch_order(0, 1, 4).tolist())
        [0, 1, 2, 3]
    """
    # SeedSequence keeps (0, 1) and (1, 0) apart. Sorting raw bits is stable over numpy versions.
    bits = np.random.PCG64(np.random.SeedSequence((seed, epoch)))
    return np.argsort(bits.random_raw(num_examples), kind="stable")


class _Batches:
    """Batch by step, for grain: the rows of one process out of a global batch."""

    def __init__(self, source: Source, size: int, seed: int | None, steps: int | None, rows: slice):
        self._source, self._size, self._rows = source, size, rows
        self._steps = sys.maxsize if steps is None else steps
        n = len(source)
        # A batch touches two epochs at most; the cache belongs to this iterator alone.
        self._order = functools.lru_cache(maxsize=2)(
            lambda epoch: np.arange(n) if seed is None else epoch_order(seed, epoch, n)
        )

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: SupportsIndex) -> Batch:
        # Python integers: the position of a long run does not fit every numpy integer.
        epoch, start = divmod(int(index) * self._size, len(self._source))
        indices = self._order(epoch)[start : start + self._size]
        if missing := self._size - len(indices):
            indices = np.concatenate([indices, self._order(epoch + 1)[:missing]])
        return self._source.gather(indices[self._rows])


class _EvalBatches:
    """Batch by step, for grain: in order, once, the last one padded."""

    def __init__(self, source: Source, size: int, rows: slice):
        self._source, self._size, self._rows = source, size, rows

    def __len__(self) -> int:
        return -(-len(self._source) // self._size)

    def __getitem__(self, index: SupportsIndex) -> Batch:
        asked = (np.arange(self._size) + int(index) * self._size)[self._rows]
        batch = self._source.gather(np.minimum(asked, len(self._source) - 1))
        # False for padding and for a stand-in of an unreadable image.
        batch["mask"] = batch["index"] == asked
        return batch


def batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    steps: int | None = None,
    start: int = 0,
    shuffle: bool = True,
    process_index: int = 0,
    process_count: int = 1,
    prefetch: int = 4,
) -> "grain.DatasetIterator":
    r"""Iterate over training batches, reshuffled every epoch, in an order that resumes exactly.

    The batches cut the endless sequence epoch 0, epoch 1, ... into pieces of `batch_size`: none is
    short, and a batch may end one epoch and begin the next. Process :math:`p` of :math:`P` gets
    rows :math:`[pB/P, (p+1)B/P)` of every global batch, so the batch of a step does not depend on
    :math:`P`.

    The iterator's state is ``{"next_index": step}``, the same in all processes. `get_state` and
    `set_state` read and write it, and ``grain.checkpoint`` knows it; or begin at `start`, which is
    what to do when the number of processes has changed.

    Args:
        source: Where the examples come from.
        batch_size: Number of examples in the global batch.
        seed: Names the order; any non-negative integer.
        steps: Last step, counted from 0 whatever `start` is; None goes on for ever.
        start: First step.
        shuffle: False goes through the data in its own order.
        process_index: Which process this is.
        process_count: Number of processes.
        prefetch: Batches made ahead, each in a thread of its own; 0 makes them when asked.

    Returns:
        A grain iterator over dictionaries of stacked arrays (`Batch`).

    Raises:
        ValueError: If there are fewer examples than a global batch holds, the processes do not
            divide the batch, or a number is out of range.

    Examples:
        >>> source = from_arrays(np.zeros((5, 2, 2, 1), np.uint8))
        >>> iterator = batches(source, batch_size=4, seed=0)
        >>> next(iterator)["image"].shape, iterator.get_state()
        ((4, 2, 2, 1), {'next_index': 1})
    """
    rows = _rows(batch_size, process_index, process_count)
    if len(source) < batch_size:
        raise ValueError(
            f"batch_size must not exceed the number of examples ({len(source)}), got {batch_size}"
        )
    if seed < 0 or start < 0 or (steps is not None and steps < start):
        raise ValueError(
            "seed and start must not be negative, nor steps less than start, "
            f"got {seed=}, {start=}, {steps=}"
        )
    order = _Batches(source, batch_size, seed if shuffle else None, steps, rows)
    iterator = _iterate(order, prefetch)
    iterator.set_state({**iterator.get_state(), "next_index": start})
    return iterator


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    prefetch: int = 4,
) -> "grain.DatasetIterator":
    """Iterate over all examples once, in order, in batches of one static shape.

    The last batch is filled up with copies of the last example. ``mask`` is False there, and where
    an unreadable example was replaced by another: count only rows where it is True.

    Args:
        source: Where the examples come from.
        batch_size: Number of examples in the global batch.
        process_index: Which process this is.
        process_count: Number of processes.
        prefetch: Batches made ahead; 0 makes them when asked.

    Returns:
        A grain iterator over dictionaries of stacked arrays: a `Batch` and ``mask`` bool (b).

    Raises:
        ValueError: If the processes do not divide the batch or a number is out of range.

    Examples:
        >>> source = from_arrays(np.zeros((5, 2, 2, 1), np.uint8))
        >>> [int(batch["mask"].sum()) for batch in eval_batches(source, batch_size=3)]
        [3, 2]
    """
    rows = _rows(batch_size, process_index, process_count)
    return _iterate(_EvalBatches(source, batch_size, rows), prefetch)


def _rows(batch_size: int, process_index: int, process_count: int) -> slice:
    if batch_size < 1 or process_count < 1 or batch_size % process_count:
        raise ValueError(
            f"batch_size must be a positive multiple of process_count ({process_count}), "
            f"got {batch_size}"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index must be in [0, {process_count}), got {process_index}")
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)


def _iterate(order: _Batches | _EvalBatches, prefetch: int) -> "grain.DatasetIterator":
    import grain

    if prefetch < 0:
        raise ValueError(f"prefetch must not be negative, got {prefetch}")
    options = grain.ReadOptions(num_threads=prefetch, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.source(order).to_iter_dataset(options))


def _read_image(
    file: str | io.BytesIO | np.ndarray, size: int, channels: int
) -> tuple[UInt8[np.ndarray, "s s c"], float]:
    """Decode an image, squash it to (size, size); return it and its original width over height."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(file, np.ndarray):
        pixels = file[..., 0] if file.shape[-1] == 1 else file
        image = Image.fromarray(pixels)
    else:
        try:
            image = Image.open(file, formats=_FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"not an image: it is none of {', '.join(_FORMATS)}") from None
    with image:
        width, height = image.size
        if width * height > _MAX_PIXELS:
            raise ValueError(
                f"{width} x {height} pixels: more than {_MAX_PIXELS} may be a decompression bomb"
            )
        try:
            orientation = image.getexif().get(0x0112, 1)
        except Exception:  # a damaged tag block says nothing about the pixels
            orientation = 1
        # A JPEG can be decoded at a half, quarter or eighth; twice the size is left to the resize.
        image.draft("L" if channels == 1 else image.mode, (2 * size, 2 * size))
        if orientation in range(2, 9):
            ImageOps.exif_transpose(image, in_place=True)
            width, height = (height, width) if orientation >= 5 else (width, height)
        converted = _convert(image, "L" if channels == 1 else "RGB")
        if converted.size != (size, size):
            bicubic = Image.Resampling.BICUBIC
            converted = converted.resize((size, size), bicubic, reducing_gap=2.0)
        return np.asarray(converted).reshape(size, size, channels), width / height


def _convert(image: "PilImage.Image", mode: Literal["L", "RGB"]) -> "PilImage.Image":
    from PIL import Image

    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range: convert them to 8 bits")
    if image.mode.startswith("I"):
        # Pillow clips 16 bits at 255, which turns a microscope image white.
        levels = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255)
        image = Image.fromarray(levels.astype(np.uint8))
    if image.has_transparency_data:
        # Whatever colors lie under transparent pixels were never meant to be seen.
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    return image.convert(mode)


class _Parts(NamedTuple):
    """What a reader found; a part that is None has to be made."""

    train: ImageSource
    test: ImageSource | None
    validation: ImageSource | None
    info: Mapping[str, str]


def _digits(image_size: int) -> _Parts:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # 17 gray levels
    source = from_arrays(images, labels, image_size=image_size)
    train, test = stratified_split(labels, 500)
    info = {"test": "500 images held out of train, stratified by class"}
    return _Parts(source.subset(train), source.subset(test), None, info)


def _npz(path: str, image_size: int, memory_limit: int) -> _Parts:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{path} is not a file")
    try:
        with zipfile.ZipFile(file) as archive:
            # What the archive says it unpacks to; more than that is never read from it.
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > memory_limit:
            raise ValueError(
                f"it unpacks to {unpacked} bytes, more than memory_limit={memory_limit}"
            )
        with np.load(file, allow_pickle=False) as members:
            arrays = {key.lower(): members[key] for key in members.files}
        pairs = {
            "train": _npz_pair(arrays, "train") or _npz_pair(arrays, ""),
            "test": _npz_pair(arrays, "test"),
            "val": _npz_pair(arrays, "val") or _npz_pair(arrays, "validation"),
        }
        if pairs["train"] is None:
            raise ValueError(
                "it needs images (and labels), or x_train (and y_train), or train_images "
                f"(and train_labels), got {', '.join(sorted(arrays)) or 'nothing'}"
            )
        names = arrays.get("class_names")
        if names is None:
            # The splits share their classes, even one that not all of them hold.
            every = [labels for _, labels in filter(None, pairs.values()) if labels is not None]
            names = np.array(_numbered(np.concatenate([*every, np.array([-1])])))
        build = functools.partial(
            from_arrays, image_size=image_size, class_names=names.astype(str).ravel().tolist()
        )
        train = build(*pairs["train"])
        test, validation = (None if p is None else build(*p) for p in (pairs["test"], pairs["val"]))
    except Exception as error:  # damaged and hostile archives raise errors of all kinds
        raise ValueError(f"{path} is not an .npz of images: {error}") from error
    # Without a test part the validation part is the best that is held out, as for folders and TFDS.
    if test is None:
        test, validation = validation, None
    return _Parts(train, test, validation, {})


def _npz_pair(
    arrays: Mapping[str, np.ndarray], part: str
) -> tuple[np.ndarray, np.ndarray | None] | None:
    spellings = ((f"{part}_images", f"{part}_labels"), (f"x_{part}", f"y_{part}"))
    for images_key, labels_key in spellings if part else (("images", "labels"), ("x", "y")):
        if images_key not in arrays:
            continue
        images, labels = arrays[images_key], arrays.get(labels_key)
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise ValueError(
                f"{images_key} must be uint8 of shape (n, h, w) or (n, h, w, c), "
                f"got {images.dtype} of shape {images.shape}"
            )
        if labels is not None and labels.dtype.kind not in "iu":
            raise ValueError(f"{labels_key} must be integers, got {labels.dtype}")
        if labels is not None and labels.shape == (len(images), 1):
            labels = labels[:, 0]
        return images, None if labels is None else labels.astype(np.int64)
    return None


def _folder(path: str, encoded: Callable[..., _OnDemand], ledger: _Ledger) -> _Parts:
    top = Path(path).expanduser()
    if not path or not top.is_dir():
        raise ValueError(f"{path!r} is not a folder")
    root = top.resolve()
    children = {
        entry.name.lower(): Path(entry.path) for entry in _visible(root) if _is_folder(entry)
    }
    held = [key for key in _HELD_OUT if key in children]
    # Not just any folder of that name is a split: trains are a class of things, too.
    if "train" not in children or (not held and len(children) > 1):
        return _Parts(_folder_part(root, root, None, encoded, ledger), None, None, {})
    train = _folder_part(root, children.pop("train"), None, encoded, ledger)
    test, validation = (
        None
        if key is None
        else _folder_part(root, children.pop(key), train.class_names, encoded, ledger)
        for key in _choose(held)
    )
    return _Parts(train, test, validation, {"ignored": ", ".join(children)} if children else {})


def _folder_part(
    root: Path,
    folder: Path,
    class_names: tuple[str, ...] | None,
    encoded: Callable[..., _OnDemand],
    ledger: _Ledger,
) -> _OnDemand:
    """List one split. `class_names` are those of the training split, or None if this is it."""
    bad: list[BadRecord] = []
    loose = _images_below(root, folder, bad, deep=False)
    listed = {
        entry.name: _images_below(root, Path(entry.path), bad, deep=True)
        for entry in _visible(folder)
        if _is_folder(entry)
    }
    ledger.add(bad)
    if not loose and not any(listed.values()):
        raise ValueError(f"{folder} has no images ({' '.join(_EXTENSIONS)})")
    if loose and listed:
        raise ValueError(
            f"{folder} holds {len(loose)} images beside class folders (the first is "
            f"{os.path.basename(loose[0])!r}): move them into a class, or all images out of classes"
        )
    if empty := [name for name, files in listed.items() if not files]:
        raise ValueError(f"{folder} has classes without images: {', '.join(map(repr, empty))}")
    names = tuple(listed) if class_names is None else class_names
    if unknown := [name for name in listed if name not in names]:
        raise ValueError(f"{folder} has classes unknown to train: {', '.join(map(repr, unknown))}")
    paths = loose + [file for files in listed.values() for file in files]
    labels = [-1] * len(loose) + [names.index(n) for n, files in listed.items() for _ in files]

    def fetch(records: list[int]) -> list[_Encoded]:
        return [(paths[i], labels[i]) for i in records]

    return encoded(
        fetch,
        lambda i: repr(os.path.relpath(paths[i], root)),
        np.arange(len(paths)),
        labels=np.array(labels, np.int32),
        channels=3,
        class_names=names,
    )


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder, in the same order on every machine, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            shown = [e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX"]
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(shown, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _images_below(root: Path, folder: Path, bad: list[BadRecord], *, deep: bool) -> list[str]:
    """Paths of the images in a folder, and below it if `deep`; `bad` gets what must not be read."""
    found, folders = [], [folder]
    while folders:
        for entry in _visible(folders.pop()):
            is_image = os.path.splitext(entry.name)[1].lower() in _EXTENSIONS
            reason = ""
            if entry.is_symlink():
                target = Path(os.path.realpath(entry.path))
                if target.is_dir():
                    reason = "a link to a folder, not followed"
                elif is_image and not target.is_relative_to(root):
                    reason = "a link out of the folder, not followed"
                elif is_image and not target.is_file():
                    reason = "a broken link"
            elif _is_folder(entry):
                folders += [Path(entry.path)] if deep else []
                continue
            elif is_image and not entry.is_file():
                reason = "not a file"  # reading a pipe might never end
            if reason:
                bad.append(BadRecord(repr(os.path.relpath(entry.path, root)), reason))
            elif is_image:
                found.append(entry.path)
    return sorted(found)


def _tfds(
    name: str,
    data_dir: str | None,
    train_split: str | None,
    test_split: str | None,
    encoded: Callable[..., _OnDemand],
) -> _Parts:
    import tensorflow_datasets as tfds

    if data_dir is not None and not Path(data_dir).expanduser().is_dir():
        raise ValueError(f"data_dir must be a folder, got {data_dir!r}")
    unknown = f"unknown data set {name!r}: want digits, folder:PATH, npz:PATH or a TFDS name"
    if Path(name).expanduser().exists():
        unknown += f"; did you mean folder:{name}?"
    if not re.fullmatch(r"[a-z]\w*(/[\w.,=-]+)*(:[\d.*]+)?", name, re.ASCII):
        raise ValueError(unknown)
    where = None if data_dir is None else str(Path(data_dir).expanduser())
    looked_in = where or "the default data_dir"
    with _without_absl_warnings():
        try:
            builder: Any = tfds.builder(name, data_dir=where)
            prepared, info = builder.is_prepared(), builder.info
        except tfds.core.DatasetNotFoundError:
            raise ValueError(f"{unknown} (looked in {looked_in})") from None
        except Exception as error:  # a damaged description raises errors of all kinds
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"{name} cannot be opened in {looked_in}: {reason}") from error
    if not prepared:
        raise ValueError(
            f"{name} is not prepared in {builder.data_dir}: run `tfds build {name} "
            f"--file_format=array_record{f' --data_dir={where}' if where else ''}` once, where "
            "TensorFlow is installed; reading needs none"
        )
    features: Any = info.features
    supervised = info.supervised_keys or ()
    image_key = _feature_key(features, tfds.features.Image, "image", supervised[:1])
    label_key = _feature_key(features, tfds.features.ClassLabel, "label", supervised[1:2])
    if image_key is None or features[image_key].np_dtype != np.uint8:
        raise ValueError(f"{name} has no uint8 image feature: it has {', '.join(features)}")
    channels = 1 if features[image_key].shape[-1] == 1 else 3
    # Pillow decodes here as for every other kind of data set; tfds hands over the encoded bytes.
    skip: Any = tfds.decode.SkipDecoding
    encoded_only = {image_key: skip()}

    def part(split: str) -> _OnDemand:
        try:
            reader = builder.as_data_source(split=split, decoders=encoded_only)
        except NotImplementedError:
            raise ValueError(
                f"{name} in {builder.data_dir} is not stored as array_record, which random access "
                f"needs: run `tfds convert_format --dataset_dir={builder.data_dir} "
                "--out_file_format=array_record` once, where TensorFlow is installed"
            ) from None
        except Exception as error:
            raise ValueError(
                f"{name} has no split {split!r}: it has {', '.join(info.splits)}"
            ) from error
        if not len(reader):
            raise ValueError(f"{name} split {split!r} has no images")

        def fetch(records: list[int]) -> list[_Encoded]:
            return [
                (
                    io.BytesIO(e[image_key]) if isinstance(e[image_key], bytes) else e[image_key],
                    -1 if label_key is None else int(e[label_key]),
                )
                for e in reader.__getitems__(records)
            ]

        return encoded(
            fetch,
            lambda i: f"{split}[{i}]",
            np.arange(len(reader)),
            labels=None,
            channels=channels,
            class_names=() if label_key is None else features[label_key].names,
        )

    train = part(train_split or "train")
    if test_split is not None:
        return _Parts(train, part(test_split), None, {"test": test_split})
    # Competitions publish a test part without labels (ImageNet's is one): that one goes last.
    held = sorted((s for s in _HELD_OUT if s in info.splits), key=lambda s: _is_unlabeled(part(s)))
    test, validation = (None if key is None else part(key) for key in _choose(held))
    return _Parts(train, test, validation, {"test": held[0]} if held else {})


def _choose(held: Sequence[str]) -> tuple[str | None, str | None]:
    """Which of the held-out splits to test on, and which to validate on."""
    return next(iter(held), None), next((key for key in held[1:] if key != "test"), None)


def _feature_key(features: Any, kind: type, usual: str, first: tuple) -> str | None:
    """Name of the feature of a kind: the supervised one, else the usual name, else any."""
    keys = [key for key in features if isinstance(features[key], kind)]
    return next((key for key in (*first, usual, *keys) if key in keys), None)


def _is_unlabeled(source: _OnDemand) -> bool:
    return not source.num_classes or int(source[0]["label"]) < 0


@contextlib.contextmanager
def _without_absl_warnings() -> Iterator[None]:
    """A data set that is missing is said once, in one line, by us."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
