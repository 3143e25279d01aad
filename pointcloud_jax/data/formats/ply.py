"""The Stanford PLY format, text and binary."""

from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from pointcloud_jax.data.formats.clouds import CloudFile, from_columns

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEADER = 2**16


class _Element(NamedTuple):
    """One kind of rows: its name, their number, and the columns (None where one is a list)."""

    name: str
    count: int
    columns: list[tuple[str, str | None]]


def read_ply(file: Path, max_bytes: int) -> CloudFile:
    """Read the vertices of a .ply file.

    Args:
        file: The file.
        max_bytes: What it may take in memory; not looked at, see `FORMATS`.

    Returns:
        Coordinates, and normals if the file has them.

    Raises:
        ValueError: If it is no such file, or shorter than it claims.

    References:
        G. Turk, "The PLY polygon file format", 1994.
    """
    with file.open("rb") as opened:
        kind, elements = _header(opened)
        names = [element.name for element in elements]
        if "vertex" not in names:
            raise ValueError(f"it has no vertices, only {', '.join(names) or 'nothing'}")
        before, vertex = elements[: names.index("vertex")], elements[names.index("vertex")]
        if any(code is None for _, code in vertex.columns):
            raise ValueError("its vertices have lists, which are not read")
        if kind == "ascii":
            return _text(opened, before, vertex)
        return _binary(opened, before, vertex, _ORDERS[kind])


def _header(opened: BinaryIO) -> tuple[str, list[_Element]]:
    if opened.readline(8).strip() != b"ply":
        raise ValueError("it is no PLY file")
    kind, elements = "", []
    while True:
        line = opened.readline(_MAX_HEADER)
        if not line.endswith(b"\n") or opened.tell() > _MAX_HEADER:
            raise ValueError("its header has no end")
        words = line.decode("ascii", "replace").split()
        match words:
            case ["end_header"]:
                break
            case ["format", kind, "1.0"]:
                pass
            case ["element", name, count] if count.isdecimal():
                elements.append(_Element(name, int(count), []))
            case ["property", "list", length, item, name] if elements:
                _ = _code(length), _code(item)
                elements[-1].columns.append((name, None))
            case ["property", code, name] if elements:
                elements[-1].columns.append((name, _code(code)))
            case [] | ["comment", *_] | ["obj_info", *_]:
                pass
            case _:
                raise ValueError(f"its header has a line {' '.join(words)[:60]!r}")
    if kind != "ascii" and kind not in _ORDERS:
        raise ValueError(f"its format is {kind!r}")
    return kind, elements


def _code(name: str) -> str:
    if name not in _TYPES:
        raise ValueError(f"its header names a type {name[:20]!r}")
    return _TYPES[name]


def _text(opened: BinaryIO, before: list[_Element], vertex: _Element) -> CloudFile:
    lines = (line for line in opened if line.strip())
    for _ in range(sum(element.count for element in before)):
        if next(lines, None) is None:
            raise ValueError("it ends before its vertices")
    # A row is at least two bytes a column, so that the count cannot ask for more than there is.
    rows = [row for row, _ in zip(lines, range(vertex.count), strict=False)]
    if len(rows) < vertex.count:
        raise ValueError(f"it has {len(rows)} of the {vertex.count} vertices that it claims")
    table = np.loadtxt(rows, np.float64, ndmin=2) if rows else np.zeros((0, len(vertex.columns)))
    if table.shape[1] != len(vertex.columns):
        raise ValueError(f"its vertices have {table.shape[1]} of {len(vertex.columns)} columns")
    return from_columns({name: table[:, i] for i, (name, _) in enumerate(vertex.columns)})


def _binary(opened: BinaryIO, before: list[_Element], vertex: _Element, order: str) -> CloudFile:
    skipped = 0
    for element in before:
        if any(code is None for _, code in element.columns):
            raise ValueError(f"it has lists ({element.name}) before its vertices")
        skipped += element.count * sum(np.dtype(code).itemsize for _, code in element.columns)
    row = np.dtype([(name, order + code) for name, code in vertex.columns if code])
    start = opened.tell() + skipped
    left = opened.seek(0, 2) - start
    if left < vertex.count * row.itemsize:
        claimed = f"{vertex.count} vertices that it claims"
        raise ValueError(f"it has {max(left, 0) // max(row.itemsize, 1)} of the {claimed}")
    opened.seek(start)
    table = np.frombuffer(opened.read(vertex.count * row.itemsize), row)
    return from_columns({name: table[name] for name, _ in vertex.columns})
