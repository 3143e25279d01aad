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

``python -m lejepa_jax.augment --help`` draws a table of views.

References:
    R. Balestriero and Y. LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without
    the Heuristics", arXiv 2511.08544, 2025, experiment details 1 (ranges of the views).
"""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from lejepa_jax.augment.colors import recolor
from lejepa_jax.augment.draws import Draws, between, draw_numbers, draw_tries, either_way
from lejepa_jax.augment.specs import ViewSpec, channel_statistics, check_statistics
from lejepa_jax.augment.windows import pixel_centers, resample, resampling_matrix, sample_pixels


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
    solarizes and :math:`n` normalizes. View :math:`v` of example :math:`i` is keyed by
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
        >>> from lejepa_jax.augment.draws import example_keys
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
        spec.statistics(channels)
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
    check_statistics(mean, std)
    mean, std = channel_statistics(mean, std, channels)
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if not 0 < crop <= 1:
        raise ValueError(f"crop must be above 0 and at most 1, got {crop}")

    def view(planes, aspect):
        height, _, width = planes.shape
        rows = resampling_matrix(0.5, crop * jnp.minimum(aspect, 1.0), height, size)
        cols = resampling_matrix(0.5, crop * jnp.minimum(1 / aspect, 1.0), width, size)
        return _normalize(resample(rows, planes, cols).swapaxes(-1, -2), mean, std)

    return jax.vmap(view)(_planes(images), aspect)


def _view(spec: ViewSpec, key, number, planes, aspect):
    """View `number` of one image, [size, size, channel]."""
    u = draw_numbers(key, number)
    tries = draw_tries(key, number) if spec.area == "torchvision" else None
    view = sample_pixels(u, planes, aspect, spec, tries)
    view = jnp.clip(recolor(u, view, spec), 0.0, 1.0)
    if spec.solarize_prob > 0:
        inverted = (u.solarize < spec.solarize_prob) & (view >= spec.solarize_threshold)
        view = jnp.where(inverted, 1 - view, view)
    if spec.noise > 0:
        # No view is numbered so high: its own key, and no work for it without noise.
        noise_key = jax.random.fold_in(key, number + jnp.uint32(2**31))
        view = view + spec.noise * jax.random.normal(noise_key, view.shape, jnp.float32)
    view = _normalize(view, *spec.statistics(view.shape[-1]))
    if spec.erase_prob > 0:
        view = jnp.where(_erased(u, spec)[:, :, None], 0.0, view)
    return view


def _erased(u: Draws, spec: ViewSpec):
    """Whether each pixel [size, size] lies in the erased rectangle."""
    area = between(u.erase_area, spec.erase_scale)
    ratio = jnp.exp(either_way(u.erase_ratio, math.log(3.3)))
    width = jnp.minimum(jnp.sqrt(area * ratio), 1.0)
    height = jnp.minimum(jnp.sqrt(area / ratio), 1.0)
    place = jnp.asarray(pixel_centers(spec.size))
    across = jnp.abs(place - (1 - width) * (u.erase_x - 0.5)) < width / 2
    down = jnp.abs(place - (1 - height) * (u.erase_y - 0.5)) < height / 2
    return (u.erase < spec.erase_prob) & down[:, None] & across[None, :]


def _normalize(view, mean: tuple[float, ...], std: tuple[float, ...]):
    center = jnp.asarray(mean, jnp.float32)[None, None, :]
    return (view - center) * (1 / jnp.asarray(std, jnp.float32))[None, None, :]


def _planes(images):
    """Images as [row, channel, column] in [0, 1]: the layout of the two matrix products."""
    return jnp.swapaxes(images, -1, -2).astype(jnp.float32) / 255


def _check_images(images) -> tuple[int, int]:
    if images.ndim != 4 or images.dtype != jnp.uint8 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "images must be uint8 of shape (batch, height, width, 1 or 3), "
            f"got {images.dtype} of shape {images.shape}"
        )
    return images.shape[0], images.shape[-1]


def _check_aspect(aspect, batch: int):
    if aspect is None:
        return jnp.ones(batch, jnp.float32)
    if aspect.shape != (batch,):
        raise ValueError(f"aspect must hold one number an image, ({batch},), got {aspect.shape}")
    return aspect.astype(jnp.float32)
