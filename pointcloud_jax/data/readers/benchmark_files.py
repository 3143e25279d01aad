"""What the readers of published benchmarks share: their folders, lists and tables of numbers."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lejepa_jax.data.records import BadRecord
from pointcloud_jax.data.reading import CloudRequest


class TextCloud(NamedTuple):
    """A cloud that a list names.

    Attributes:
        name: What the list calls it.
        file: Where it is.
        label: Its class, -1 if the list names none that exists.
        read: Reads it: path and number of points to rows of numbers.
    """

    name: str
    file: Path
    label: int
    read: Callable[[Path, int], np.ndarray]


def benchmark_folder(request: CloudRequest, source: str) -> Path:
    """Folder that was named for the files of a benchmark.

    Args:
        request: What was asked for.
        source: Where to get them, for the error.

    Returns:
        The folder, without links.

    Raises:
        ValueError: If none was named, or it is none.
    """
    folder = request.data_dir
    if folder is None or not Path(folder).expanduser().is_dir():
        raise ValueError(
            f"data_dir must be the folder with the files of {request.name.partition(':')[0]} "
            f"({source}), got {folder}"
        )
    return Path(folder).expanduser().resolve()


def missing_files(request: CloudRequest, source: str, folder: Path) -> ValueError:
    """Make the error for a folder without the files of a benchmark.

    Args:
        request: What was asked for.
        source: Where to get them.
        folder: The folder.

    Returns:
        The error, to be raised.
    """
    return ValueError(
        f"data_dir must hold the files of {request.name.partition(':')[0]} ({source}), "
        f"got {folder} without them"
    )


def find_folder(folder: Path, names: Iterable[str], pattern: str) -> Path | None:
    """Find the folder that holds files of a pattern: itself, or one of the usual name in it.

    Args:
        folder: Where to look.
        names: Usual names.
        pattern: Pattern of a file name.

    Returns:
        The folder, or None.
    """
    for candidate in (folder, *(folder / name for name in names)):
        if candidate.is_dir() and next(candidate.glob(pattern), None) is not None:
            return candidate
    return None


def read_lines(file: Path) -> tuple[str, ...]:
    """Read the lines of a text file that are not empty.

    Args:
        file: The file.

    Returns:
        The lines, without white space around them.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        return tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.name} cannot be read: {error}") from error


def read_first_rows(num_columns: int, delimiter: str | None) -> Callable[[Path, int], np.ndarray]:
    """Make a function that reads the first rows of a table.

    Args:
        num_columns: Columns that it must have.
        delimiter: What separates them, None for white space.

    Returns:
        The function, of path and number of rows.
    """

    def read(file: Path, num_points: int) -> np.ndarray:
        return _table(file, num_columns, delimiter, num_points)

    return read


def read_spaced_rows(num_columns: int, delimiter: str | None) -> Callable[[Path, int], np.ndarray]:
    """Make a function that reads rows at equal distances, of a table whose rows are ordered.

    Args:
        num_columns: Columns that it must have.
        delimiter: What separates them, None for white space.

    Returns:
        The function, of path and number of rows.
    """

    def read(file: Path, num_points: int) -> np.ndarray:
        table = _table(file, num_columns, delimiter, None)
        if len(table) > num_points:
            table = table[np.arange(num_points) * len(table) // num_points]
        return table

    return read


def _table(
    file: Path, num_columns: int, delimiter: str | None, rows: int | None
) -> Float[np.ndarray, "n c"]:
    table = np.loadtxt(file, np.float32, delimiter=delimiter, ndmin=2, max_rows=rows)
    if table.shape[1] != num_columns or not len(table):
        raise ValueError(f"wanted rows of {num_columns} numbers, got {table.shape}")
    return table


def read_text_clouds(clouds: Iterator[TextCloud], request: CloudRequest) -> dict[str, np.ndarray]:
    """Read one file a cloud: columns of coordinates, normals, and with a seventh one the part.

    Args:
        clouds: What to read.
        request: What was asked for.

    Returns:
        Arrays as in `CloudSets.splits`; where a file holds fewer points, the rest does not exist.

    Raises:
        ValueError: If too many files cannot be read.
    """
    num_points = request.num_points
    tables, labels = [], []
    for name, file, label, read in clouds:
        try:
            # Names come from a file: they must not lead out of the folder.
            if label < 0 or not re.fullmatch(r"[\w\-./]+", name) or ".." in name:
                raise ValueError("it belongs to no class, or is no name of a file")
            if 8 * file.stat().st_size > request.budget.left:
                raise ValueError(f"it is too large for memory_limit={request.budget.limit}")
            request.budget.take(num_points * 28, name)
            tables.append(read(file, num_points))
            labels.append(label)
        except (OSError, ValueError) as error:
            request.ledger.add([BadRecord(name, " ".join(str(error).split())[:200])])
    if not tables:
        shown = "".join(f": {bad.name} ({bad.reason})" for bad in request.ledger.records()[:1])
        raise ValueError(f"no cloud could be read{shown}")
    return _padded(tables, labels, num_points)


def _padded(
    tables: Sequence[np.ndarray], labels: Sequence[int], num_points: int
) -> dict[str, np.ndarray]:
    exists = np.arange(num_points)[None] < np.array([[len(table)] for table in tables])
    width = tables[0].shape[1]
    padded = np.zeros((len(tables), num_points, width), np.float32)
    for row, table in zip(padded, tables, strict=True):
        row[: len(table)] = table
    arrays = {
        "points": padded[..., :3],
        "normals": padded[..., 3:6],
        "label": np.array(labels),
    }
    if width == 7:
        arrays["part"] = np.where(exists, padded[..., 6].astype(np.int64), -1)
    return {**arrays, "exists": exists}
