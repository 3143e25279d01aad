"""Fields that people give to a model, as a source of examples of one shape."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from lejepa_jax.data.fields.readers.formats import read_file
from lejepa_jax.data.fields.reading import FieldOptions, FieldRequest, check_spacing
from lejepa_jax.data.fields.source import FieldsOnDemand, Layout, Stored, fit, kept_type, narrowed
from lejepa_jax.data.records import Ledger
from lejepa_jax.data.source import Batch, Origin, Source
from lejepa_jax.models.preprocessing import FieldPreprocessing


class _Fields(Source):
    """Fields in memory, padded to one size."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self._arrays, self.class_names, self.labels = arrays, (), None

    def __len__(self) -> int:
        return len(self._arrays["values"])

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the fields at `indices`, stacked."""
        return {name: array[indices] for name, array in self._arrays.items()}

    def subset(self, indices: Int[np.ndarray, " b"]) -> "_Fields":
        """Return a source of only the fields at `indices`, in that order."""
        return _Fields(self.gather(indices))


def channel_numbers(
    channels: Sequence[int | str | None], preprocessing: FieldPreprocessing
) -> tuple[list[int], list[int]]:
    """Find the channels of inputs among those of a model.

    Args:
        channels: What each channel of the inputs is: the number or the name of a channel of the
            model, or None for one that the model does not know, which is left out.
        preprocessing: Of the model.

    Returns:
        Which channels of the inputs the model knows, and their numbers there.

    Raises:
        ValueError: If one is not among those of the model, is there twice, or none is known.

    Examples:
        >>> own = FieldPreprocessing(stored_size=(8,), eval_size=(4,), mean=(0.0,) * 3,
        ...     std=(1.0,) * 3, low=(0.0,) * 3, high=(1.0,) * 3, channel_names=("b", "g", "r"))
        >>> channel_numbers(("r", None, "b"), own)
        ([0, 2], [2, 0])
    """
    names = preprocessing.channel_names
    count = len(preprocessing.mean)
    known = ", ".join([f"0 to {count - 1}", *names])
    places, numbers = [], []
    for place, channel in enumerate(channels):
        if channel is None:
            continue
        number = names.index(channel) if channel in names else channel
        if isinstance(number, str) or not 0 <= number < count:
            raise ValueError(
                f"channels must be of this model ({known}) or None, got {channel!r}: the model "
                "was not trained on it, give None to leave it out"
            )
        places.append(place)
        numbers.append(int(number))
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"channels must be different ones of {known}, got {tuple(channels)}")
    return places, numbers


def fields_source(
    inputs: Any,
    preprocessing: FieldPreprocessing,
    channels: Sequence[int | str | None] | None = None,
) -> Source:
    """Make a source of one field, or of several of any sizes, in the unit of the data trained on.

    Args:
        inputs: An array (*space), (*space c) or (n *space c), or a list of the first two.
        preprocessing: Of the model.
        channels: What each channel of the inputs is, see `channel_numbers`; None for those of the
            model, in order.

    Returns:
        A source of fields, padded to the largest; of larger ones than were stored the middle.

    Raises:
        ValueError: If something is no field, or has other channels than the model.
    """
    rank, given = len(preprocessing.stored_size), len(preprocessing.mean)
    numbers = None
    if channels is not None:
        (places, numbers), given = channel_numbers(channels, preprocessing), len(channels)
    several = isinstance(inputs, list | tuple) or np.ndim(inputs) == rank + 2
    fields = [_as_field(one, rank, given) for one in (inputs if several else [inputs])]
    if numbers is not None:
        fields, given = [field[..., places] for field in fields], len(numbers)
    if not fields:
        raise ValueError("fields must hold at least one, got none")
    kind = np.result_type(*(field.dtype for field in fields))
    shape = tuple(
        min(max(field.shape[axis] for field in fields), preprocessing.stored_size[axis])
        for axis in range(rank)
    )
    layout = Layout(shape, given, kept_type(kind))
    values = np.zeros((len(fields), *shape, given), layout.dtype)
    extent = np.zeros((len(fields), rank), np.int32)
    for row, field in enumerate(fields):
        own = fit(field.astype(layout.dtype), layout)
        values[row][tuple(slice(n) for n in own.shape[:-1])] = own
        extent[row] = own.shape[:-1]
    arrays = {"values": values, "extent": extent}
    if numbers is not None:
        arrays["channels"] = np.tile(np.array(numbers, np.int32), (len(fields), 1))
    return _Fields(arrays)


def _as_field(field: Any, rank: int, channels: int) -> np.ndarray:
    array = np.asarray(field)
    if array.ndim == rank and channels == 1:
        array = array[..., None]
    if array.ndim != rank + 1 or array.shape[-1] != channels or not array.size:
        axes = ", ".join(("depth", "height", "width")[-rank:]) if rank > 1 else "time"
        raise ValueError(
            f"a field must be ({axes}, {channels}) or a batch of them, got shape {array.shape}"
        )
    return array


def field_files_source(
    files: Sequence[str],
    names: Sequence[str],
    preprocessing: FieldPreprocessing,
    *,
    max_bad_records: int = 0,
) -> FieldsOnDemand:
    """Make a source of files, a field each, that are read when they are asked for, in threads.

    Args:
        files: Paths.
        names: What each is called in messages.
        preprocessing: Of the model. Files of other channels, of another spacing, or of a type that
            its `dtype` cannot hold, are bad records.
        max_bad_records: How many may be unreadable.

    Returns:
        The source, without labels.
    """
    spacing, rank = preprocessing.spacing or None, len(preprocessing.stored_size)
    ledger = Ledger("fields", max_bad_records, "fields")
    request = FieldRequest(
        name="fields", path=Path(), num_axes=rank, options=FieldOptions(), ledger=ledger
    )

    def read(record: int) -> Stored:
        found = read_file(Path(files[record]), request)
        if spacing is not None and found.spacing is not None:
            check_spacing(found.spacing, spacing)
        return narrowed(found.values)

    layout = Layout(
        preprocessing.stored_size,
        len(preprocessing.mean),
        np.dtype(preprocessing.dtype),
        spacing,
    )
    threads = min(8, 2 * (os.cpu_count() or 1))
    return FieldsOnDemand(
        read,
        np.full(len(files), -1, np.int32),
        (),
        layout,
        ledger,
        origin=Origin(names.__getitem__),
        records=np.arange(len(files)),
        pool=ThreadPoolExecutor(threads, thread_name_prefix="read"),
    )
