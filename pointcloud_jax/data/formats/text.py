"""Clouds as text: columns of numbers, and the vertices of Wavefront OBJ."""

import array
from pathlib import Path

import numpy as np

from pointcloud_jax.data.formats.clouds import CloudFile, from_columns, from_table


def read_columns(file: Path, max_bytes: int) -> CloudFile:
    """Read a .xyz, .txt or .csv file: one row a point, with or without a line of names above.

    Columns are separated by commas, semicolons or white space; lines from `#` on are comments.
    Without names the first three columns are the coordinates, and the next three normals if they
    are unit vectors.

    Args:
        file: The file.
        max_bytes: What it may take in memory; not looked at, see `FORMATS`.

    Returns:
        Coordinates, and normals if the file has them.

    Raises:
        ValueError: If it is no table of numbers.
    """
    names: list[str] | None = None
    delimiter, skipped = None, 0
    with file.open(encoding="utf-8-sig") as opened:
        for line in opened:
            content = line.partition("#")[0].strip()
            if not content:
                skipped += 1
                continue
            delimiter = next((mark for mark in ",;" if mark in content), None)
            cells = [cell.strip().strip('"') for cell in content.split(delimiter)]
            if not all(map(_is_number, cells)):
                names, skipped = cells, skipped + 1
            break
        else:
            raise ValueError("it is empty")
    with file.open(encoding="utf-8-sig") as opened:
        table = np.loadtxt(opened, np.float64, delimiter=delimiter, skiprows=skipped, ndmin=2)
    if names is None:
        return from_table(table)
    if len(names) != table.shape[1] or len(set(names)) != len(names):
        raise ValueError(f"it names {len(names)} columns and has {table.shape[1]}")
    return from_columns({name: table[:, i] for i, name in enumerate(names)})


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def read_obj(file: Path, max_bytes: int) -> CloudFile:
    """Read the vertices of a .obj file.

    Its normals belong to corners of faces, not to vertices, and are ignored with the faces.

    Args:
        file: The file.
        max_bytes: What it may take in memory; not looked at, see `FORMATS`.

    Returns:
        The coordinates.

    Raises:
        ValueError: If a vertex has fewer than three coordinates, or there is none.
    """
    numbers, others = array.array("d"), set()
    with file.open(encoding="utf-8", errors="replace") as opened:
        for line in opened:
            kind, *cells = line.split("#")[0].split() or [""]
            if kind == "v":
                if len(cells) < 3:
                    raise ValueError(f"it has a vertex of {len(cells)} coordinates")
                numbers.extend(float(cell) for cell in cells[:3])
            elif kind in ("vn", "vt", "f", "l"):
                others.add(kind)
    if not numbers:
        raise ValueError("it has no vertices")
    kinds = {"vn": "normals of corners", "vt": "texture", "f": "faces", "l": "lines"}
    return CloudFile(
        np.asarray(numbers).reshape(-1, 3), None, tuple(kinds[kind] for kind in sorted(others))
    )
