"""Features of many files in one: .npz, .parquet or .csv, written and read a piece at a time."""

import csv
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from lejepa_jax.checks import needs_extra

#: Endings of the files that can be written.
FORMATS = (".npz", ".parquet", ".csv")
_ROWS = 4096


class Rows(NamedTuple):
    """Some rows of a file of features.

    Attributes:
        paths: Where each image is, below the folder of the data.
        labels: Name of its class; empty where there is none.
        features: A row an image.
    """

    paths: Sequence[str]
    labels: Sequence[str]
    features: Float[np.ndarray, "n d"]


def write_rows(path: Path, pieces: Iterable[Rows], *, count: int, width: int) -> None:
    """Write a file of features; no more than a piece is in memory at a time.

    Args:
        path: The file, whose ending says the format.
        pieces: All rows; of .npz they are gone through three times, so it must not be an iterator.
        count: Number of rows.
        width: Number of features.

    Raises:
        ValueError: For another ending.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "features.npz"
        >>> rows = Rows(["a.png"], [""], np.ones((1, 2), np.float32))
        >>> write_rows(path, [rows], count=1, width=2)
        >>> with np.load(path) as found:
        ...     sorted(found), found["features"].shape
        (['features', 'labels', 'paths'], (1, 2))
    """
    writers = {".npz": _write_npz, ".parquet": _write_parquet, ".csv": _write_csv}
    writers[check_format(path)](path, pieces, count, width)


def read_rows(path: Path) -> Iterator[Rows]:
    """Read a file of features a piece at a time.

    Args:
        path: A file that `write_rows` wrote.

    Yields:
        Its rows.

    Raises:
        ValueError: For another ending, or a file of another kind.
    """
    readers = {".npz": _read_npz, ".parquet": _read_parquet, ".csv": _read_csv}
    return readers[check_format(path)](path)


def check_format(path: Path) -> str:
    """Return the ending of a path, if it is one of `FORMATS`.

    Raises:
        ValueError: If it is not.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f"out must end in {', '.join(FORMATS)}, got {str(path)!r}")
    return ending


# --- .npz -----------------------------------------------------------------------------------------


def _write_npz(path: Path, pieces: Iterable[Rows], count: int, width: int) -> None:
    longest = {"paths": 1, "labels": 1}
    for piece in pieces:
        for name in longest:
            longest[name] = max([longest[name], *map(len, getattr(piece, name))])
    types = {name: np.dtype(f"<U{length}") for name, length in longest.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, dtype, shape in (
            ("features", np.dtype("<f4"), (count, width)),
            ("paths", types["paths"], (count,)),
            ("labels", types["labels"], (count,)),
        ):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for piece in pieces:
                    file.write(np.asarray(getattr(piece, name), dtype).tobytes())


def _read_npz(path: Path) -> Iterator[Rows]:
    names = ("paths", "labels", "features")
    with zipfile.ZipFile(path) as archive:
        files = [archive.open(f"{name}.npy") for name in names]
        shapes, types = [], []
        for file in files:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            shapes.append(shape)
            types.append(dtype)
        count = shapes[0][0]
        for start in range(0, count, _ROWS):
            rows = min(_ROWS, count - start)
            found = []
            for file, shape, dtype in zip(files, shapes, types, strict=True):
                wanted = (rows, *shape[1:])
                data = file.read(int(np.prod(wanted)) * dtype.itemsize)
                found.append(np.frombuffer(data, dtype).reshape(wanted))
            yield Rows(found[0].tolist(), found[1].tolist(), found[2])


# --- .parquet -------------------------------------------------------------------------------------


def _write_parquet(path: Path, pieces: Iterable[Rows], count: int, width: int) -> None:
    del count
    with needs_extra("parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    rows = pa.list_(pa.float32(), width)
    schema = pa.schema([("path", pa.string()), ("label", pa.string()), ("features", rows)])
    with pq.ParquetWriter(path, schema) as writer:
        for piece in pieces:
            flat = pa.array(np.ascontiguousarray(piece.features, np.float32).ravel())
            columns = [
                pa.array(piece.paths, pa.string()),
                pa.array([label or None for label in piece.labels], pa.string()),
                pa.FixedSizeListArray.from_arrays(flat, width),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _read_parquet(path: Path) -> Iterator[Rows]:
    with needs_extra("parquet"):
        import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            flat = batch.column("features").flatten().to_numpy(zero_copy_only=False)
            labels = [label or "" for label in batch.column("label").to_pylist()]
            rows = flat.reshape(batch.num_rows, -1)
            yield Rows(batch.column("path").to_pylist(), labels, rows)


# --- .csv -----------------------------------------------------------------------------------------


def _write_csv(path: Path, pieces: Iterable[Rows], count: int, width: int) -> None:
    del count
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", *(f"f{i}" for i in range(width))])
        for piece in pieces:
            for where, label, row in zip(*piece, strict=True):
                # The shortest text that gives the same float32 again.
                writer.writerow([where, label, *map(str, row)])


def _read_csv(path: Path) -> Iterator[Rows]:
    def rows_of(lines: list[list[str]]) -> Rows:
        features = np.array([line[2:] for line in lines], np.float32)
        return Rows([line[0] for line in lines], [line[1] for line in lines], features)

    with path.open(encoding="utf-8", newline="") as file:
        reader, lines = csv.reader(file), []
        next(reader)
        for line in reader:
            lines.append(line)
            if len(lines) == _ROWS:
                yield rows_of(lines)
                lines = []
        if lines:
            yield rows_of(lines)


# --- what a file is of ----------------------------------------------------------------------------


def about_path(path: Path) -> Path:
    """Path of the JSON file that says what a file of features is of."""
    return path.with_name(path.name + ".json")


def read_about(path: Path) -> dict[str, Any] | None:
    """Read what a file of features is of; None where there is nothing that can be read."""
    try:
        found = json.loads(about_path(path).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
