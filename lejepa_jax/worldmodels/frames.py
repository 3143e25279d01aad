"""Frames as an encoder sees them: resized where they must be, and normalized."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from lejepa_jax.augment.specs import channel_statistics
from lejepa_jax.augment.views import eval_view


def normalize_frames(
    frames: UInt8[Array, "b h w c"],
    *,
    image_size: int,
    mean: tuple[float, ...] = (0.5,),
    std: tuple[float, ...] = (0.5,),
) -> Float[Array, "b {image_size} {image_size} c"]:
    """Normalize frames, and resize those of another size, squares of their middle.

    Args:
        frames: Pixels from 0 to 255.
        image_size: Side that the encoder wants, in pixels.
        mean: Subtracted from each channel, whose values are in [0, 1]; one number serves all.
        std: Divided by, likewise.

    Returns:
        The frames in float32, as `eval_view` gives them.

    Examples:
        >>> normalize_frames(jnp.full((1, 4, 4, 1), 255, jnp.uint8), image_size=4)[0, 0, 0, 0]
        Array(1., dtype=float32)
    """
    height, width, channels = frames.shape[1:]
    if (height, width) != (image_size, image_size):
        aspect = jnp.full(frames.shape[0], width / height, jnp.float32)
        return eval_view(frames, image_size, mean=mean, std=std, aspect=aspect)
    mean, std = channel_statistics(mean, std, channels)
    scale = jnp.asarray([1 / (255 * one) for one in std], jnp.float32)
    shift = jnp.asarray([m / s for m, s in zip(mean, std, strict=True)], jnp.float32)
    return frames.astype(jnp.float32) * scale[None, None, None] - shift[None, None, None]
