"""Labels: their range, and random parts of every class."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


def check_labels(
    name: str,
    labels: Int[Array | np.ndarray, " n"],
    num_classes: int,
    features: Float[Array | np.ndarray, "n d"] | None = None,
) -> Int[np.ndarray, " n"]:
    """Bring labels to the host as int32, all of them in range, one for each row of features.

    Args:
        name: What they are called in errors, such as `train_labels`.
        labels: Labels.
        num_classes: Number of classes.
        features: The rows they are of, where those are at hand.

    Returns:
        The labels.

    Raises:
        ValueError: If they are empty, no whole numbers, out of range, or not as many as the rows.

    Examples:
        >>> check_labels("labels", np.array([0, 2]), 2)
        Traceback (most recent call last):
            ...
        ValueError: labels must be between 0 and 1 (rows without label dropped), got 2
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{name} must be whole numbers on one axis, got {labels.dtype} of shape {labels.shape}"
        )
    if len(labels) == 0:
        raise ValueError(f"{name} must not be empty")
    if features is not None and (features.ndim != 2 or len(features) != len(labels)):
        rows = name.replace("labels", "features")
        raise ValueError(
            f"{rows} must have shape ({len(labels)}, d), a row for each of {name}, "
            f"got {features.shape}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name} must be between 0 and {num_classes - 1} (rows without label dropped), "
            f"got {low if low < 0 else high}"
        )
    return labels.astype(np.int32)


def check_penalty(name: str, l2: float) -> None:
    """Require a finite penalty that is not negative.

    Examples:
        >>> check_penalty("l2", -1.0)
        Traceback (most recent call last):
            ...
        ValueError: l2 must be finite and not negative, got -1.0
    """
    if not 0 <= l2 < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {l2}")


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
