r"""Random views of images, made on the device from ``uint8`` under ``jit``.

A view is a random window of the image, resized, perhaps mirrored and blurred, with its colors
changed. Three facts make it cheap:

* Cropping, resizing with an antialias filter, mirroring and blurring are each linear and each
  act on rows and columns separately. Their product is one matrix for the rows and one for the
  columns, so that a view is :math:`A_y I A_x^\top`: two matrix products.
* Brightness, contrast, saturation, hue (as a rotation of the chroma plane) and grayscale are
  affine in the color. On a luma-preserving chroma plane they also commute, so that their order
  does not matter, and together they are one 3x3 matrix and one bias a view.
* Everything random about a view is drawn in one call, from a key that depends on the seed, the
  example's global index and the view's number alone. The same seed gives the same views however
  the batch is sharded, and an added option or view does not change the others.

Where this departs from the same list of operations applied one after the other by an image
library: values are clamped to [0, 1] once, after all color operations, not after each; blur comes
before them; the antialias filter may read pixels just outside the window; hue turns the chroma of
YIQ and keeps the luma, where HSV keeps the largest channel.

``python -m lejepa_jax.augment.views --help`` draws a table of views.

References:
    R. Balestriero and Y. LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without
    the Heuristics", arXiv 2511.08544, 2025, experiment details 1 (ranges of the views).
"""

import dataclasses
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray, UInt8

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2470, 0.2435, 0.2616)

# NTSC: RGB to luma Y and the two chroma coordinates I and Q.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_LUMA = _YIQ[0]
# Color = gray part + chroma part. `_GRAY` projects on the gray axis along the chroma plane;
# `_QUARTER` turns the chroma plane by 90 degrees, from red towards yellow, and removes the gray.
_GRAY = np.ones((3, 1)) * _LUMA[None, :]
_QUARTER = np.linalg.inv(_YIQ) @ np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]]) @ _YIQ


class _Draws(NamedTuple):
    """Uniform numbers of one view. All are always drawn: an option changes nothing but itself."""

    area: Array
    ratio: Array
    x: Array
    y: Array
    flip: Array
    angle: Array
    jitter: Array
    brightness: Array
    contrast: Array
    saturation: Array
    hue: Array
    gray: Array
    blur: Array
    sigma: Array
    solarize: Array
    erase: Array
    erase_area: Array
    erase_ratio: Array
    erase_x: Array
    erase_y: Array


@dataclasses.dataclass(frozen=True)
class ViewSpec:
    """What to draw for one kind of view. Every probability is per view and independent.

    Attributes:
        count: how many views of this kind.
        size: side of the output in pixels.
        scale: range of the window's area as a part of the image's area, drawn uniformly.
        ratio: range of the window's width by height in true aspect, drawn log-uniformly, and
            narrowed where the window would not fit. (Rejecting and drawing again, as image
            libraries do, makes large areas rarer; here the area stays uniform.)
        pad: how far the window may leave the image on each side, as a part of the image's side.
            The area may then exceed 1, up to (1 + 2 pad)^2.
        fill: gray level in [0, 1] of what lies outside the image.
        flip: probability of a left-right mirror image.
        rotation: largest angle in degrees; the window turns about its center, uniformly either
            way, and may so leave the image whatever `pad` is.
        brightness: half-width of the factor's range around 1.
        contrast: the same, about the view's mean gray.
        saturation: the same, about each pixel's gray.
        hue: largest turn of the chroma, in full turns, up to 0.5.
        jitter_prob: probability of those four together.
        grayscale_prob: probability of losing all color.
        blur_prob: probability of a Gaussian blur.
        blur_sigma: range of its standard deviation in output pixels, drawn uniformly.
        blur_kernel: odd width at which the Gaussian is cut off; None cuts nothing off.
        solarize_prob: probability of inverting the values from `solarize_threshold` on.
        solarize_threshold: in [0, 1].
        noise: standard deviation of Gaussian noise on the [0, 1] scale, added after all else.
        erase_prob: probability of replacing a rectangle by `mean`.
        erase_scale: range of its area as a part of the view; its ratio is within (0.3, 3.3).
        mean: subtracted from each channel at the end; one number serves all channels.
        std: divided by, likewise.

    Raises:
        ValueError: a range is reversed, or a value lies outside what is said above.

    Examples:
        >>> ViewSpec(count=2, size=32, scale=(0.3, 1.0), flip=0.5).ratio
        (0.75, 1.3333333333333333)
        >>> ViewSpec(count=2, size=32, scale=(1.0, 0.3))
        Traceback (most recent call last):
            ...
        ValueError: scale must be a range (low, high) within (0, 1.0], got (1.0, 0.3)
    """

    count: int
    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    pad: float = 0.0
    fill: float = 0.0
    flip: float = 0.5
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_prob: float = 1.0
    grayscale_prob: float = 0.0
    blur_prob: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_kernel: int | None = None
    solarize_prob: float = 0.0
    solarize_threshold: float = 128 / 255
    noise: float = 0.0
    erase_prob: float = 0.0
    erase_scale: tuple[float, float] = (0.02, 0.33)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self):
        def require(name: str, holds: bool, wanted: str):
            if not holds:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)}")

        for name in ("count", "size"):
            require(name, getattr(self, name) >= 1, "at least 1")
        probabilities = ("flip", "jitter_prob", "grayscale_prob", "blur_prob", "solarize_prob")
        for name in (*probabilities, "erase_prob", "fill", "solarize_threshold"):
            require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        for name in ("brightness", "contrast", "saturation", "noise", "pad"):
            require(name, 0 <= getattr(self, name) < math.inf, "zero or more")
        require("hue", 0 <= self.hue <= 0.5, "between 0 and 0.5")
        require("rotation", 0 <= self.rotation <= 180, "between 0 and 180 degrees")
        largest = (1 + 2 * self.pad) ** 2
        for name, top in (
            ("scale", largest),
            ("ratio", math.inf),
            ("blur_sigma", math.inf),
            ("erase_scale", 1.0),
        ):
            low, high = getattr(self, name)
            require(name, 0 < low <= high <= top, f"a range (low, high) within (0, {top}]")
        kernel = self.blur_kernel
        require("blur_kernel", kernel is None or (kernel > 0 and kernel % 2 == 1), "odd or None")
        _check_statistics(self.mean, self.std)


def global_view(count: int = 2, size: int = 224) -> ViewSpec:
    """Large windows of the published ImageNet recipe.

    The blur's range is not published with the rest; it is that of the paper's minimal example.

    Args:
        count: how many views.
        size: side in pixels.

    Returns:
        The specification; change it with `dataclasses.replace`.

    Examples:
        >>> global_view().scale, local_view().scale
        ((0.3, 1.0), (0.05, 0.3))

    References:
        R. Balestriero and Y. LeCun, "LeJEPA", arXiv 2511.08544, 2025, experiment details 1.
    """
    return ViewSpec(
        count=count,
        size=size,
        scale=(0.3, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        jitter_prob=0.8,
        grayscale_prob=0.2,
        blur_prob=0.5,
        solarize_prob=0.2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def local_view(count: int = 6, size: int = 98) -> ViewSpec:
    """Small windows of the published ImageNet recipe; 98 is a multiple of patch size 14.

    Args:
        count: how many views.
        size: side in pixels: 98 for patches of 14, 96 for patches of 16.

    Returns:
        The specification.

    Examples:
        >>> local_view(size=96).size
        96
    """
    return dataclasses.replace(global_view(count, size), scale=(0.05, 0.3))


def minimal_view(count: int = 4, size: int = 128) -> ViewSpec:
    """Views of the paper's minimal example (Imagenette, one resolution, strong colors).

    Args:
        count: how many views.
        size: side in pixels.

    Returns:
        The specification.

    Examples:
        >>> minimal_view().hue
        0.2
    """
    return dataclasses.replace(
        global_view(count, size),
        scale=(0.08, 1.0),
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.2,
        blur_kernel=7,
    )


def cifar_view(count: int = 4, size: int = 32) -> ViewSpec:
    """Views for photographs of 32x32 pixels: no blur, there is no detail to spare.

    Args:
        count: how many views.
        size: side in pixels.

    Returns:
        The specification.

    Examples:
        >>> cifar_view().size
        32
    """
    return ViewSpec(
        count=count,
        size=size,
        scale=(0.2, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        jitter_prob=0.8,
        grayscale_prob=0.2,
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
    )


def digits_view(count: int = 4, size: int = 16) -> ViewSpec:
    """Views for handwritten digits: mild shift, scale, rotation and contrast, never mirrored.

    Args:
        count: how many views.
        size: side in pixels.

    Returns:
        The specification.

    Examples:
        >>> digits_view().flip
        0.0
    """
    return ViewSpec(
        count=count,
        size=size,
        scale=(0.6, 1.3),
        ratio=(0.8, 1.25),
        pad=0.125,
        flip=0.0,
        rotation=15.0,
        brightness=0.2,
        contrast=0.3,
        mean=(0.31,),
        std=(0.38,),
    )


def example_keys(key: PRNGKeyArray, index: Int[Array, " b"]) -> Key[Array, " b"]:
    """Derive one key an example from its position in the whole data set or global batch.

    Args:
        key: the same on every device; `fold_in(key, step)` gives new views each step.
        index: the global index of each example, so that the views do not depend on the sharding.

    Returns:
        One key an example.

    Examples:
        >>> example_keys(jax.random.key(0), jnp.arange(3)).shape
        (3,)
    """
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def make_views(
    keys: Key[Array, " b"],
    images: UInt8[Array, "b h w c"],
    specs: Sequence[ViewSpec],
    *,
    aspect: Float[Array, " b"] | None = None,
) -> tuple[Float[Array, "v b s s c"], ...]:
    r"""Draw random views of every image.

    With the draws of one view, the output is :math:`n(s(\mathrm{clip}(M\, A_y I A_x^\top + b)))`:
    :math:`A_y, A_x` crop, resize, mirror and blur; :math:`M, b` change the colors; :math:`s`
    solarises and :math:`n` normalizes. View :math:`v` of example :math:`i` is keyed by
    `fold_in(keys[i], v)`, where views are numbered through all of `specs`: one specification of
    four views gives the same as two of two, and appending another changes none before it.

    With rotation, the window is sampled bilinearly instead, after an antialias filter if the
    image is larger than the view.

    Args:
        keys: one an example, from `example_keys`.
        images: one or three channels. All have one stored size, so images of several shapes are
            stored squashed.
        specs: what to draw; a tuple, if it is to be a static argument of `jit`.
        aspect: width by height of each image before it was squashed, so that windows have their
            ratio in the true image; None when the stored pixels are square.

    Returns:
        For each specification its views, normalized, in float32. Pixels are at [view, example,
        row, column, channel].

    Raises:
        ValueError: `images` is no batch of uint8 images with one or three channels, `keys` or
            `aspect` has another length, `specs` is empty, or a `mean` has another number of
            channels.

    Examples:
        >>> images = jnp.zeros((2, 8, 8, 3), jnp.uint8)
        >>> keys = example_keys(jax.random.key(0), jnp.arange(2))
        >>> specs = (ViewSpec(count=2, size=16), ViewSpec(count=6, size=7, scale=(0.05, 0.3)))
        >>> views = jax.jit(make_views, static_argnames="specs")(keys, images, specs=specs)
        >>> [v.shape for v in views]
        [(2, 2, 16, 16, 3), (6, 2, 7, 7, 3)]
    """
    batch, channels = _check_images(images)
    aspect = _check_aspect(aspect, batch)
    if keys.shape != (batch,):
        raise ValueError(f"keys must hold one key an image, ({batch},), got {keys.shape}")
    if not specs:
        raise ValueError("specs must hold at least one ViewSpec, got none")
    planes = _planes(images)
    outputs, first = [], 0
    for spec in specs:
        _check_channels(spec.mean, spec.std, channels)
        numbers = jnp.arange(first, first + spec.count, dtype=jnp.uint32)
        # Only the sampling matrices differ between the views of an image: the inner vmap makes
        # their rows the rows of one larger product, and converts the image once.
        one_image = jax.vmap(partial(_view, spec), (None, 0, None, None))
        batched = jax.vmap(one_image, (0, None, 0, 0), out_axes=1)
        outputs.append(batched(keys, numbers, planes, aspect))
        first += spec.count
    return tuple(outputs)


def eval_view(
    images: UInt8[Array, "b h w c"],
    size: int,
    *,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    aspect: Float[Array, " b"] | None = None,
    crop: float = 1.0,
) -> Float[Array, "b {size} {size} c"]:
    """Take the central square of every image, resized and normalized: nothing random.

    Args:
        images: as for `make_views`.
        size: side of the output in pixels.
        mean: subtracted from each channel; one number serves all channels.
        std: divided by, likewise.
        aspect: as for `make_views`.
        crop: side of the square by the image's shorter side. Resizing the shorter side to 256
            and cutting out 224 is 0.875.

    Returns:
        One float32 view an image.

    Raises:
        ValueError: as `make_views`, or `size` or `crop` is out of range.

    Examples:
        >>> images = jnp.full((1, 8, 8, 1), 255, jnp.uint8)
        >>> float(eval_view(images, 4, mean=(0.5,), std=(0.5,)).min())
        1.0
    """
    batch, channels = _check_images(images)
    aspect = _check_aspect(aspect, batch)
    _check_statistics(mean, std)
    _check_channels(mean, std, channels)
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if not 0 < crop <= 1:
        raise ValueError(f"crop must be above 0 and at most 1, got {crop}")

    def view(planes, aspect):
        height, _, width = planes.shape
        rows = _resampling(0.5, crop * jnp.minimum(aspect, 1.0), height, size)
        cols = _resampling(0.5, crop * jnp.minimum(1 / aspect, 1.0), width, size)
        return _normalize(_apply(rows, planes, cols).swapaxes(-1, -2), mean, std)

    return jax.vmap(view)(_planes(images), aspect)


def _view(spec: ViewSpec, key, number, planes, aspect):
    """View `number` of one image, [size, size, channel]."""
    u = _Draws(*jax.random.uniform(jax.random.fold_in(key, number), (len(_Draws._fields),)))
    view = _sample(u, planes, aspect, spec)
    view = jnp.clip(_recolor(u, view, spec), 0.0, 1.0)
    if spec.solarize_prob > 0:
        inverted = (u.solarize < spec.solarize_prob) & (view >= spec.solarize_threshold)
        view = jnp.where(inverted, 1 - view, view)
    if spec.noise > 0:
        # No view is numbered so high: its own key, and no work for it without noise.
        noise_key = jax.random.fold_in(key, number + jnp.uint32(2**31))
        view = view + spec.noise * jax.random.normal(noise_key, view.shape)
    view = _normalize(view, spec.mean, spec.std)
    if spec.erase_prob > 0:
        view = jnp.where(_erased(u, spec)[:, :, None], 0.0, view)
    return view


def _sample(u: _Draws, planes, aspect, spec: ViewSpec):
    """Crop, resize, mirror, rotate and blur: [row, channel, column] at the output's size."""
    height, _, width = planes.shape
    size = spec.size
    x, y, box_w, box_h = _window(u, aspect, spec)
    if spec.flip > 0:
        # A window of negative width is read from right to left.
        box_w = jnp.where(u.flip < spec.flip, -box_w, box_w)
    blur = _blur(u, spec) if spec.blur_prob > 0 else None
    outside = spec.pad > 0
    filled = outside or spec.rotation > 0
    if filled:
        # What lies outside counts as zero, so zero must mean `fill`.
        planes = planes - spec.fill
    if spec.rotation == 0:
        reach = 1 + 2 * spec.pad if outside else None
        rows = _resampling(y, box_h, height, size, reach=reach)
        cols = _resampling(x, box_w, width, size, reach=reach)
        if blur is not None:
            rows, cols = blur @ rows, blur @ cols
        view = _apply(rows, planes, cols)
    else:
        view = _rotated(u, planes, aspect, (x, y, box_w, box_h), spec)
        if blur is not None:
            view = _apply(blur, view, blur)
    return view + spec.fill if filled else view


def _window(u: _Draws, aspect, spec: ViewSpec):
    """Center and extent of the window in units of the image's sides."""
    limit = 1 + 2 * spec.pad
    area = _between(u.area, spec.scale)
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


def _resampling(center, extent, num: int, size: int, *, reach: float | None = None):
    """Matrix [size, num] that reads `num` pixels at `size` places, with an antialias filter.

    The filter is a triangle as wide as the distance of two output pixels and at least as that of
    two input pixels (bilinear when enlarging), as in PIL and `jax.image.resize`. Rows sum to one
    over the pixels that exist; or, with `reach` (the largest extent that can occur), over all
    pixels of an endless grid, so that what lies outside counts as zero.
    """
    places = (center + extent * jnp.asarray(_centers(size))) * num - 0.5
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


def _apply(rows, planes, cols):
    """Resample rows and columns of [row, channel, column]: two plain matrix products."""
    half = jnp.tensordot(rows, planes, 1)
    return jnp.tensordot(half, cols, ((2,), (1,)))


def _rotated(u: _Draws, planes, aspect, window, spec: ViewSpec):
    """Read the window turned about its center."""
    height, _, width = planes.shape
    size = spec.size
    x, y, box_w, box_h = window
    reach = 1 + 2 * spec.pad
    if reach * max(height, width) > size:
        # Bilinear reading alone would alias where the image is finer than the view.
        planes = _apply(
            _antialias(jnp.abs(box_h) * height / size, height),
            planes,
            _antialias(jnp.abs(box_w) * width / size, width),
        )
    angle = _either_way(u.angle, math.radians(spec.rotation))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    across, down = box_w * jnp.asarray(_centers(size)), box_h * jnp.asarray(_centers(size))
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


def _blur(u: _Draws, spec: ViewSpec):
    """Matrix [size, size] of a Gaussian with mirrored edges, or the identity."""
    size = spec.size
    place = np.arange(size)
    # A pixel is read directly, mirrored at the first pixel, or mirrored at the last; the first
    # and the last pixel are their own mirror images and count once.
    before = np.where(place > 0, place, 4 * size)
    after = np.where(place < size - 1, 2 * (size - 1) - place, 4 * size)
    sigma = _between(u.sigma, spec.blur_sigma)
    reach = 4 * size if spec.blur_kernel is None else spec.blur_kernel // 2
    weights = jnp.zeros((size, size))
    for distance in (
        np.abs(place[:, None] - place[None, :]),
        place[:, None] + before[None, :],
        np.abs(after[None, :] - place[:, None]),
    ):
        gaussian = jnp.exp(-0.5 * jnp.square(jnp.asarray(distance, jnp.float32) / sigma))
        weights = weights + jnp.where(jnp.asarray(distance <= reach), gaussian, 0.0)
    weights = weights / weights.sum(-1, keepdims=True)
    return jnp.where(u.blur < spec.blur_prob, weights, jnp.eye(size))


def _recolor(u: _Draws, view, spec: ViewSpec):
    r"""Change the colors of [row, channel, column] into [row, column, channel].

    Brightness :math:`\beta`, contrast :math:`\gamma` about the mean gray :math:`\bar g`,
    saturation :math:`\sigma` and hue :math:`\theta` are, in any order,
    :math:`\beta\gamma\,(P + \sigma(\cos\theta\,(1 - P) + \sin\theta\,J))\,x
    + \beta(1 - \gamma)\,\bar g`, with :math:`P` the projection on the gray axis and :math:`J`
    the quarter turn of the chroma plane. Grayscale is :math:`\sigma = 0`.
    """
    channels = view.shape[1]
    jitter = u.jitter < spec.jitter_prob

    def factor(name):
        strength = getattr(spec, name)
        drawn = _between(getattr(u, name), (max(1 - strength, 0.0), 1 + strength))
        return jnp.where(jitter, drawn, 1.0)

    brightness, contrast = factor("brightness"), factor("contrast")
    luma = _LUMA if channels == 3 else np.ones(1)
    means = view.mean((0, 2))
    gray = sum(luma[k] * means[k] for k in range(channels))
    gain, bias = brightness * contrast, brightness * (1 - contrast) * gray
    if channels == 1 or not (spec.saturation or spec.hue or spec.grayscale_prob):
        return gain * view.swapaxes(1, 2) + bias
    saturation = factor("saturation")
    if spec.grayscale_prob > 0:
        saturation = jnp.where(u.gray < spec.grayscale_prob, 0.0, saturation)
    angle = jnp.where(jitter, _either_way(u.hue, 2 * math.pi * spec.hue), 0.0)
    projection, quarter = jnp.asarray(_GRAY, jnp.float32), jnp.asarray(_QUARTER, jnp.float32)
    turned = jnp.cos(angle) * (jnp.eye(3) - projection) + jnp.sin(angle) * quarter
    matrix = gain * (projection + saturation * turned)
    # Written out: XLA on CPU is three times slower with a 3x3 product a pixel.
    return bias + sum(view[:, k, :, None] * matrix[None, None, :, k] for k in range(3))


def _erased(u: _Draws, spec: ViewSpec):
    """Whether each pixel [size, size] lies in the erased rectangle."""
    area = _between(u.erase_area, spec.erase_scale)
    ratio = jnp.exp(_either_way(u.erase_ratio, math.log(3.3)))
    width = jnp.minimum(jnp.sqrt(area * ratio), 1.0)
    height = jnp.minimum(jnp.sqrt(area / ratio), 1.0)
    place = jnp.asarray(_centers(spec.size))
    across = jnp.abs(place - (1 - width) * (u.erase_x - 0.5)) < width / 2
    down = jnp.abs(place - (1 - height) * (u.erase_y - 0.5)) < height / 2
    return (u.erase < spec.erase_prob) & down[:, None] & across[None, :]


def _normalize(view, mean: tuple[float, ...], std: tuple[float, ...]):
    center = jnp.asarray(mean, jnp.float32)[None, None, :]
    return (view - center) * (1 / jnp.asarray(std, jnp.float32))[None, None, :]


def _planes(images):
    """Images as [row, channel, column] in [0, 1]: the layout of the two matrix products."""
    return jnp.swapaxes(images, -1, -2).astype(jnp.float32) / 255


def _centers(size: int) -> np.ndarray:
    """Centers of `size` pixels that tile [-1/2, 1/2]."""
    return ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)


def _between(number, bounds: tuple[float, float]):
    low, high = bounds
    return low + (high - low) * number


def _either_way(number, largest: float):
    return largest * (2 * number - 1)


def _check_images(images) -> tuple[int, int]:
    if images.ndim != 4 or images.dtype != jnp.uint8 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "images must be uint8 of shape (batch, height, width, 1 or 3), "
            f"got {images.dtype} of shape {images.shape}"
        )
    return images.shape[0], images.shape[-1]


def _check_aspect(aspect, batch: int):
    if aspect is None:
        return jnp.ones(batch)
    if aspect.shape != (batch,):
        raise ValueError(f"aspect must hold one number an image, ({batch},), got {aspect.shape}")
    return aspect.astype(jnp.float32)


def _check_statistics(mean: tuple[float, ...], std: tuple[float, ...]):
    if len(mean) != len(std) or not mean:
        raise ValueError(f"mean and std must be of one length, got {mean} and {std}")
    if min(std) <= 0:
        raise ValueError(f"std must be positive, got {std}")


def _check_channels(mean: tuple[float, ...], std: tuple[float, ...], channels: int):
    if len(mean) not in (1, channels):
        raise ValueError(f"mean and std must have 1 or {channels} numbers, got {mean} and {std}")


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Draw a table of views: a row an image, first the image, then its views.

    Attributes:
        images: an image file or a folder of them; without it, scikit-learn's handwritten digits.
        preset: which views; by default those for digits, or the published ones for own images.
        seed: of the views.
        rows: how many images at most.
        stored: side of the square that images are first squashed to; by default that of the
            largest view.
        tile: side of a picture in the table, in pixels.
        out: the PNG file to write.
    """

    images: Path | None = None
    preset: Literal["published", "minimal", "cifar", "digits"] | None = None
    seed: int = 0
    rows: int = 8
    stored: int | None = None
    tile: int = 112
    out: str = "views.png"


def draw(sheet: Sheet) -> Path:
    """Write the table that `sheet` describes.

    Args:
        sheet: what to draw and where.

    Returns:
        The path of the PNG file.

    Raises:
        ValueError: `images` holds no readable image, or a number is not positive.
    """
    # Only this table needs the training extra; the views do not.
    from PIL import Image, ImageDraw

    for name in ("rows", "stored", "tile"):
        if (value := getattr(sheet, name)) is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    match sheet.preset or ("published" if sheet.images else "digits"):
        case "published":
            specs = (global_view(), local_view())
        case "minimal":
            specs = (minimal_view(),)
        case "cifar":
            specs = (cifar_view(),)
        case "digits":
            specs = (digits_view(),)
    images, aspect = _load(sheet, max(s.size for s in specs), len(specs[0].mean))
    keys = example_keys(jax.random.key(sheet.seed), jnp.arange(len(images)))
    views = jax.jit(make_views, static_argnames="specs")(keys, images, specs=specs, aspect=aspect)

    tile, gap, header = sheet.tile, 4, 14
    step = tile + gap
    columns = 1 + sum(s.count for s in specs)
    table = Image.new("RGB", (columns * step + gap, len(images) * step + gap + header), "white")
    pen = ImageDraw.Draw(table)

    def paste(pixels: np.ndarray, row: int, column: int, aspect: float = 1.0):
        pixels = np.broadcast_to(np.round(255 * pixels.clip(0, 1)), (*pixels.shape[:2], 3))
        shape = round(tile * min(aspect, 1)), round(tile / max(aspect, 1))
        smaller = max(shape) < len(pixels)
        picture = Image.fromarray(pixels.astype(np.uint8)).resize(
            (max(shape[0], 1), max(shape[1], 1)),
            Image.Resampling.BOX if smaller else Image.Resampling.NEAREST,
        )
        table.paste(picture, (gap + column * step, gap + header + row * step))

    pen.text((gap, gap), "image", "black")
    for row, image in enumerate(np.asarray(images)):
        paste(image / 255, row, 0, float(aspect[row]))
    column = 1
    for spec, drawn in zip(specs, views, strict=True):
        shown = np.asarray(drawn) * np.asarray(spec.std) + np.asarray(spec.mean)
        for number in range(spec.count):
            title = f"view {column - 1}: {spec.size} px"
            pen.text((gap + column * step, gap), title, "black")
            for row in range(len(images)):
                paste(shown[number, row], row, column)
            column += 1
    table.save(sheet.out)
    return Path(sheet.out)


def _load(sheet: Sheet, largest: int, channels: int) -> tuple[Array, Array]:
    """Images of the sheet as squashed uint8 squares, and their true aspects."""
    if sheet.images is None:
        from sklearn.datasets import load_digits

        pixels, _ = load_digits(return_X_y=True)
        scans = np.round(pixels[: sheet.rows] * (255 / 16)).astype(np.uint8)
        scans = np.repeat(scans.reshape(-1, 8, 8, 1), channels, -1)
        return jnp.asarray(scans), jnp.ones(len(scans))

    from PIL import Image

    folder = sheet.images.is_dir()
    endings = Image.registered_extensions()
    paths = sorted(sheet.images.rglob("*")) if folder else [sheet.images]
    paths = [p for p in paths if not folder or p.suffix.lower() in endings][: sheet.rows]
    if not paths:
        raise ValueError(f"images must be or hold an image, got {sheet.images}")
    side = sheet.stored or largest
    squares, aspects = [], []
    for path in paths:
        try:
            with Image.open(path) as file:
                image = file.convert("L" if channels == 1 else "RGB")
        except OSError as error:
            raise ValueError(f"images must be readable images, got {path}: {error}") from error
        aspects.append(image.width / image.height)
        square = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
        squares.append(square.reshape(side, side, channels))
    return jnp.asarray(np.stack(squares)), jnp.asarray(aspects, jnp.float32)


def main(args: Sequence[str] | None = None):
    """Run the command line.

    Args:
        args: the arguments; None takes those of the process.
    """
    import tyro

    sheet = tyro.cli(Sheet, prog="python -m lejepa_jax.augment", args=args)
    try:
        path = draw(sheet)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    sys.stdout.write(f"wrote {path}\n")
