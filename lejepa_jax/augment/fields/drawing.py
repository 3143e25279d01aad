"""Pictures of fields: curves, pixels, three middle slices of volumes, spheres as maps."""

import colorsys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

import rope_jax
from lejepa_jax.augment.fields.sphere import cells_of

# What normalized values are shown between.
_REACH = 3.0
_MISSING = np.array([214, 222, 235], np.uint8)


def draw_field(
    values: Float[np.ndarray, "*space c"], measure: Float[np.ndarray, "*space"], side: int = 64
) -> UInt8[np.ndarray, "{side} {side} 3"]:
    """Draw one normalized field, from -3 to 3 standard deviations; what is missing is bluish.

    Args:
        values: One to three axes, and channels: curves get a color a channel, pixels show up to
            three channels as red, green and blue, evenly chosen.
        measure: Zero where the field is missing.
        side: Of the picture, in pixels.

    Returns:
        The picture.

    Examples:
        >>> draw_field(np.zeros((5, 2), np.float32), np.ones(5, np.float32), 16).shape
        (16, 16, 3)
    """
    if values.ndim == 2:
        return _curves(values, measure, side)
    if values.ndim == 3:
        return _pixels(values, measure, side)
    slices = [
        _pixels(np.take(values, n // 2, axis), np.take(measure, n // 2, axis), side // 2)
        for axis, n in enumerate(values.shape[:3])
    ]
    picture = np.full((side, side, 3), 255, np.uint8)
    for place, part in enumerate(slices):
        row, column = divmod(place, 2)
        half = side // 2
        picture[row * half : (row + 1) * half, column * half : (column + 1) * half] = part
    return picture


def draw_fields(
    values: Float[np.ndarray, "n *space c"],
    measure: Float[np.ndarray, "n *space"],
    side: int = 64,
    *,
    fit: str = "resize",
) -> UInt8[np.ndarray, "n {side} {side} 3"]:
    """Draw several fields, see `draw_field`; cells of spheres (`fit="sphere"`) as a map.

    The map has equal angles, north at its top, and is as wide as the picture.
    """
    if fit == "sphere":
        cells = _cells_of_map(values.shape[1], side)
        return np.stack(
            [_pixels(v[cells], m[cells], side) for v, m in zip(values, measure, strict=True)]
        )
    return np.stack([draw_field(v, m, side) for v, m in zip(values, measure, strict=True)])


def _cells_of_map(count: int, side: int) -> np.ndarray:
    """Which cell of a nested HEALPix grid lies at each pixel of a map (side / 2, side)."""
    sides = cells_of(count)
    points = rope_jax.unit_vectors(rope_jax.sphere_grid(max(side // 2, 1), side).positions)
    pixels, weights = map(np.asarray, rope_jax.healpix_interpolation(points, sides))
    ring = np.take_along_axis(pixels, weights.argmax(-1)[:, None], 1)[:, 0]
    return np.argsort(rope_jax.healpix_nested(sides))[ring].reshape(-1, side)


def _curves(values: np.ndarray, measure: np.ndarray, side: int) -> np.ndarray:
    length, channels = values.shape
    picture = np.full((side, side, 3), 255, np.uint8)
    edges = np.linspace(0, length, side + 1)
    shown = np.linspace(0, channels - 1, min(channels, 8)).astype(int)
    for column in range(side):
        low = int(edges[column])
        part = slice(low, max(int(np.ceil(edges[column + 1])), low + 1))
        there = measure[part] > 0
        if not there.any():
            picture[:, column] = _MISSING
            continue
        for number, channel in enumerate(shown):
            # One sample more, so that steep curves do not fall to pieces.
            own = values[part.start : part.stop + 1, channel]
            own = own[measure[part.start : part.stop + 1] > 0]
            rows = (0.5 - np.array([own.max(), own.min()]) / (2 * _REACH)) * (side - 1)
            top, bottom = np.clip(np.round(rows), 0, side - 1).astype(int)
            color = colorsys.hsv_to_rgb((0.6 + number / len(shown)) % 1, 0.8, 0.7)
            picture[top : bottom + 1, column] = np.round(255 * np.array(color))
    return picture


def _pixels(values: np.ndarray, measure: np.ndarray, side: int) -> np.ndarray:
    height, width, channels = values.shape
    chosen: Sequence[int] = [0, 0, 0]
    if channels > 1:
        chosen = np.linspace(0, channels - 1, 3).astype(int).tolist()
    unit = np.clip(values[..., chosen] / (2 * _REACH) + 0.5, 0, 1)
    pixels = np.round(255 * unit).astype(np.uint8)
    pixels[measure <= 0] = _MISSING
    rows = (np.arange(side) * height // side)[:, None]
    columns = (np.arange(side) * width // side)[None]
    return pixels[rows, columns]
