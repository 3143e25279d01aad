"""Labels: their range, and random parts of every class."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


def check_labels(
    name: str, labels: Int[Array | np.ndarray, " n"], num_classes: int
) -> Int[np.ndarray, " n"]:
    """Labels on the host as int32, all of them in range."""
    labels = np.asarray(labels)
    if len(labels) == 0:
        raise ValueError(f"{name} must not be empty")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name} must be between 0 and {num_classes - 1} (rows without label dropped), "
            f"got {low if low < 0 else high}"
        )
    return labels.astype(np.int32)


def shuffle_by_class(
    key: PRNGKeyArray, labels: Int[Array, " n"], num_classes: int
) -> tuple[Int[Array, " n"], Int[Array, " c"], Int[Array, " c"]]:
    """Indices sorted by class and at random within it; where each class starts; its size."""
    order = jnp.lexsort((jax.random.uniform(key, labels.shape, jnp.float32), labels))
    counts = jnp.bincount(labels, length=num_classes).astype(jnp.int32)
    starts = jnp.cumsum(counts, dtype=jnp.int32) - counts
    return order.astype(jnp.int32), starts, counts


@partial(jax.jit, static_argnames=("num_classes",))
def stratified_mask(
    key: PRNGKeyArray,
    labels: Int[Array | np.ndarray, " n"],
    fraction: float | Float[Array, ""],
    *,
    num_classes: int,
) -> Bool[Array, " n"]:
    """Mark a random part of every class.

    Of a class with m examples, `round(fraction * m)` are marked, but at least one and at most
    m - 1 when m > 1, and none when m = 1.

    Args:
        key: Draws the examples.
        labels: Classes, 0 to `num_classes - 1`.
        fraction: Part of each class to mark.
        num_classes: Number of classes.

    Returns:
        True for the examples of the part.

    Examples:
        >>> y = jnp.array([0, 0, 0, 0, 1, 1, 2])
        >>> mask = stratified_mask(jax.random.key(0), y, 0.5, num_classes=3)
        >>> [int((mask & (y == c)).sum()) for c in range(3)]
        [2, 1, 0]
    """
    labels = jnp.asarray(labels, jnp.int32)
    order, starts, counts = shuffle_by_class(key, labels, num_classes)
    marked = jnp.round(fraction * counts.astype(jnp.float32)).astype(jnp.int32)
    marked = jnp.clip(marked, jnp.minimum(1, counts - 1), jnp.maximum(counts - 1, 0))
    sorted_labels = labels[order]
    rank = jnp.arange(len(labels), dtype=jnp.int32) - starts[sorted_labels]
    return jnp.zeros(labels.shape, bool).at[order].set(rank < marked[sorted_labels])
