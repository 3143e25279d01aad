"""Which data these are, whether they have changed since, and whether test data are trained on."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from lejepa_jax.data.images.arrays import DecodedImages
from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits

_SIZES = 10_000  # files of a split that are asked for their size
_MAX_FILES, _MAX_BYTES, _HEAD = 100_000, 2**30, 1024  # that are read to find duplicates

_T = TypeVar("_T")

Fingerprint = dict[str, dict[str, int | str]]
"""For each part ("train", "test"): the number of examples, and digests of what is known of them."""

_TITLES = {
    "classes": "the names of the classes",
    "labels": "the labels",
    "names": "the names of the examples, or their order",
    "sizes": "the sizes of the files",
    "version": "the version of the data",
}


def fingerprint(splits: Splits) -> Fingerprint:
    """Identify a data set, to be kept with a run and compared when it is resumed.

    It is cheap: nothing is decoded. It depends on names relative to the folder of the data, sizes
    of up to 10,000 files a split, labels, and versions or checksums where the data come with them;
    not on the machine, nor on where the data lie there.

    Args:
        splits: What `load` gave.

    Returns:
        Numbers and text, fit for JSON.

    Examples:
        >>> from lejepa_jax.data.loading import load
        >>> found = fingerprint(load("digits", image_size=8))
        >>> found["train"]["count"], sorted(found["train"])
        (1297, ['classes', 'count', 'labels', 'names'])
    """
    return {"train": _identify(splits.train), "test": _identify(splits.test)}


def fingerprint_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Say how two fingerprints differ.

    Args:
        before: The one that was kept.
        now: The one of today.

    Returns:
        One short line for each difference; none if the data are the same.

    Examples:
        >>> fingerprint_changes({"train": {"count": 3}}, {"train": {"count": 4}})
        ('train has 4 examples, not 3',)
    """
    lines = []
    for part in dict.fromkeys((*before, *now)):
        old, new = before.get(part, {}), now.get(part, {})
        if old.get("count") != new.get("count"):
            lines.append(
                f"{part} has {new.get('count', 'no')} examples, not {old.get('count', 'none')}"
            )
            continue
        keys = [key for key in _TITLES if old.get(key) != new.get(key)]
        if keys:
            lines.append(f"{part} differs in {' and '.join(_TITLES[key] for key in keys)}")
    return tuple(lines)


def _identify(source: Source) -> dict[str, int | str]:
    origin, records = source.origin, source.records
    found: dict[str, int | str] = {"count": len(source), "classes": _digest(source.class_names)}
    if records is not None:
        describe = str if origin is None else origin.describe
        found["names"] = _digest(map(describe, records.tolist()))
    if origin is not None and origin.version:
        found["version"] = origin.version
    elif source.labels is not None:  # a version says which labels there are
        found["labels"] = _digest(map(str, source.labels.tolist()))
    if origin is not None and origin.path is not None and records is not None:
        some = records[np.unique(np.linspace(0, len(records) - 1, _SIZES).astype(np.int64))]
        found["sizes"] = _digest(str(_size(origin.path(i))) for i in some.tolist())
    return found


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little") + raw)  # so that "ab", "c" is not "a", "bc"
    return digest.hexdigest()[:32]


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


def count_duplicates(train: Source, test: Source) -> int | None:
    """Count test examples that are also trained on: equal pixels in memory, else equal files.

    Files are compared by their sizes, then by their beginnings, then by their contents.

    Args:
        train: What is trained on.
        test: What is held out.

    Returns:
        How many of `test` are in `train`; None where that would take reading more than 100,000
        files or 1 GiB, or where the examples are neither in memory nor files.

    Examples:
        >>> from lejepa_jax.data.images.arrays import from_arrays
        >>> images = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
        >>> count_duplicates(from_arrays(images[:3]), from_arrays(images[2:]))
        1
    """
    if isinstance(train, DecodedImages) and isinstance(test, DecodedImages):
        if train.num_bytes + test.num_bytes > _MAX_BYTES:
            return None
        trained = set(train.digests())
        return sum(digest in trained for digest in test.digests())
    if len(train) + len(test) > _MAX_FILES:
        return None
    trained, tested = _file_sizes(train), _file_sizes(test)
    if not trained or not tested:
        return None
    # Sizes and beginnings tell nearly all files apart before any is read whole.
    trained, tested = _alike(trained, tested)
    trained, tested = _alike(*({path: _head(path) for path in part} for part in (trained, tested)))
    if sum(map(_size, (*trained, *tested))) > _MAX_BYTES:
        return None
    contents = set(filter(None, map(_contents, trained)))
    return sum(digest in contents for digest in map(_contents, tested))


def _alike(first: Mapping[str, _T], second: Mapping[str, _T]) -> list[dict[str, _T]]:
    """Keep what has an equal value on the other side."""
    common = set(first.values()) & set(second.values())
    return [{k: v for k, v in part.items() if v in common} for part in (first, second)]


def _file_sizes(source: Source) -> dict[str, int]:
    """Size of each file; empty where examples are no files."""
    if source.origin is None or source.origin.path is None or source.records is None:
        return {}
    paths = map(source.origin.path, source.records.tolist())
    return {path: _size(path) for path in paths}


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _contents(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return None
