"""Windows: which part of an image a view shows, and its pixels read as matrix products."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lejepa_jax.augment.draws import Draws, between, either_way
from lejepa_jax.augment.specs import ViewSpec


def sample_pixels(u: Draws, planes, aspect, spec: ViewSpec, tries=None):
    """Crop, resize, mirror, rotate and blur: [row, channel, column] at the output's size."""
    height, _, width = planes.shape
    size = spec.size
    x, y, box_w, box_h = sample_window(u, aspect, spec, tries)
    if spec.flip > 0:
        # A window of negative width is read from right to left.
        box_w = jnp.where(u.flip < spec.flip, -box_w, box_w)
    blur = blur_matrix(u, spec) if spec.blur_prob > 0 else None
    outside = spec.pad > 0
    filled = outside or spec.rotation > 0
    if filled:
        # What lies outside counts as zero, so zero must mean `fill`.
        planes = planes - spec.fill
    if spec.rotation == 0:
        reach = 1 + 2 * spec.pad if outside else None
        rows = resampling_matrix(y, box_h, height, size, reach=reach)
        cols = resampling_matrix(x, box_w, width, size, reach=reach)
        if blur is not None:
            rows, cols = blur @ rows, blur @ cols
        view = resample(rows, planes, cols)
    else:
        view = _rotated(u, planes, aspect, (x, y, box_w, box_h), spec)
        if blur is not None:
            view = resample(blur, view, blur)
    return view + spec.fill if filled else view


def sample_window(u: Draws, aspect, spec: ViewSpec, tries=None):
    """Center and extent of the window in units of the image's sides.

    `tries` are the numbers of "torchvision" windows, (10, 2): an area and a ratio for each try.
    """
    limit = 1 + 2 * spec.pad
    if spec.area == "torchvision":
        width, height = _first_that_fits(tries, aspect, spec, limit)
        x = 0.5 + (limit - width) * (u.x - 0.5)
        y = 0.5 + (limit - height) * (u.y - 0.5)
        return x, y, width, height
    area = between(u.area, spec.scale)
    # width = sqrt(area) e^t and height = sqrt(area) e^-t, with 2 t = log(ratio / aspect): both
    # are at most `limit` when |2 t| is at most this.
    room = jnp.maximum(2 * math.log(limit) - jnp.log(area), 0.0)
    low, high = (jnp.clip(math.log(r) - jnp.log(aspect), -room, room) for r in spec.ratio)
    half = 0.5 * (low + (high - low) * u.ratio)
    width, height = jnp.sqrt(area) * jnp.exp(half), jnp.sqrt(area) * jnp.exp(-half)
    # Rounding may leave the window a hair too large, which must not move it out of the image.
    width, height = jnp.minimum(width, limit), jnp.minimum(height, limit)
    x = 0.5 + (limit - width) * (u.x - 0.5)
    y = 0.5 + (limit - height) * (u.y - 0.5)
    return x, y, width, height


def _first_that_fits(tries, aspect, spec: ViewSpec, limit: float):
    """Width and height of the first window drawn that fits, or else the largest central ones.

    Those of torchvision are rounded to whole pixels of the image; these are not.
    """
    area = between(tries[:, 0], spec.scale)
    low, high = (math.log(r) for r in spec.ratio)
    ratio = jnp.exp(between(tries[:, 1], (low, high)))
    widths, heights = jnp.sqrt(area * ratio / aspect), jnp.sqrt(area * aspect / ratio)
    fits = (widths <= limit) & (heights <= limit)
    first = jnp.argmax(fits)
    narrow, wide = spec.ratio
    whole_width = limit * jnp.minimum(wide / aspect, 1.0)
    whole_height = limit * jnp.minimum(aspect / narrow, 1.0)
    return (
        jnp.where(fits.any(), widths[first], whole_width),
        jnp.where(fits.any(), heights[first], whole_height),
    )


def resampling_matrix(center, extent, num: int, size: int, *, reach: float | None = None):
    """Matrix [size, num] that reads `num` pixels at `size` places, with an antialias filter.

    The filter is a triangle as wide as the distance of two output pixels and at least as that of
    two input pixels (bilinear when enlarging), as in PIL and `jax.image.resize`. Rows sum to one
    over the pixels that exist; or, with `reach` (the largest extent that can occur), over all
    pixels of an endless grid, so that what lies outside counts as zero.
    """
    places = (center + extent * jnp.asarray(pixel_centers(size))) * num - 0.5
    radius = jnp.maximum(jnp.abs(extent) * num / size, 1.0)

    def triangle(distance):
        return jnp.maximum(1 - jnp.abs(distance) / radius, 0.0)

    weights = triangle(places[:, None] - jnp.arange(num, dtype=jnp.float32)[None, :])
    if reach is None:
        return weights / weights.sum(-1, keepdims=True)
    widest = math.ceil(max(reach * num / size, 1.0))
    if widest == 1:
        return weights  # triangles of radius one sum to one wherever they stand
    offsets = jnp.arange(-widest, widest + 2, dtype=jnp.float32)
    total = triangle((places - jnp.floor(places))[:, None] - offsets[None, :]).sum(-1)
    return weights / total[:, None]


def resample(rows, planes, cols):
    """Resample rows and columns of [row, channel, column]: two plain matrix products."""
    half = jnp.tensordot(rows, planes, 1)
    return jnp.tensordot(half, cols, ((2,), (1,)))


def _rotated(u: Draws, planes, aspect, window, spec: ViewSpec):
    """Read the window turned about its center."""
    height, _, width = planes.shape
    size = spec.size
    x, y, box_w, box_h = window
    reach = 1 + 2 * spec.pad
    if reach * max(height, width) > size:
        # Bilinear reading alone would alias where the image is finer than the view.
        planes = resample(
            _antialias(jnp.abs(box_h) * height / size, height),
            planes,
            _antialias(jnp.abs(box_w) * width / size, width),
        )
    angle = either_way(u.angle, math.radians(spec.rotation))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    centers = jnp.asarray(pixel_centers(size))
    across, down = box_w * centers, box_h * centers
    # The turn is a turn in true aspect, where one image width is `aspect` image heights.
    xs = x + cos * across[None, :] - (sin / aspect) * down[:, None]
    ys = y + (sin * aspect) * across[None, :] + cos * down[:, None]
    places = [ys * height - 0.5, xs * width - 0.5]
    return jax.vmap(
        lambda plane: jax.scipy.ndimage.map_coordinates(plane, places, order=1),
        in_axes=1,
        out_axes=1,
    )(planes)


def _antialias(radius, num: int):
    """Matrix [num, num] of a triangle filter; the identity at radius one or less."""
    grid = jnp.arange(num, dtype=jnp.float32)
    distance = jnp.abs(grid[:, None] - grid[None, :])
    weights = jnp.maximum(1 - distance / jnp.maximum(radius, 1.0), 0.0)
    return weights / weights.sum(-1, keepdims=True)


def blur_matrix(u: Draws, spec: ViewSpec):
    """Matrix [size, size] of a Gaussian with mirrored edges, or the identity."""
    size = spec.size
    place = np.arange(size)
    # A pixel is read directly, mirrored at the first pixel, or mirrored at the last; the first
    # and the last pixel are their own mirror images and count once.
    before = np.where(place > 0, place, 4 * size)
    after = np.where(place < size - 1, 2 * (size - 1) - place, 4 * size)
    sigma = between(u.sigma, spec.blur_sigma)
    reach = 4 * size if spec.blur_kernel is None else spec.blur_kernel // 2
    weights = jnp.zeros((size, size), jnp.float32)
    for distance in (
        np.abs(place[:, None] - place[None, :]),
        place[:, None] + before[None, :],
        np.abs(after[None, :] - place[:, None]),
    ):
        gaussian = jnp.exp(-0.5 * jnp.square(jnp.asarray(distance, jnp.float32) / sigma))
        weights = weights + jnp.where(jnp.asarray(distance <= reach), gaussian, 0.0)
    weights = weights / weights.sum(-1, keepdims=True)
    return jnp.where(u.blur < spec.blur_prob, weights, jnp.eye(size, dtype=jnp.float32))


def pixel_centers(size: int) -> np.ndarray:
    """Centers of `size` pixels that tile [-1/2, 1/2]."""
    return ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
