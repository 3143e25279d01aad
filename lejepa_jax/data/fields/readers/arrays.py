"""Arrays: `.npz` archives, memory-mapped `.npy`, HDF5."""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.fields.groups import named_groups, part_of
from lejepa_jax.data.fields.reading import (
    FieldRequest,
    FieldSets,
    Records,
    numbered_labels,
    version_of,
)

_VALUES = ("values", "x", "data")
_LABELS = ("label", "labels", "y", "target")
_SPLITS = {"train": ("train",), "test": ("test",), "validation": ("val", "validation")}


def read_npz(request: FieldRequest) -> FieldSets:
    """Read ``npz:PATH``; the table of `load_fields` has the names of arrays.

    Args:
        request: What was asked for.

    Returns:
        The records, in memory. Nothing is unpickled.

    Raises:
        ValueError: If it is no archive of fields, or unpacks to more than `memory_limit`.
    """
    path, limit = request.path, request.options.memory_limit
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is not a file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        # What the archive says it unpacks to; more than that is never read from it.
        unpacked = sum(member.file_size for member in members)
        if unpacked > limit:
            raise ValueError(f"it unpacks to {unpacked} bytes, more than memory_limit={limit}")
        with np.load(path, allow_pickle=False) as opened:
            arrays = {name.lower(): opened[name] for name in opened.files}
        version = " ".join(f"{m.filename} {m.CRC:08x}" for m in members)
        return _sets(arrays, request, hashlib.sha256(version.encode()).hexdigest()[:32])
    except Exception as error:  # damaged and hostile archives raise errors of all kinds
        raise ValueError(f"{str(path)!r} is not an .npz of fields: {error}") from error


def read_npy(request: FieldRequest) -> FieldSets:
    """Read ``npy:PATH``: an array of fields, memory-mapped, with `PATH` less .npy + `_labels.npy`.

    Args:
        request: What was asked for.

    Returns:
        The records; only what is asked for is read.

    Raises:
        ValueError: If it is no array of fields.
    """
    path = request.path
    labels = path.with_name(f"{path.stem}_labels.npy")
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is not a file")
    try:
        found = {"values": np.load(path, mmap_mode="r", allow_pickle=False)}
        if labels.is_file():
            found["labels"] = np.load(labels, allow_pickle=False)
        files = [path, *([labels] if labels.is_file() else [])]
        return _sets(found, request, version_of(files))
    except Exception as error:
        raise ValueError(f"{str(path)!r} is not an .npy of fields: {error}") from error


def read_hdf5(request: FieldRequest) -> FieldSets:
    """Read ``hdf5:PATH``: data sets by the names of `read_npz`, read in chunks when asked for.

    Args:
        request: What was asked for.

    Returns:
        The records.

    Raises:
        ValueError: If it is no file of fields.
    """
    with needs_extra("hdf5"):
        import h5py  # pyright: ignore[reportMissingImports]

    path = request.path
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is not a file")
    try:
        file = h5py.File(path, "r")
        found: dict[str, Any] = {}
        for name in file:
            # Links may lead out of the file.
            if isinstance(file.get(name, getlink=True), h5py.HardLink):
                item = file[name]
                if isinstance(item, h5py.Dataset) and not item.external and not item.is_virtual:
                    found[str(name).lower()] = item
        large = _VALUES + tuple(f"{x}_{s}" for x in _VALUES for s in _SPLITS)
        arrays = {k: v if k in large else _small(v, request) for k, v in found.items()}
        return _sets(arrays, request, version_of([path]))
    except Exception as error:
        raise ValueError(f"{str(path)!r} is not an HDF5 file of fields: {error}") from error


def _small(item: Any, request: FieldRequest) -> np.ndarray:
    if item.nbytes > request.options.memory_limit:
        raise ValueError(f"{item.name} is larger than memory_limit={request.options.memory_limit}")
    array = item.asstr()[()] if item.dtype.kind == "O" else item[()]
    return np.asarray(array).astype(str) if item.dtype.kind == "O" else np.asarray(array)


def _sets(arrays: Mapping[str, Any], request: FieldRequest, version: str) -> FieldSets:
    parts = {}
    for split, spellings in _SPLITS.items():
        for spelling in spellings:
            pair = _pair(arrays, f"_{spelling}") or _pair(arrays, f"{spelling}_", front=True)
            if pair is not None:
                parts.setdefault(split, pair)
    if not parts:
        pair = _pair(arrays, "")
        if pair is None and {"samples", "lengths"} <= set(arrays):
            pair = _ragged(arrays, request), _first(arrays, _LABELS)
        if pair is None:
            names = ", ".join(sorted(arrays)) or "nothing"
            raise ValueError(
                "it needs values (n, ..., channels), or samples and lengths of series, or "
                f"values_train and values_test; got {names}"
            )
        parts = {"train": pair}
    every = [labels for _, labels in parts.values() if labels is not None]
    numbers, names = {}, ()
    if len(every) == len(parts):
        joined, names = numbered_labels(np.concatenate([np.ravel(x) for x in every]), _total(every))
        ends = np.cumsum([np.size(x) for x in every])[:-1]
        numbers = dict(zip(parts, np.split(joined, ends), strict=True))
    given = _first(arrays, ("class_names", "label_names"))
    if given is not None and len(names) <= np.size(given):
        # Numbered names are positions in those that are given.
        given = [str(x) for x in np.ravel(given).tolist()]
        if all(x.isdecimal() and int(x) < len(given) for x in names):
            order = np.array([int(x) for x in names] or [0])
            numbers = {k: np.where(v >= 0, order[v], -1) for k, v in numbers.items()}
            names = tuple(given)
    splits = {
        split: _records(values, numbers.get(split), request) for split, (values, _) in parts.items()
    }
    group = request.options.group.lower()
    if group in arrays and list(splits) == ["train"]:
        groups = named_groups(arrays[group], arrays.get(f"{group}_names"))
        if len(groups) != len(splits["train"].labels):
            raise ValueError(f"{group} must have one entry a field, got {len(groups)}")
        splits["train"] = splits["train"]._replace(groups=groups)
    if "is_test" in arrays and list(splits) == ["train"]:
        splits = _by_flag(splits["train"], np.ravel(np.asarray(arrays["is_test"])))
    used = {*_VALUES, *_LABELS, "samples", "lengths", "is_test", "class_names", "label_names"}
    used |= {"sample_rate", "spacing", "channel_names", group, f"{group}_names"}
    others = [name for name in arrays if name not in used and not name.startswith(_VALUES)]
    info = {"ignored": ", ".join(sorted(others))} if others and len(parts) == 1 else {}
    channels = tuple(str(x) for x in np.ravel(arrays.get("channel_names", ())).tolist())
    spacing = _spacing(arrays, request.num_axes)
    return FieldSets(splits, names, spacing, version, info, channels)


def _total(arrays: list[np.ndarray]) -> int:
    return sum(int(np.size(x)) for x in arrays)


def _first(arrays: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((arrays[name] for name in names if name in arrays), None)


def _pair(arrays: Mapping[str, Any], part: str, *, front: bool = False) -> tuple[Any, Any] | None:
    def spelled(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(part + name if front else name + part for name in names)

    values = _first(arrays, spelled(_VALUES))
    return None if values is None else (values, _first(arrays, spelled(_LABELS)))


class _ragged:
    """Series of any lengths that lie one after the other in one array."""

    def __init__(self, arrays: Mapping[str, Any], request: FieldRequest):
        samples, lengths = np.asarray(arrays["samples"]), np.asarray(arrays["lengths"])
        if request.num_axes != 1:
            raise ValueError(f"samples and lengths are series, of 1 axis, not {request.num_axes}")
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
            raise ValueError(f"lengths must be whole numbers (n), got {lengths.dtype}")
        lengths = lengths.astype(np.int64)
        if lengths.min() < 1 or lengths.sum() != len(samples):
            raise ValueError(
                f"lengths must be positive and sum to the {len(samples)} samples, "
                f"got {lengths.sum()}, the smallest {lengths.min()}"
            )
        self._samples, self._ends = samples, np.cumsum(lengths)
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> np.ndarray:
        end = self._ends[index]
        return self._samples[end - self._lengths[index] : end]


def _records(values: Any, labels: np.ndarray | None, request: FieldRequest) -> Records:
    count, rank = len(values), request.num_axes
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) not in (rank + 1, rank + 2):
        raise ValueError(
            f"values must be (n, {', '.join('abc'[:rank])}) or have channels behind, for fields of "
            f"{rank} axes, got shape {tuple(shape)}"
        )
    if not count:
        raise ValueError("values must hold at least one field, got none")
    if labels is None:
        labels = np.full(count, -1, np.int32)
    if len(labels) != count:
        raise ValueError(f"labels must have one entry a field ({count}), got {len(labels)}")
    if shape is not None and not isinstance(values, np.ndarray):
        return Records(_chunked(values, rank), labels.astype(np.int32))
    return Records(lambda i: request.with_channels(values[i]), labels.astype(np.int32))


class _Slices:
    """One field of an HDF5 data set, of which only what is cut out is read."""

    def __init__(self, values: Any, index: int, rank: int):
        self._values, self._index = values, index
        self._bare = values.ndim == rank + 1
        self.dtype = values.dtype
        self.shape = (*values.shape[1:], 1) if self._bare else values.shape[1:]
        self.ndim, self.size = rank + 1, int(np.prod(self.shape))

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        found = self._values[(self._index, *where)]
        return found[..., None] if self._bare else found


def _chunked(values: Any, rank: int) -> Callable[[int], Any]:
    return lambda i: _Slices(values, i, rank)


def _by_flag(records: Records, flags: np.ndarray) -> dict[str, Records]:
    if len(flags) != len(records.labels):
        raise ValueError(f"is_test must have {len(records.labels)} entries, got {len(flags)}")
    found = {}
    for split, rows in (("train", np.flatnonzero(flags <= 0)), ("test", np.flatnonzero(flags > 0))):
        if len(rows):
            found[split] = part_of(records, rows)
    if "train" not in found:
        raise ValueError("is_test leaves nothing to train on")
    return found


def _spacing(arrays: Mapping[str, Any], num_axes: int) -> tuple[float, ...] | None:
    if "spacing" in arrays:
        spacing = np.ravel(np.asarray(arrays["spacing"], np.float64))
        if len(spacing) != num_axes or not (np.isfinite(spacing) & (spacing > 0)).all():
            raise ValueError(f"spacing must be {num_axes} positive numbers, got {spacing}")
        return tuple(spacing.tolist())
    if "sample_rate" in arrays and num_axes == 1:
        rate = float(np.ravel(np.asarray(arrays["sample_rate"]))[0])
        return (1 / rate,) if rate > 0 else None
    return None
