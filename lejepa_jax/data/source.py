"""What a source of examples is: random access, labels and class names."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int32, Int64

from lejepa_jax.data.records import BadRecord

Batch = dict[str, np.ndarray]
"""image uint8 (b s s c), label int32 (b), index int32 (b), aspect float32 (b); stacked."""


class Origin(NamedTuple):
    """Where the examples of a source come from, by the number of a record.

    Attributes:
        describe: What a record is called in messages; the same on every machine.
        path: The file of a record; None where a record is no file.
        version: What else the examples depend on, such as the version of a data set.
    """

    describe: Callable[[int], str]
    path: Callable[[int], str] | None = None
    version: str = ""


class Source(abc.ABC):
    """Random access to examples of any kind.

    ``source[i]`` is a dictionary of arrays, among them ``label`` (-1 when there is none) and
    ``index`` (the position ``i``). `gather` gives many of them, stacked.

    Attributes:
        class_names: One name a class; empty when the data has no labels.
        labels: The class of every example, or None where learning them means reading all the data.
        origin: Where the examples come from; None where nothing is known.
        records: The number of each example in `origin`, or in the source that this is a subset of.
    """

    class_names: tuple[str, ...]
    labels: Int32[np.ndarray, " n"] | None
    origin: Origin | None = None
    records: Int64[np.ndarray, " n"] | None = None

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
        data_range: Which values of image files became 0 and 255, as `DataOptions.data_range` has
            it; percentiles as the numbers that they are.
    """

    image_size: int
    channels: int
    data_range: str = "type"

    @abc.abstractmethod
    def subset(self, indices: Int[np.ndarray, " b"]) -> "ImageSource":
        """Return a source of only the images at `indices`, in that order."""

    @abc.abstractmethod
    def in_memory(self) -> "ImageSource":
        """Decode everything once, in threads, and drop what is unreadable."""


def numbered_classes(labels: Int[np.ndarray, " n"]) -> list[str]:
    """Numbers as the names of classes that have none.

    Args:
        labels: Class of each example, -1 where unknown.

    Returns:
        One name a class, up to the largest label.

    Raises:
        ValueError: If the largest label is not the number of a class.

    Examples:
        >>> numbered_classes(np.array([0, 2]))
        ['0', '1', '2']
    """
    if labels.max() >= 2**20:
        raise ValueError(f"labels must number the classes from 0, got one of {labels.max()}")
    return [str(i) for i in range(labels.max() + 1)]
