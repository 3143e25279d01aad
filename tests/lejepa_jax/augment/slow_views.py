"""Views by one operation after the other, done by PIL, scipy and numpy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from PIL import Image

from lejepa_jax.augment.draws import Draws, example_keys
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.views import make_views

views_of = jax.jit(make_views, static_argnames="specs")

# Nothing but a resize to 16 pixels.
STILL = ViewSpec(count=1, size=16, scale=(1.0, 1.0), flip=0.0)
# Everything that shapes, in colors so mild that nothing is clamped on smooth gray-ish images.
SHAPED = ViewSpec(
    count=3, size=16, scale=(0.3, 1.0), brightness=0.2, contrast=0.3, saturation=0.5, hue=0.2,
    jitter_prob=0.8, grayscale_prob=0.3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7),
)  # fmt: skip


def pictures(count=2, height=24, width=20, channels=3, low=90, high=150):
    """Smooth images with detail at every place, well inside the range of values."""
    noise = np.random.default_rng(7).normal(size=(count, height, width, channels))
    smooth = scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5, 0))
    unit = (smooth - smooth.min()) / np.ptp(smooth)
    return jnp.asarray(np.round(low + (high - low) * unit).astype(np.uint8))


def keys_of(images, seed=0):
    return example_keys(jax.random.key(seed), jnp.arange(len(images)))


def draws_of(key, number):
    """The uniform numbers of one view, as documented: the key folded, then drawn at once."""
    numbers = jax.random.uniform(jax.random.fold_in(key, number), (len(Draws._fields),))
    return Draws(*np.asarray(numbers))


def slow_window(u, aspect, spec):
    """Left, top, width, height in units of the image, from area and ratio in true aspect."""
    limit = 1 + 2 * spec.pad
    area = spec.scale[0] + (spec.scale[1] - spec.scale[0]) * float(u.area)
    # The image has height 1 and width `aspect`; a window of ratio r fits between these.
    fits = area * aspect / limit**2, aspect * limit**2 / area
    low, high = np.log(np.clip(spec.ratio, *fits))
    ratio = math.exp(low + (high - low) * float(u.ratio))
    width = math.sqrt(area * aspect * ratio) / aspect
    height = math.sqrt(area * aspect / ratio)
    left = -spec.pad + (limit - width) * float(u.x)
    top = -spec.pad + (limit - height) * float(u.y)
    return left, top, width, height


def pil_resize(image, box, size):
    """Antialiased bilinear resize of a window (left, top, right, bottom) in pixels, in floats."""
    planes = [
        Image.fromarray(np.ascontiguousarray(image[..., k])).resize(
            (size, size), Image.Resampling.BILINEAR, box=box
        )
        for k in range(image.shape[-1])
    ]
    return np.stack([np.asarray(p) for p in planes], -1)


def slow_view(u, image, spec, aspect=1.0):
    """One operation after the other, in the order of the published recipe."""
    image = (np.asarray(image) / 255).astype(np.float32)
    high, wide, channels = image.shape
    left, top, width, height = slow_window(u, aspect, spec)
    border = math.ceil(spec.pad * max(high, wide)) + 8 if spec.pad else 0
    margin = ((border, border), (border, border), (0, 0))
    padded = np.pad(image, margin, constant_values=spec.fill)
    box = [left * wide, top * high, (left + width) * wide, (top + height) * high]
    box = np.array(box) + border
    # Rounding may put the box a hair outside, which PIL refuses.
    box = np.clip(box, 0, [padded.shape[1], padded.shape[0]] * 2)
    view = pil_resize(padded, tuple(box), spec.size).astype(np.float64)
    if u.flip < spec.flip:
        view = view[:, ::-1]

    def factor(number, strength):
        return 1 + strength * (2 * float(number) - 1)

    luma = np.array([0.299, 0.587, 0.114]) if channels == 3 else np.ones(1)
    if u.jitter < spec.jitter_prob:
        view = view * factor(u.brightness, spec.brightness)
        contrast = factor(u.contrast, spec.contrast)
        view = contrast * view + (1 - contrast) * (view @ luma).mean()
        saturation = factor(u.saturation, spec.saturation)
        view = saturation * view + (1 - saturation) * (view @ luma)[..., None]
        if channels == 3:
            angle = 2 * math.pi * spec.hue * (2 * float(u.hue) - 1)
            yiq = np.array([luma, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
            y, i, q = np.moveaxis(view @ yiq.T, -1, 0)
            chroma = (i + 1j * q) * np.exp(-1j * angle)
            view = np.stack([y, chroma.real, chroma.imag], -1) @ np.linalg.inv(yiq).T
    if u.gray < spec.grayscale_prob:
        view = np.repeat((view @ luma)[..., None], channels, -1)
    view = np.clip(view, 0, 1)
    if u.blur < spec.blur_prob:
        sigma = spec.blur_sigma[0] + (spec.blur_sigma[1] - spec.blur_sigma[0]) * float(u.sigma)
        radius = spec.size - 1 if spec.blur_kernel is None else spec.blur_kernel // 2
        for axis in (0, 1):
            view = scipy.ndimage.gaussian_filter1d(
                view, sigma, axis=axis, mode="mirror", radius=radius
            )
    if u.solarize < spec.solarize_prob:
        view = np.where(view >= spec.solarize_threshold, 1 - view, view)
    return (view - np.array(spec.mean)) / np.array(spec.std)


def check_against_slow(images, spec, atol, aspect=None, seed=0):
    keys = keys_of(images, seed)
    (fast,) = views_of(keys, images, specs=(spec,), aspect=aspect)
    shape = (spec.count, len(images), spec.size, spec.size, images.shape[-1])
    assert fast.shape == shape
    assert fast.dtype == jnp.float32
    for i, image in enumerate(images):
        for number in range(spec.count):
            true = 1.0 if aspect is None else float(aspect[i])
            slow = slow_view(draws_of(keys[i], number), image, spec, true)
            np.testing.assert_allclose(fast[number, i], slow, atol=atol)
