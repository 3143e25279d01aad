"""Where the components of a rotated block sit among the channels of a head, and how to move them.

A rotation acts on blocks of ``size`` channels (2 for rotary pairs, 3 for spherical triplets, any
for LieRE). Component ``c`` of block ``i`` is channel

* ``size * i + c`` in the ``"adjacent"`` layout (rope-vit, timm, Llama's own code), and
* ``num_blocks * c + i`` in the ``"half_split"`` layout (DINOv3, Hugging Face, gemma; for triplets
  these are thirds, and so on).

The two are one fixed permutation apart. A table of one layout used with the other is no rotation at
all, and nothing fails loudly; so the layout is named once, in the constructor of an encoding.

Cost: a half-split block is a reshape, which is free. An adjacent block is a reshape and a
transpose, which the compiler folds into the index arithmetic of the multiplication around it:
neither has a gather or an interleaving scatter.
"""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

Layout = Literal["adjacent", "half_split"]


def check_layout(layout: str) -> None:
    """Raise ``ValueError`` unless ``layout`` is one of the two names."""
    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {get_args(Layout)}, got {layout!r}")


def split_blocks(
    x: Shaped[Array, "*b d"], size: int, layout: Layout
) -> Shaped[Array, "*b {size} f"]:
    """View channels as blocks, components first.

    Args:
        x: Channels last; their number is a multiple of ``size``.
        size: Channels of one block.
        layout: ``"adjacent"`` or ``"half_split"``.

    Returns:
        ``out[..., c, i]`` is component ``c`` of block ``i``.

    Raises:
        ValueError: If the layout is unknown or ``size`` does not divide the channels.

    Examples:
        >>> split_blocks(jnp.arange(6), 2, "adjacent")
        Array([[0, 2, 4],
               [1, 3, 5]], dtype=int32)
        >>> split_blocks(jnp.arange(6), 2, "half_split")
        Array([[0, 1, 2],
               [3, 4, 5]], dtype=int32)
    """
    check_layout(layout)
    *lead, channels = x.shape
    if channels % size:
        raise ValueError(f"channels must be divisible by {size}, got {channels}")
    if layout == "half_split":
        return x.reshape(*lead, size, channels // size)
    return x.reshape(*lead, channels // size, size).swapaxes(-1, -2)


def merge_blocks(blocks: Shaped[Array, "*b s f"], layout: Layout) -> Shaped[Array, "*b d"]:
    """Put blocks back into channels: the inverse of :func:`split_blocks`.

    Args:
        blocks: Components of every block, as :func:`split_blocks` returns them.
        layout: ``"adjacent"`` or ``"half_split"``.

    Returns:
        Channels last.

    Raises:
        ValueError: If the layout is unknown.

    Examples:
        >>> x = jnp.arange(6)
        >>> bool((merge_blocks(split_blocks(x, 3, "adjacent"), "adjacent") == x).all())
        True
    """
    check_layout(layout)
    *lead, size, num = blocks.shape
    if layout == "adjacent":
        blocks = blocks.swapaxes(-1, -2)
    return blocks.reshape(*lead, size * num)


def layout_permutation(
    head_dim: int,
    *,
    source: Layout,
    target: Layout,
    block_size: int = 2,
    num_rotated: int | None = None,
) -> Int[np.ndarray, "{head_dim}"]:
    """Permutation that takes the channels of one head from one layout to the other.

    Args:
        head_dim: Channels of one head.
        source: Layout of the channels at hand.
        target: Layout wanted.
        block_size: Channels of one rotated block.
        num_rotated: Leading channels that are rotated; the rest keep their place. By default as
            many as ``block_size`` divides.

    Returns:
        ``p`` such that ``x[..., p]`` has the target layout when ``x`` has the source layout.

    Raises:
        ValueError: If a layout is unknown, or ``num_rotated`` does not fit.

    Examples:
        >>> layout_permutation(6, source="adjacent", target="half_split")
        array([0, 2, 4, 1, 3, 5])
    """
    check_layout(source)
    check_layout(target)
    rotated = head_dim - head_dim % block_size if num_rotated is None else num_rotated
    if rotated % block_size or not 0 <= rotated <= head_dim:
        raise ValueError(
            f"num_rotated must be a multiple of {block_size} up to {head_dim}, got {rotated}"
        )
    channels = np.arange(head_dim)
    if source == target:
        return channels
    num = rotated // block_size
    shape = (num, block_size) if source == "adjacent" else (block_size, num)
    return np.concatenate([channels[:rotated].reshape(shape).T.reshape(-1), channels[rotated:]])


def convert_layout(
    x: Shaped[Array, "..."],
    head_dim: int,
    *,
    source: Layout,
    target: Layout,
    axis: int = -1,
    block_size: int = 2,
    num_rotated: int | None = None,
) -> Shaped[Array, "..."]:
    r"""Reorder a weight, a bias or a QK-norm scale of another code base for the layout used here.

    Scores :math:`\langle q, k\rangle` do not change when the channels of both are permuted alike.
    So a ported model needs this on the output channels of the query and key projections, **on their
    biases, and on the scales of a QK-norm**; forgetting one of the three fails silently. Values and
    the output projection stay as they are.

    Args:
        x: Any array with an axis of ``num_heads * head_dim`` (or ``head_dim``) channels, heads
            outermost.
        head_dim: Channels of one head.
        source: Layout of ``x``.
        target: Layout wanted.
        axis: The axis of the channels: the last one of a Flax kernel, the first one of a PyTorch
            weight.
        block_size: Channels of one rotated block.
        num_rotated: Leading channels of a head that are rotated.

    Returns:
        ``x`` with the channels of every head permuted.

    Raises:
        ValueError: If the axis is no whole number of heads, or as :func:`layout_permutation` does.

    Examples:
        >>> bias = jnp.arange(8.0)  # two heads of four channels
        >>> convert_layout(bias, 4, source="adjacent", target="half_split")
        Array([0., 2., 1., 3., 4., 6., 5., 7.], dtype=float32)
    """
    width = x.shape[axis]
    if width % head_dim:
        raise ValueError(f"axis {axis} must be a multiple of head_dim {head_dim}, got {width}")
    within = layout_permutation(
        head_dim, source=source, target=target, block_size=block_size, num_rotated=num_rotated
    )
    heads = np.arange(width // head_dim)[:, None] * head_dim
    return jnp.take(x, (heads + within[None, :]).reshape(-1), axis=axis)
