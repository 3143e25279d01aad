"""Channels as tokens of their own: an encoder that takes a part of the channels it knows."""

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, Int


def channel_rows(patches: Float[Array, "b *grid p"], channels: int) -> Float[Array, "b *grid c q"]:
    """Split the rows that `patchify` makes by channel.

    Args:
        patches: A row a patch, channels last within it.
        channels: How many there are.

    Returns:
        A row a patch and channel.

    Examples:
        >>> channel_rows(jnp.arange(4.0)[None, None], 2)[0, 0]
        Array([[0., 2.],
               [1., 3.]], dtype=float32)
    """
    return rearrange(patches, "b ... (q c) -> b ... c q", c=channels)


def read_codes(
    table: Float[Array, "k w"], channels: Int[Array, "b c"] | None
) -> Float[Array, "#b c w"]:
    """Read the codes of the channels of each example.

    Args:
        table: A code a channel that the encoder knows.
        channels: Numbers of the channels, -1 for an unknown one; None for all, in order.

    Returns:
        Their codes, of one example where all have the same; of an unknown channel, which is not
        seen, that of the first.

    Examples:
        >>> read_codes(jnp.array([[1.0], [3.0]]), jnp.array([[1, 0]]))[0, :, 0].tolist()
        [3.0, 1.0]
    """
    return table[None] if channels is None else table[jnp.maximum(channels, 0)]


def place_channels(
    values: Float[Array, "b *space c"], channels: Int[Array, "b c"], count: int
) -> Float[Array, "b *space {count}"]:
    """Put channels where an encoder has them that mixes all; the others are 0, their mean.

    Args:
        values: Normalized values.
        channels: Number of each channel, -1 for one that is left out.
        count: Channels of the encoder.

    Returns:
        The values of all channels.

    Examples:
        >>> place_channels(jnp.array([[[5.0, 7.0]]]), jnp.array([[2, -1]]), 3)[0, 0].tolist()
        [0.0, 0.0, 5.0]
    """

    def place(values: Array, channels: Array) -> Array:
        whole = jnp.zeros((*values.shape[:-1], count), values.dtype)
        # Out of bounds, for -1 would be the last one.
        return whole.at[..., jnp.where(channels < 0, count, channels)].set(values, mode="drop")

    return jax.vmap(place)(values, channels)


def mean_of_channels(
    tokens: Float[Array, "b t d"], share: Float[Array, "b t"] | None, channels: int
) -> Float[Array, "b n d"]:
    """Mean of the tokens of each patch, in the shares that exist of its channels.

    Args:
        tokens: Patch by patch, those of its channels in a row.
        share: Of each token; None where all are alike.
        channels: Tokens of a patch.

    Returns:
        One vector a patch, zero where nothing exists.

    Examples:
        >>> tokens = jnp.array([[[1.0], [3.0], [5.0], [7.0]]])
        >>> mean_of_channels(tokens, jnp.array([[0.5, 0.0, 0.25, 0.25]]), 2)[0, :, 0].tolist()
        [1.0, 6.0]
    """
    if channels == 1:
        return tokens
    tokens = rearrange(tokens, "b (n c) d -> b n c d", c=channels)
    if share is None:
        return tokens.mean(2)
    share = rearrange(share, "b (n c) -> b n c", c=channels)
    total = share.sum(-1, keepdims=True)
    return (tokens * (share / jnp.where(total > 0, total, 1.0))[..., None]).sum(2)
