"""Series in tables: CSV and Parquet."""

import csv
from collections.abc import Mapping
from pathlib import Path
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

_LABELS, _SPLIT, _FLAG, _ID = ("label", "class", "target"), "split", "is_test", ("id", "series")
_TIME = ("time", "t")
_SPLITS = {"train": "train", "test": "test", "val": "validation", "validation": "validation"}
#: Columns by name.
Columns = Mapping[str, Any]


def read_csv(request: FieldRequest) -> FieldSets:
    """Read ``csv:PATH``; see `series_of_columns`. An empty cell is a missing value.

    Args:
        request: What was asked for.

    Returns:
        The series.

    Raises:
        ValueError: If it is no table of series.
    """
    path = _file(request)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            names = next(rows, [])
            found = list(rows)
        wrong = [i for i, row in enumerate(found, 2) if len(row) != len(names)]
        if wrong:
            raise ValueError(f"line {wrong[0]} has another number of cells than the first line")
        if len(set(names)) != len(names):
            raise ValueError("columns must have different names")
        columns = dict(zip(names, zip(*found, strict=True), strict=True)) if found else {}
        return series_of_columns(columns, request, version_of([path]))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is not a table of series: {error}") from error


def read_parquet(request: FieldRequest) -> FieldSets:
    """Read ``parquet:PATH``; see `series_of_columns`.

    Args:
        request: What was asked for.

    Returns:
        The series.

    Raises:
        ValueError: If it is no table of series.
    """
    with needs_extra("parquet"):
        import pyarrow.parquet

    path = _file(request)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        groups = range(file.metadata.num_row_groups)
        size = sum(file.metadata.row_group(i).total_byte_size for i in groups)
        if size > request.options.memory_limit:
            raise ValueError(
                f"it unpacks to {size} bytes, more than memory_limit={request.options.memory_limit}"
            )
        table = file.read()
        columns: dict[str, Any] = {}
        for name in table.column_names:
            column = table.column(name)
            kind = str(column.type)
            if kind.startswith(("list", "large_list", "string", "large_string", "dictionary")):
                columns[name] = column.to_pylist()
            else:
                columns[name] = column.to_numpy()
        return series_of_columns(columns, request, version_of([path]))
    except Exception as error:  # damaged files raise errors of all kinds
        raise ValueError(f"{str(path)!r} is not a table of series: {error}") from error


def _file(request: FieldRequest) -> Path:
    path, limit = request.path, request.options.memory_limit
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is not a file")
    if path.stat().st_size > limit:
        raise ValueError(f"{str(path)!r} is larger than memory_limit={limit}")
    if request.num_axes != 1:
        raise ValueError(f"tables hold series, of 1 axis, not {request.num_axes}")
    return path


def series_of_columns(columns: Columns, request: FieldRequest, version: str) -> FieldSets:
    """Make series of the columns of a table.

    Three layouts are read. With a column ``id`` (or ``series``) a row is a moment: rows of one id
    are a series in their order, every other column a channel (``time`` is left out). With a column
    ``values`` of lists a row is a series of one channel. Else a row is a series, and every column
    a moment. ``label``, ``split`` (train, test, validation) and ``is_test`` are what they say, and
    so is the column that `FieldOptions.group` names.

    Args:
        columns: By name, all of one length.
        request: What was asked for.
        version: Of the file.

    Returns:
        The series.

    Raises:
        ValueError: If there are no series, or a value is not numeric.
    """
    lower = {name.strip().lower(): values for name, values in columns.items()}
    count = len(next(iter(lower.values()), ()))
    if not count:
        raise ValueError("it has no rows")
    label = next((lower.pop(name) for name in _LABELS if name in lower), None)
    split, flag = lower.pop(_SPLIT, None), lower.pop(_FLAG, None)
    group = lower.pop(request.options.group.strip().lower(), None)
    key = next((lower.pop(name) for name in _ID if name in lower), None)
    firsts = np.arange(count)
    if key is not None:
        for name in _TIME:
            lower.pop(name, None)
        if not lower:
            raise ValueError("beside the id it needs a column a channel")
        table = np.stack([_numbers(name, column) for name, column in lower.items()], 1)
        keys = np.asarray([str(x) for x in key])
        changes = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        if len(set(keys[changes].tolist())) != len(changes):
            raise ValueError("the rows of an id must lie together, in the order of time")
        ends = np.append(changes[1:], count)
        series = [table[a:b] for a, b in zip(changes, ends, strict=True)]
        firsts = changes
    elif "values" in lower:
        series = [_numbers("values", row)[:, None] for row in lower["values"]]
    else:
        if not lower:
            raise ValueError("it needs a column a moment, or id and a column a channel")
        table = np.stack([_numbers(name, column) for name, column in lower.items()], 1)
        series = list(table[:, :, None])
    labels, names = np.full(len(series), -1, np.int32), ()
    if label is not None:
        labels, names = numbered_labels(_labels(label)[firsts], len(series))
    groups = None if group is None else named_groups(np.asarray(group)[firsts])
    parts = _parts(split, flag, firsts)
    info = {"channels": ", ".join(lower)} if key is not None else {}
    splits = {
        name: part_of(Records(series.__getitem__, labels, groups=groups), rows)
        for name, rows in parts.items()
    }
    return FieldSets(splits, names, None, version, info)


def _parts(split: Any, flag: Any, firsts: np.ndarray) -> dict[str, np.ndarray]:
    count = len(firsts)
    kinds = np.array(["train"] * count, dtype=object)
    if split is not None:
        given = [str(split[i]).strip().lower() for i in firsts]
        if unknown := sorted(set(given) - set(_SPLITS)):
            raise ValueError(f"split must be train, test or validation, got {unknown[0]!r}")
        kinds = np.array([_SPLITS[name] for name in given], dtype=object)
    elif flag is not None:
        truth = [str(flag[i]).strip().lower() in ("1", "true", "1.0") for i in firsts]
        kinds = np.where(truth, "test", "train")
    found = {name: np.flatnonzero(kinds == name) for name in ("train", "test", "validation")}
    found = {name: rows for name, rows in found.items() if len(rows)}
    if "train" not in found:
        raise ValueError("no series is to be trained on")
    return found


def _labels(column: Any) -> np.ndarray:
    if isinstance(column, np.ndarray) and column.dtype.kind in "iufb":
        return column
    texts = np.array(["" if x is None else str(x).strip() for x in column])
    if all(text.lstrip("-").isdecimal() for text in texts):
        return texts.astype(np.int64)
    return texts


def _numbers(name: str, column: Any) -> np.ndarray:
    """A column as numbers: a type that devices keep stays, text becomes float32."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "iufb":
        return column
    try:
        cells = [np.nan if x is None or x == "" else float(x) for x in column]
    except (TypeError, ValueError):
        bad = next(x for x in column if not _is_number(x))
        raise ValueError(f"column {name!r} must hold numbers, got {str(bad)[:40]!r}") from None
    return np.array(cells, np.float32)


def _is_number(x: Any) -> bool:
    try:
        return x is None or x == "" or float(x) == float(x) or True
    except (TypeError, ValueError):
        return False
