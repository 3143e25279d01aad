"""Which examples to train on and which to hold out."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Int, Int64

from lejepa_jax.checks import check_choice
from lejepa_jax.data.records import printable


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


class Parts(NamedTuple):
    """What a reader found.

    Attributes:
        train: Examples to train on.
        test: Examples to test on; None where they have to be taken from `train`.
        validation: Examples to choose hyper-parameters on; None likewise.
        info: Facts for the log, as in `Splits`.
    """

    train: Any  # a `Source`; of images, an `ImageSource`
    test: Any = None
    validation: Any = None
    info: Mapping[str, str] = MappingProxyType({})


def hold_out(
    name: str,
    parts: Parts,
    *,
    holdout: Literal["test", "validation"] = "test",
    test_fraction: float = 0.2,
    prepare: Callable[[Any], Any] = lambda source: source,
    noun: str = "examples",
) -> Splits:
    """Make splits of what a reader found: take what is missing from the training examples.

    What is taken is stratified by class; at random where the labels are not known without reading
    everything. It depends on the data alone, on no seed.

    Args:
        name: The name of the data set, for errors.
        parts: What was found.
        holdout: Which part `Splits.test` holds. With "validation" a test part that has to be made
            is set aside first, so that it is never validated on.
        test_fraction: Share of the training examples that is held out.
        prepare: Applied to each part that is used before anything is taken from it, such as to
            read it into memory.
        noun: What the examples are, for errors and `Splits.info`.

    Returns:
        The splits.

    Raises:
        ValueError: If an option is out of range, or there are too few examples.

    Examples:
        >>> from lejepa_jax.data.images.arrays import from_arrays
        >>> source = from_arrays(np.zeros((10, 4, 4), np.uint8), np.arange(10) % 2)
        >>> splits = hold_out("blank", Parts(source))
        >>> len(splits.train), splits.test.labels, splits.info["test"]
        (8, array([0, 1], dtype=int32), '2 examples held out of train, stratified by class')
    """
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie in (0, 1), got {test_fraction}")
    check_choice("holdout", holdout, ("test", "validation"))
    held = {"test": parts.test, "validation": parts.validation}
    train, test, info = prepare(parts.train), None, dict(parts.info)
    for part in ("test",) if holdout == "test" else ("test", "validation"):
        if (known := held[part]) is not None:
            test = known
            continue
        labels = np.zeros(len(train), np.int32) if train.labels is None else train.labels
        if len(labels) < 2:
            raise ValueError(
                f"{printable(name)} has {len(labels)} {noun}, too few to hold some out"
            )
        kept, taken = stratified_split(labels, max(1, round(test_fraction * len(labels))))
        train, test = train.subset(kept), train.subset(taken)
        how = "at random" if labels.max() < 1 else "stratified by class"
        info[part] = f"{len(test)} {noun} held out of train, {how}"
    other = {"test": "validation", "validation": "test"}[holdout]
    if held[other] is not None and other in info:
        info[other] += ", left alone"
    if train.num_classes and train.labels is not None:
        info["classes"] = _class_counts(train.labels, train.num_classes, noun)
    return Splits(name, train, prepare(test), train.class_names, info)


def _class_counts(labels: Int[np.ndarray, " n"], num_classes: int, noun: str) -> str:
    """How the training examples are shared out to classes, in a few words."""
    counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    low, high = counts.min(), counts.max()
    each = f"{low}" if low == high else f"{low} to {high}"
    without = int((labels < 0).sum())
    rest = f", and {without} without a class" if without else ""
    return f"{num_classes} of {each} {noun} to train on{rest}"


def few_labeled(
    labels: Int[np.ndarray, " n"], *, per_class: int | None = None, fraction: float | None = None
) -> Int64[np.ndarray, " m"]:
    """Choose a few labeled examples, of every class its share; the same on every call and machine.

    Args:
        labels: The class of every example, -1 where unknown; those are never chosen.
        per_class: How many of each class; or
        fraction: which part of each class, rounded, at least one.

    Returns:
        Their positions, ascending.

    Raises:
        ValueError: If not exactly one of the two is given, or a class has too few.

    Examples:
        >>> labels = np.array([0, 0, 0, 1, 1, -1])
        >>> np.bincount(labels[few_labeled(labels, per_class=2)])
        array([2, 2])
    """
    if (per_class is None) == (fraction is None):
        raise ValueError("give either per_class or fraction")
    shuffled = np.argsort(np.random.PCG64(0).random_raw(len(labels)), kind="stable")
    chosen = []
    for k in range(int(labels.max(initial=-1)) + 1):
        members = shuffled[labels[shuffled] == k]
        share = max(1, round((fraction or 0) * len(members)))
        count = share if per_class is None else per_class
        if len(members) < count:
            raise ValueError(f"class {k} must have {count} labeled examples, got {len(members)}")
        chosen.append(members[:count])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


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
