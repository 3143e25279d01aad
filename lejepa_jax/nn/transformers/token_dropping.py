"""Encode a part of the tokens of each example: which are kept, and their rows of a table."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def kept_count(count: int, share: float) -> int:
    """Count the tokens that are kept of an example.

    Args:
        count: Tokens there are.
        share: Part of them to keep, above 0 and at most 1.

    Returns:
        The rounded share, at least 1.

    Raises:
        ValueError: If `share` is not in (0, 1].

    Examples:
        >>> kept_count(196, 0.05), kept_count(9, 0.01)
        (10, 1)
    """
    if not 0 < share <= 1:
        raise ValueError(f"share of the tokens to keep must be above 0 and at most 1, got {share}")
    return max(1, round(share * count))


def draw_kept_tokens(keys: Key[Array, " b"], count: int, share: float) -> Int[Array, "b k"]:
    """Draw which tokens of each example are kept, all subsets being equally likely.

    What is kept depends on the key of the example alone: how the batch is sharded over devices
    changes nothing.

    Args:
        keys: One key an example, made from its index in the global batch.
        count: Tokens there are.
        share: Part of them to keep, see `kept_count`.

    Returns:
        Their numbers, in order.

    Raises:
        ValueError: If `share` is not in (0, 1].

    Examples:
        >>> kept = draw_kept_tokens(jax.random.split(jax.random.key(0), 2), 8, 0.5)
        >>> kept.shape, bool((jnp.diff(kept, axis=1) > 0).all())
        ((2, 4), True)

    References:
        T. Moutakanni et al., "You Don't Need Domain-Specific Data Augmentations When Scaling
        Self-Supervised Learning", arXiv 2406.09294, 2024 (random tokens as the only view).
    """
    kept = kept_count(count, share)

    def draw(key: Array) -> Array:
        # Not `permutation`: inside `shard_map`, JAX 0.10 and 0.12 take the result of a sort of two
        # operands for the same on every device, and the gradient of what it selects is wrong.
        _, chosen = jax.lax.top_k(jax.random.uniform(key, (count,), jnp.float32), kept)
        return jnp.sort(chosen)

    return jax.vmap(draw)(keys)


def take_tokens(rows: Float[Array, "#b n d"], kept: Int[Array, "b k"]) -> Float[Array, "b k d"]:
    """Take the rows of the kept tokens of each example.

    Args:
        rows: One a token; of one example where all share them.
        kept: Numbers of the kept tokens.

    Returns:
        Their rows.

    Examples:
        >>> take_tokens(jnp.arange(4.0).reshape(1, 4, 1), jnp.array([[0, 2], [1, 3]]))[..., 0]
        Array([[0., 2.],
               [1., 3.]], dtype=float32)
    """
    rows = jnp.broadcast_to(rows, (len(kept), *rows.shape[1:]))
    return jnp.take_along_axis(rows, kept[..., None], 1)
