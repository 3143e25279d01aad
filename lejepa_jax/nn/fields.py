"""What an encoder is given of a field: values on a grid of one to three axes, and their measure."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

import rope_jax
from lejepa_jax.nn.layers import check_sizes, patchify


class Field(NamedTuple):
    """Values on a grid, and how much of the field each of them stands for.

    Attributes:
        values: Normalized values, channels last, zero where they are missing.
        measure: Size of the cell of each sample, such as its area on the sphere; zero where the
            sample is missing or padding. Only proportions count.
        channel_measure: The same for each channel, where not all exist; `measure` is its mean. None
            where `measure` is that of every channel.
        channels: Number of each channel among those of the encoder, -1 for one that it does not
            know and does not see; None for all of them, in order.
    """

    values: Float[Array, "b *space c"]
    measure: Float[Array, "b *space"]
    channel_measure: Float[Array, "b *space c"] | None = None
    channels: Int[Array, "b c"] | None = None


Values = Float[Array, "b *space c"]
"""Values on a grid without gaps, all of equal measure."""


def values_of(inputs: Array | Field) -> Array:
    """Give the values of a field, or the array that was given without a measure.

    Examples:
        >>> values_of(Field(jnp.ones((1, 4, 2)), jnp.ones((1, 4)))).shape
        (1, 4, 2)
    """
    return inputs.values if isinstance(inputs, Field) else inputs


def log_patch_measure(
    measure: Float[Array, "b *space c"],
    patch_size: int | tuple[int, ...],
    *,
    num_prefix: int,
    num_train: int,
    kept: Int[Array, "b k"] | None = None,
) -> tuple[Float[Array, "b n"], Float[Array, "b t"]]:
    r"""Add the measure of the samples of each patch up, as weights of tokens.

    Args:
        measure: Of the samples, last in each of the tokens that a patch has: one, or one a channel.
        patch_size: Sides of a patch, see `patchify`.
        num_prefix: Class and register tokens.
        num_train: Tokens of the grid trained on, see `rope_jax.log_measure`.
        kept: Patches that are encoded; None for all.

    Returns:
        The share of each token in its example, patch by patch, and log weights of all tokens as
        keys. A token of which nothing exists gets share 0 and is not seen.

    Examples:
        >>> share, logs = log_patch_measure(
        ...     jnp.array([[1.0, 1, 1, 0, 0, 0]])[..., None], 2, num_prefix=0, num_train=3)
        >>> [f"{x:.3f}" for x in share[0]], bool(logs[0, 2] < -1e8)
        (['0.667', '0.333', '0.000'], True)
    """
    count = measure.shape[-1]
    patches = patchify(measure.astype(jnp.float32), patch_size)
    patches = patches.reshape(*patches.shape[:-1], -1, count).sum(-2)
    patches = patches.reshape(measure.shape[0], -1, count)
    if kept is not None:
        patches = jnp.take_along_axis(patches, kept[..., None], 1)
    patches = patches.reshape(measure.shape[0], -1)
    total = patches.sum(-1, keepdims=True)
    share = patches / jnp.where(total > 0, total, 1.0)
    logs = rope_jax.log_measure(patches, num_prefix=num_prefix, num_train=num_train)
    return share, logs


def causal_mask(grid: Sequence[int], num_prefix: int) -> Bool[np.ndarray, "t t"]:
    """Say which tokens a token sees where the first axis is time: those of its time and before.

    Tokens of one time see each other (block-causal, for frames of a video). Register tokens see
    each other alone, and are seen by all.

    Args:
        grid: Patches along each axis, time first.
        num_prefix: Register tokens in front.

    Returns:
        True where the token of the row sees the token of the column.

    Examples:
        >>> causal_mask((2, 2), 0).astype(int)
        array([[1, 1, 0, 0],
               [1, 1, 0, 0],
               [1, 1, 1, 1],
               [1, 1, 1, 1]])
    """
    times = np.repeat(np.arange(grid[0]), math.prod(grid[1:]))
    times = np.concatenate([np.full(num_prefix, -1), times])
    return times[:, None] >= times[None, :]


def weighted_mean(
    x: Float[Array, "b n d"], share: Float[Array, "b n"] | None
) -> Float[Array, "b d"]:
    """Mean of the tokens of each example, in their shares; without shares the plain mean.

    Examples:
        >>> weighted_mean(jnp.array([[[1.0], [3.0]]]), jnp.array([[0.25, 0.75]])).tolist()
        [[2.5]]
    """
    return x.mean(1) if share is None else (share[..., None] * x).sum(1)


def per_axis(name: str, value: int | Sequence[int], num_axes: int) -> tuple[int, ...]:
    """Read a size that is one number, or one for each axis.

    Args:
        name: Of the argument, for errors.
        value: The size.
        num_axes: How many axes.

    Returns:
        One size an axis.

    Raises:
        ValueError: For another number of them, or one that is not positive.

    Examples:
        >>> per_axis("patch_size", 4, 3)
        (4, 4, 4)
    """
    sides = (value,) * num_axes if isinstance(value, int) else tuple(value)
    if len(sides) != num_axes:
        raise ValueError(f"{name} must be one number or {num_axes}, got {value}")
    for side in sides:
        check_sizes(**{name: side})
    return sides
