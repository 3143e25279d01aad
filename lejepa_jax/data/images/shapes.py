"""Shapes on textured backgrounds with a class a pixel: a dense task that needs no download."""

import numpy as np
from jaxtyping import Bool, Float, Int32, UInt8

from lejepa_jax.checks import check_positive

#: Classes of the pixels.
SHAPE_NAMES = ("background", "disk", "square", "triangle", "ring", "cross")
_SHAPES_AN_IMAGE = 2
_CONTRAST, _NOISE = 55.0, 12.0


def textured_shapes(
    number: int, *, size: int, channels: int = 3, seed: int = 0
) -> tuple[UInt8[np.ndarray, "n s s c"], Int32[np.ndarray, "n s s"]]:
    """Draw images of two turned shapes each, and say of every pixel what it belongs to.

    Shapes and background have a color and a grating of their own, drawn alike: neither color nor
    brightness says what is a shape, or which. Later shapes hide earlier ones.

    Args:
        number: How many images.
        size: Their side in pixels.
        channels: Their channels.
        seed: Names the images: image `i` depends on the seed and `i` alone.

    Returns:
        The images, and the class of each pixel, a number of `SHAPE_NAMES`.

    Raises:
        ValueError: If a number is not positive.

    Examples:
        >>> images, masks = textured_shapes(4, size=32)
        >>> images.shape, bool(0.3 < (masks == 0).mean() < 0.95), int(masks.max()) < 6
        ((4, 32, 32, 3), True, True)
    """
    for name, value in (("number", number), ("size", size), ("channels", channels)):
        check_positive(name, value)
    # Pixel centers in [-1, 1].
    line = (np.arange(size) + 0.5) * (2 / size) - 1
    y, x = np.meshgrid(line, line, indexing="ij")
    images = np.zeros((number, size, size, channels), np.uint8)
    masks = np.zeros((number, size, size), np.int32)
    for index in range(number):
        rng = np.random.default_rng((seed, index))
        picture = _texture(rng, x, y, channels)
        for _ in range(_SHAPES_AN_IMAGE):
            kind = 1 + int(rng.random() * (len(SHAPE_NAMES) - 1))
            where = _shape(rng, kind, x, y)
            picture = np.where(where[..., None], _texture(rng, x, y, channels), picture)
            masks[index][where] = kind
        noise = _NOISE * (2 * rng.random(picture.shape) - 1)
        images[index] = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return images, masks


def _texture(
    rng: np.random.Generator,
    x: Float[np.ndarray, "s s"],
    y: Float[np.ndarray, "s s"],
    channels: int,
) -> Float[np.ndarray, "s s c"]:
    """One color with a grating in another, between 0 and 255."""
    angle, frequency, phase = rng.random(3) * [np.pi, 6.0, 2 * np.pi]
    wave = np.sin((2 + frequency) * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    color = 60 + 135 * rng.random(channels)
    return color + wave[..., None] * _CONTRAST * (2 * rng.random(channels) - 1)


def _shape(
    rng: np.random.Generator,
    kind: int,
    x: Float[np.ndarray, "s s"],
    y: Float[np.ndarray, "s s"],
) -> Bool[np.ndarray, "s s"]:
    """Pixels inside of a shape at a random place, of a random size, turned at random."""
    left, up = 1.2 * rng.random(2) - 0.6
    radius, angle = 0.45 + 0.25 * rng.random(), 2 * np.pi * rng.random()
    u = (np.cos(angle) * (x - left) + np.sin(angle) * (y - up)) / radius
    v = (np.cos(angle) * (y - up) - np.sin(angle) * (x - left)) / radius
    distance = np.hypot(u, v)
    name = SHAPE_NAMES[kind]
    if name == "disk":
        return distance < 0.9
    if name == "square":
        return np.maximum(abs(u), abs(v)) < 0.8
    if name == "triangle":
        return np.maximum(-v - 0.5, abs(u) * np.sqrt(3) / 2 + v / 2 - 0.5) < 0
    if name == "ring":
        return (distance > 0.5) & (distance < 1.0)
    return (np.minimum(abs(u), abs(v)) < 0.35) & (np.maximum(abs(u), abs(v)) < 1.0)
