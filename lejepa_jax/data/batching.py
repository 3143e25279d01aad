"""Batches whose order is a function of the seed and the step alone."""

import functools
import sys
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np
from jaxtyping import Int64

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.source import Batch, Source

if TYPE_CHECKING:
    import grain


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
        >>> from lejepa_jax.data.images.arrays import from_arrays
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
        >>> from lejepa_jax.data.images.arrays import from_arrays
        >>> source = from_arrays(np.zeros((5, 2, 2, 1), np.uint8))
        >>> [int(batch["mask"].sum()) for batch in eval_batches(source, batch_size=3)]
        [3, 2]
    """
    rows = _rows(batch_size, process_index, process_count)
    return _iterate(_EvalBatches(source, batch_size, rows), prefetch)


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
    with needs_extra("train"):
        import grain

    if prefetch < 0:
        raise ValueError(f"prefetch must not be negative, got {prefetch}")
    options = grain.ReadOptions(num_threads=prefetch, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.source(order).to_iter_dataset(options))
