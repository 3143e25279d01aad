"""Where a view of a field is read: windows along each axis, and reading them."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lejepa_jax.augment.draws import between
from lejepa_jax.augment.fields.specs import FieldView

# Above as many weights a long axis is read linearly between two neighbors, not by a matrix.
_MAX_MATRIX = 2**19


class Window(NamedTuple):
    """The samples of a view along one axis of the field, in samples of the field.

    Attributes:
        first: Place of the first sample of the view.
        step: Distance of two.
        low: Beginning of what is shown.
        high: End of what is shown; samples of the view beyond are missing.
    """

    first: Array
    step: Array
    low: Array
    high: Array


def draw_windows(
    key: Array, extent: Float[Array, " rank"], sides: tuple[int, ...], spec: FieldView
) -> list[Window]:
    """Draw the window of one view.

    Args:
        key: Of the view.
        extent: Samples of the field along each axis.
        sides: Of the view.
        spec: Ranges.

    Returns:
        One window an axis.
    """
    rank = len(sides)
    u = jax.random.uniform(key, (2 + 3 * rank,), jnp.float32)
    part = between(u[0], spec.scale) ** (1 / rank)
    # Sides around their geometric mean, none beyond the field.
    logs = _log_between(u[2 : 2 + rank], spec.ratio)
    parts = jnp.minimum(part * jnp.exp(logs - logs.mean()), 1.0)
    step = jnp.exp(_log_between(u[1], spec.stretch))
    windows = []
    for axis, size in enumerate(sides):
        place, room = u[2 + rank + axis], u[2 + 2 * rank + axis]
        width = parts[axis] * extent[axis]
        if spec.fit == "resize":
            low = place * (extent[axis] - width)
            own = width / size
            windows.append(Window(low + 0.5 * own - 0.5, own, low, low + width))
            continue
        width = jnp.minimum(width, size * step)
        low = place * (extent[axis] - width)
        free = size - width / step
        front = (room if spec.shift else 0.5) * free
        windows.append(Window(low + (0.5 - front) * step - 0.5, step, low, low + width))
    return windows


def whole_windows(extent: Float[Array, " rank"], sides: tuple[int, ...], fit: str) -> list[Window]:
    """Give the windows of evaluation: everything, in the middle.

    Args:
        extent: Samples of the field along each axis.
        sides: Of what the encoder sees.
        fit: As `FieldView.fit`.

    Returns:
        One window an axis.
    """
    windows = []
    for axis, size in enumerate(sides):
        length, one = extent[axis], jnp.float32(1)
        if fit == "resize":
            step = length / size
            windows.append(Window(0.5 * step - 0.5, step, 0 * one, length))
        else:
            width = jnp.minimum(length, size)
            low = 0.5 * (length - width)
            first = low - 0.5 * (size - width)
            # Whole samples: what is not resampled is read as it is.
            windows.append(Window(jnp.floor(first + 0.5), one, low, low + width))
    return windows


def read_windows(
    values: Float[Array, "*space c"],
    exists: Float[Array, "*space c"],
    windows: list[Window],
    sides: tuple[int, ...],
) -> tuple[Float[Array, "*size c"], Float[Array, "*size c"]]:
    """Read a field at the places of a view, values that are missing having no weight.

    Short axes are read with an antialias filter, a triangle as wide as two steps; axes of so many
    samples that its matrix would be large linearly between two neighbors, which aliases where the
    step is much longer than a sample.

    Args:
        values: Zero where there is none.
        exists: 1 where there is one.
        windows: One an axis.
        sides: Of the view.

    Returns:
        Values and how much of each exists, in [0, 1].
    """
    pair = jnp.concatenate([values, exists], -1)
    for axis, (window, size) in enumerate(zip(windows, sides, strict=True)):
        moved = jnp.moveaxis(pair, axis, 0)
        num, flat = moved.shape[0], moved.reshape(moved.shape[0], -1)
        places = window.first + jnp.arange(size, dtype=jnp.float32) * window.step
        inside = (places > window.low - 0.5 - 1e-3) & (places < window.high - 0.5 + 1e-3)
        if num * size <= _MAX_MATRIX:
            read = _triangle(places, window.step, num) @ flat
        else:
            read = _linear(flat, places)
        read = jnp.where(inside[:, None], read, 0.0)
        pair = jnp.moveaxis(read.reshape(size, *moved.shape[1:]), 0, axis)
    channels = values.shape[-1]
    values, exists = pair[..., :channels], pair[..., channels:]
    there = exists > 0.5
    values = jnp.where(there, values / jnp.where(there, exists, 1.0), 0.0)
    return values, there.astype(jnp.float32)


def _triangle(places: Array, step: Array, num: int) -> Float[Array, "size num"]:
    radius = jnp.maximum(step, 1.0)
    # Places beyond the first and the last sample read that sample.
    places = jnp.clip(places, 0.0, num - 1.0)
    distance = jnp.abs(places[:, None] - jnp.arange(num, dtype=jnp.float32)[None])
    weights = jnp.maximum(1 - distance / radius, 0.0)
    return weights / weights.sum(-1, keepdims=True)


def _linear(flat: Array, places: Array) -> Array:
    places = jnp.clip(places, 0.0, flat.shape[0] - 1.0)
    left = jnp.floor(places).astype(jnp.int32)
    part = (places - left.astype(jnp.float32))[:, None]
    right = jnp.minimum(left + 1, flat.shape[0] - 1)
    return flat[left] * (1 - part) + flat[right] * part


def _log_between(u: Array, bounds: tuple[float, float]) -> Array:
    low, high = (math.log(float(x)) for x in bounds)
    return low + (high - low) * u


def blur_rows(sigma: Array, size: int) -> Float[Array, "size size"]:
    """Matrix of a Gaussian along one axis; rows sum to one, so that edges are not darker.

    Examples:
        >>> blur_rows(jnp.float32(0), 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    place = np.arange(size)
    distance = jnp.asarray(place[:, None] - place[None], jnp.float32)
    scaled = distance / jnp.maximum(sigma, 1e-3)
    weights = jnp.exp(-0.5 * jnp.minimum(scaled**2, 100.0))
    weights = jnp.where(scaled**2 < 100.0, weights, 0.0)
    return weights / weights.sum(-1, keepdims=True)
