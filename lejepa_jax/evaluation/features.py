"""One pass over a data set: what a compiled function gives for every example, on the host."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Int, Int64

from lejepa_jax.checks import check_positive
from lejepa_jax.data.batching import eval_batches
from lejepa_jax.data.source import Source

#: Puts a NumPy batch, which every process holds, on the devices.
ShardBatch = Callable[[Mapping[str, np.ndarray]], Mapping[str, Array]]


class Mapped(NamedTuple):
    """What a function gave for the readable examples of a source, in their order.

    Attributes:
        outputs: The pytree of the function, examples first in every array.
        label: Class of each example, -1 where unknown.
        index: Position of each example in the source.
    """

    outputs: Any
    label: Int[np.ndarray, " n"]
    index: Int[np.ndarray, " n"]


def map_examples(
    function: Callable[[Mapping[str, Array]], Any],
    source: Source,
    shard_batch: ShardBatch,
    *,
    batch_size: int,
) -> Mapped:
    """Apply a function to every example of a source, batch by batch, and bring the results home.

    Every process takes part and gets all of the results: devices of several processes may hold
    parts of a batch. Padding of the last batch and stand-ins for unreadable examples are left out.

    Args:
        function: Maps a batch on the devices to a pytree of arrays, examples first; compiled by
            the caller, so that several passes share one program.
        source: The examples.
        shard_batch: Puts a batch on the devices.
        batch_size: Examples at a time, over all devices.

    Returns:
        Host arrays.

    Raises:
        ValueError: If no example can be read.

    Examples:
        >>> from lejepa_jax.data.images.arrays import from_arrays
        >>> source = from_arrays(np.full((5, 2, 2), 7, np.uint8), np.array([0, 1, 0, 1, 1]))
        >>> def brightest(batch):
        ...     return batch["image"].max((1, 2, 3))
        >>> found = map_examples(brightest, source, lambda batch: batch, batch_size=3)
        >>> found.outputs, found.label
        (array([7, 7, 7, 7, 7], dtype=uint8), array([0, 1, 0, 1, 1], dtype=int32))
    """
    parts = []
    for batch in eval_batches(source, batch_size=batch_size):
        keep = batch.pop("mask")
        outputs = jax.tree.map(lambda x, keep=keep: fetch(x)[keep], function(shard_batch(batch)))
        parts.append(Mapped(outputs, batch["label"][keep], batch["index"][keep]))
    found = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    if not len(found.index):
        raise ValueError("the source holds no example that can be read")
    return found


def fetch(array: Array | np.ndarray) -> np.ndarray:
    """Bring an array to the host, from wherever its parts are.

    Args:
        array: An array, maybe sharded over devices of several processes, all of which ask for it.

    Returns:
        The whole of it, in every process.

    Examples:
        >>> fetch(jax.numpy.ones(2))
        array([1., 1.], dtype=float32)
    """
    if not isinstance(array, jax.Array):
        return np.asarray(array)
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def stratified_subset(
    labels: Int[np.ndarray, " n"] | None, num_examples: int, limit: int | None
) -> Int64[np.ndarray, " m"]:
    """Choose the examples that a probe is fitted to: fixed, and of every class its share.

    Examples without a label are chosen only where those with one are fewer than the limit.

    Args:
        labels: Class of each example, -1 where unknown; None where they are not known, and
            examples evenly spread over the set are chosen.
        num_examples: How many there are.
        limit: How many to choose at most; None for all.

    Returns:
        Their positions, ascending; the same on every call and machine.

    Raises:
        ValueError: If the limit is not positive.

    Examples:
        >>> stratified_subset(np.array([0, 0, 0, 0, 1, 1]), 6, 3)
        array([0, 2, 4])
    """
    if limit is not None:
        check_positive("limit", limit)
    if limit is None or num_examples <= limit:
        return np.arange(num_examples)
    if labels is None:
        return _evenly(np.arange(num_examples), limit)
    # Evenly over the examples sorted by class: every class has its share, rounded up or down.
    order = np.argsort(labels, kind="stable")
    unknown = int(np.sum(np.asarray(labels) < 0))
    known = order[unknown:]
    chosen = _evenly(known, min(limit, len(known)))
    return np.sort(np.concatenate([chosen, _evenly(order[:unknown], limit - len(chosen))]))


def _evenly(order: np.ndarray, count: int) -> np.ndarray:
    return np.sort(order[np.arange(count) * len(order) // max(count, 1)])
