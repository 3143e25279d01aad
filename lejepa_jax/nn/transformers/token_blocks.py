"""Blocks of tokens to predict, and the tokens that they are predicted from."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from lejepa_jax.checks import check_positive


def draw_blocks(
    keys: Key[Array, " b"],
    grid: tuple[int, int],
    *,
    count: int = 4,
    scale: tuple[float, float] = (0.15, 0.2),
    ratio: tuple[float, float] = (0.75, 1.5),
) -> Bool[Array, "b n"]:
    r"""Draw rectangles in the grid of tokens of each example; they may overlap.

    The part of the grid :math:`s` is uniform in `scale`, and so is the logarithm of the ratio
    :math:`r` of height to width in `ratio`. The sides are :math:`\sqrt{s n r}` and
    :math:`\sqrt{s n / r}` tokens, rounded, at least 1 and at most those of the grid. Every place
    is equally likely. What is drawn depends on the key of the example alone.

    Args:
        keys: One key an example, made from its index in the global batch.
        grid: Rows and columns of the tokens, :math:`n` together.
        count: Rectangles an example.
        scale: Smallest and largest part of the grid that one covers.
        ratio: Smallest and largest ratio of its height to its width.

    Returns:
        True for the tokens inside a rectangle, row by row.

    Raises:
        ValueError: If `count` is not positive, or a range is not ascending and positive, or `scale`
            exceeds 1.

    Examples:
        >>> keys = jax.random.split(jax.random.key(0), 1)
        >>> draw_blocks(keys, (4, 6), count=1, scale=(0.25, 0.25), ratio=(1.0, 1.0)).sum()
        Array(4, dtype=int32)

    References:
        M. Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
        Architecture", arXiv 2301.08243, 2023, section 3 (multi-block). There one size is drawn for
        all examples of a batch; here each has its own.
    """
    check_blocks(count, scale, ratio)
    height, width = grid

    def side(length: Array, limit: int) -> Array:
        return jnp.clip(jnp.round(length), 1, limit)

    def inside(first: Array, length: Array, limit: int) -> Array:
        # Rounding may bring a uniform number below 1 to the end of the range.
        first = jnp.minimum(jnp.floor(first * (limit - length + 1)), limit - length)[:, None]
        places = jnp.arange(limit, dtype=jnp.float32)[None]
        return (places >= first) & (places < first + length[:, None])

    def draw(key: Array) -> Array:
        u = jax.random.uniform(key, (4, count), jnp.float32)
        area = height * width * (scale[0] + (scale[1] - scale[0]) * u[0])
        low, high = (math.log(r) for r in ratio)
        shape = jnp.exp(low + (high - low) * u[1])
        rows = inside(u[2], side(jnp.sqrt(area * shape), height), height)
        columns = inside(u[3], side(jnp.sqrt(area / shape), width), width)
        return (rows[:, :, None] & columns[:, None]).any(0).reshape(-1)

    return jax.vmap(draw)(keys)


def split_tokens(
    keys: Key[Array, " b"], masked: Bool[Array, "b n"], kept: int
) -> tuple[Int[Array, "b k"], Int[Array, "b m"]]:
    """Choose the tokens that are seen, at random outside the blocks.

    As many are seen of every example, so that shapes do not depend on what was drawn. Where the
    blocks leave fewer, some inside them are seen too, and are then not to be predicted.

    Args:
        keys: One key an example.
        masked: True inside a block.
        kept: How many tokens are seen.

    Returns:
        Numbers of the tokens that are seen, and of all others, in order.

    Raises:
        ValueError: If `kept` is not positive, or no token is left.

    Examples:
        >>> masked = jnp.array([[True, False, True, False]])
        >>> split_tokens(jax.random.split(jax.random.key(0), 1), masked, 2)
        (Array([[1, 3]], dtype=int32), Array([[0, 2]], dtype=int32))
    """
    count = masked.shape[-1]
    if not 0 < kept < count:
        raise ValueError(f"kept must be between 1 and {count - 1} tokens, got {kept}")

    def choose(key: Array, masked: Array) -> tuple[Array, Array]:
        number = jax.random.uniform(key, (count,), jnp.float32)
        # Not `argsort`, see `draw_kept_tokens`.
        _, order = jax.lax.top_k(jnp.where(masked, number - 1, number), count)
        return jnp.sort(order[:kept]), jnp.sort(order[kept:])

    return jax.vmap(choose)(keys, masked)


def check_blocks(count: int, scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    """Require options that `draw_blocks` can draw from."""
    check_positive("count", count)
    for name, (low, high) in (("scale", scale), ("ratio", ratio)):
        if not 0 < low <= high < math.inf:
            raise ValueError(f"{name} must be an ascending range above 0, got {(low, high)}")
    if scale[1] > 1:
        raise ValueError(f"scale must be at most 1, got {scale}")
