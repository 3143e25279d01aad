"""One cloud of one file, whatever its format."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

COORDINATES = ("x", "y", "z")
NORMALS = ("nx", "ny", "nz")


class CloudFile(NamedTuple):
    """What a file holds.

    Attributes:
        points: Coordinates.
        normals: Unit normals, or None.
        ignored: Names of features that are not used.
    """

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"] | None = None
    ignored: tuple[str, ...] = ()


def from_columns(columns: Mapping[str, Shaped[np.ndarray, " n"]]) -> CloudFile:
    """Take coordinates, and normals if all three are there, of named columns.

    Args:
        columns: One array a feature.

    Returns:
        The cloud; all other columns are ignored.

    Raises:
        ValueError: If a coordinate is missing, or there are no points.

    Examples:
        >>> zeros = np.zeros(2)
        >>> from_columns({"x": zeros, "y": zeros, "z": zeros, "red": zeros}).ignored
        ('red',)
    """
    plain = {name.lower(): name for name in columns}
    missing = [name for name in COORDINATES if name not in plain]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}, only {', '.join(columns) or 'nothing'}")

    def stack(names: Sequence[str]) -> np.ndarray:
        return np.stack([columns[plain[name]].astype(np.float64) for name in names], axis=-1)

    has_normals = all(name in plain for name in NORMALS)
    used = {*COORDINATES, *(NORMALS if has_normals else ())}
    points = stack(COORDINATES)
    if not len(points):
        raise ValueError("it has no points")
    ignored = tuple(name for name in columns if name.lower() not in used)
    return CloudFile(points, stack(NORMALS) if has_normals else None, ignored)


def from_table(table: Shaped[np.ndarray, "..."]) -> CloudFile:
    """Take coordinates of the first three columns; of the next, if they are unit vectors, normals.

    Args:
        table: One row a point.

    Returns:
        The cloud; all other columns are ignored.

    Raises:
        ValueError: If it is no table of at least three columns of numbers.

    Examples:
        >>> table = np.array([[1.0, 2.0, 3.0, 0.0, 0.0, 1.0, 255.0]])
        >>> cloud = from_table(table)
        >>> cloud.normals, cloud.ignored
        (array([[0., 0., 1.]]), ('column 7',))
    """
    if table.ndim != 2 or table.shape[1] < 3 or table.dtype.kind not in "fiu":
        raise ValueError(
            "it must be numbers in at least 3 columns, one row a point, got "
            f"{table.dtype} of shape {table.shape}"
        )
    names = [f"column {i + 1}" for i in range(table.shape[1])]
    names[:3] = COORDINATES
    if table.shape[1] >= 6:
        length = np.linalg.norm(table[:, 3:6].astype(np.float64), axis=1)
        if (abs(length - 1) < 0.01).all():
            names[3:6] = NORMALS
    return from_columns({name: table[:, i] for i, name in enumerate(names)})
