"""Fields that are made, without any file: digits in bands and on the sphere, solids."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.fields.reading import FieldRequest, FieldSets, Records
from lejepa_jax.data.splits import stratified_split

# Offset, width and exponent of each band: of other ranges and other scales, one of them inverted.
_BANDS = ((500, 9000, 1.0), (40000, 25000, 0.5), (2000, 60000, 2.0), (9000, -8000, 1.0))
_BANDS = (*_BANDS, (30000, 900, 1.5))
#: Families of solids.
SOLIDS = ("ball", "box", "cylinder", "cone", "torus", "cross")


def to_bands(values: Float[np.ndarray, "*shape"]) -> UInt16[np.ndarray, "*shape 5"]:
    r"""Map values in [0, 1] to five bands of 16 bits, each by itself invertible.

    .. math:: b_k = \mathrm{round}(o_k + w_k v^{g_k})

    Args:
        values: Such as gray levels.

    Returns:
        The bands, last.

    Examples:
        >>> to_bands(np.array([0.0, 1.0])).tolist()
        [[500, 40000, 2000, 9000, 30000], [9500, 65000, 62000, 1000, 30900]]
    """
    bands = [np.round(offset + width * values**power) for offset, width, power in _BANDS]
    return np.stack(bands, -1).astype(np.uint16)


def from_bands(bands: UInt16[np.ndarray, "*shape 5"]) -> Float[np.ndarray, "*shape 5"]:
    """Undo `to_bands`, from each band alone, up to its rounding.

    Examples:
        >>> from_bands(to_bands(np.array([0.25]))).round(2).tolist()
        [[0.25, 0.25, 0.25, 0.25, 0.25]]
    """
    offset, width, power = (np.array(column, np.float64) for column in zip(*_BANDS, strict=True))
    return np.clip((bands - offset) / width, 0, 1) ** (1 / power)


def read_banded_digits(request: FieldRequest) -> FieldSets:
    """Read ``digits-bands``: scikit-learn's digits in five bands of 16 bits, see `to_bands`."""
    return _digits(request, to_bands)


def read_gray_digits(request: FieldRequest) -> FieldSets:
    """Read ``digits-gray``: the same digits in one band of 8 bits, split alike."""
    return _digits(request, lambda v: np.round(255 * v).astype(np.uint8)[..., None])


def read_sphere_digits(request: FieldRequest) -> FieldSets:
    """Read ``digits-sphere``: the same digits around a point of the equator, see `onto_sphere`."""
    return _digits(request, lambda v: np.round(255 * onto_sphere(v)).astype(np.uint8)[..., None])


def onto_sphere(
    images: Float[np.ndarray, "n h w"], rows: int = 32, reach: float = 60.0
) -> Float[np.ndarray, "n {rows} 2*{rows}"]:
    """Project images onto the sphere, stereographically about longitude 0 of the equator.

    Args:
        images: Zero at their border.
        rows: Latitudes of the grid of equal angles; there are twice as many longitudes.
        reach: Angle from the center to the middle of a side, in degrees.

    Returns:
        Values on the grid, 0 where no image is.

    Examples:
        >>> onto_sphere(np.ones((1, 8, 8)), 16).shape
        (1, 16, 32)
    """
    height, width = images.shape[1:]
    latitude = np.pi / 2 - (np.arange(rows) + 0.5) * np.pi / rows
    longitude = -np.pi + np.arange(2 * rows) * np.pi / rows
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    forward = np.cos(lat) * np.cos(lon)
    # In the plane that touches the sphere, seen from the opposite point.
    scale = 1 / np.maximum(1 + forward, 1e-3) / np.tan(np.radians(reach) / 2)
    right, up = np.cos(lat) * np.sin(lon) * scale, np.sin(lat) * scale
    row, column = (1 - up) * height / 2 - 0.5, (1 + right) * width / 2 - 0.5
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    row, column = np.clip(row + 1, 0, height + 1), np.clip(column + 1, 0, width + 1)
    top = np.minimum(row.astype(int), height)
    left = np.minimum(column.astype(int), width)
    down, across = row - top, column - left
    return (
        padded[:, top, left] * (1 - down) * (1 - across)
        + padded[:, top, left + 1] * (1 - down) * across
        + padded[:, top + 1, left] * down * (1 - across)
        + padded[:, top + 1, left + 1] * down * across
    )


def _digits(request: FieldRequest, make: Callable[[np.ndarray], np.ndarray]) -> FieldSets:
    if request.num_axes != 2:
        raise ValueError(f"digits are planes, of 2 axes, not {request.num_axes}")
    with needs_extra("train"):
        from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    values, labels = make(pixels.reshape(-1, 8, 8) / 16), labels.astype(np.int32)
    train, test = stratified_split(labels, 500)
    splits = {
        name: Records(lambda i, rows=rows: values[rows[i]], labels[rows])
        for name, rows in (("train", train), ("test", test))
    }
    return FieldSets(splits, tuple(map(str, range(10))))


def read_solids(request: FieldRequest) -> FieldSets:
    """Read ``solids``: 2,400 procedural solids of 6 families as volumes of 16 voxels a side.

    Each is turned to any direction, stretched, moved and of another size; 600 are held out. The
    same on every machine and call.
    """
    if request.num_axes != 3:
        raise ValueError(f"solids are volumes, of 3 axes, not {request.num_axes}")
    rng = np.random.Generator(np.random.PCG64(0))
    labels = np.arange(2400, dtype=np.int32) % len(SOLIDS)
    values = np.stack([draw_solid(rng, SOLIDS[k]) for k in labels])[..., None]
    train, test = np.arange(1800), np.arange(1800, 2400)
    splits = {
        name: Records(lambda i, rows=rows: values[rows[i]], labels[rows])
        for name, rows in (("train", train), ("test", test))
    }
    return FieldSets(splits, SOLIDS)


def draw_solid(
    rng: np.random.Generator, family: str, side: int = 16
) -> UInt8[np.ndarray, "{side} {side} {side}"]:
    """Draw a solid of a family with a soft edge.

    Args:
        rng: Of the direction, the size and the place.
        family: One of `SOLIDS`.
        side: Voxels a side.

    Returns:
        0 outside, 255 inside.

    Examples:
        >>> draw_solid(np.random.default_rng(0), "ball").max()
        np.uint8(255)
    """
    matrix = rng.normal(size=(3, 3))
    turn, _ = np.linalg.qr(matrix)
    place = (np.arange(side) + 0.5) / side * 2 - 1
    grid = np.stack(np.meshgrid(place, place, place, indexing="ij"), -1)
    size = rng.uniform(0.45, 0.7)
    x = (grid - rng.uniform(-0.15, 0.15, 3)) @ turn / size * rng.uniform(0.85, 1.18, 3)
    across = np.hypot(x[..., 0], x[..., 1])
    distance = {
        "ball": lambda: np.linalg.norm(x, axis=-1) - 1,
        "box": lambda: np.abs(x).max(-1) - 0.8,
        "cylinder": lambda: np.maximum(across - 0.7, np.abs(x[..., 2]) - 1),
        "cone": lambda: np.maximum(across - 0.5 * (1 - x[..., 2]), np.abs(x[..., 2]) - 1),
        "torus": lambda: np.hypot(across - 0.75, x[..., 2]) - 0.3,
        "cross": lambda: np.sort(np.abs(x), -1)[..., 1] - 0.3 + 10 * (np.abs(x).max(-1) > 1),
    }[family]()
    return np.round(255 * np.clip(0.5 - distance * size * side / 2, 0, 1)).astype(np.uint8)
