"""What a person wants to see of embeddings without labels: neighbors, twins, outliers, clusters."""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from lejepa_jax.checks import check_choice, check_positive, needs_extra

# Similarities that are held at a time: 64 MiB of float32.
_MAX_SIMILARITIES = 2**24
# Features that a map is drawn of: more of them are noise to it, and cost time.
_MAP_FEATURES = 50


class Neighbors(NamedTuple):
    """The examples most like each one, the nearest first.

    Attributes:
        index: Their positions.
        cosine: Cosine of the angle between the centered features.
    """

    index: Int[np.ndarray, "n k"]
    cosine: Float[np.ndarray, "n k"]


def nearest_neighbors(features: Float[np.ndarray, "n d"], k: int) -> Neighbors:
    """Find the nearest other examples of each example, exactly, in blocks of rows.

    Features are centered first: a part that all have in common would make all alike.

    Args:
        features: A row an example.
        k: How many; as many as there are others at most.

    Returns:
        Positions and cosines.

    Raises:
        ValueError: If `k` is not positive, or there are not two examples.

    Examples:
        >>> found = nearest_neighbors(np.array([[1.0, 0], [1, 0.1], [-2, 0], [-2, -0.1]]), 1)
        >>> found.index[:, 0]
        array([1, 0, 3, 2], dtype=int32)
    """
    check_positive("k", k)
    if len(features) < 2:
        raise ValueError(f"features must have at least 2 rows, got {len(features)}")
    rows = np.asarray(features, np.float32) - np.mean(features, axis=0, dtype=np.float64).astype(
        np.float32
    )
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    k, block = min(k, len(rows) - 1), max(1, _MAX_SIMILARITIES // len(rows))
    whole = jnp.asarray(rows)
    parts = []
    for start in range(0, len(rows), block):
        # The last block reaches back, so that all have one shape.
        first = max(0, min(start, len(rows) - block))
        size = min(block, len(rows))
        index, cosine = map(np.asarray, _nearest(whole, first, size, k))
        parts.append((index[start - first :], cosine[start - first :]))
    return Neighbors(*(np.concatenate(pair) for pair in zip(*parts, strict=True)))


@partial(jax.jit, static_argnums=(2, 3))
def _nearest(rows: Array, first: Array, size: int, k: int) -> tuple[Array, Array]:
    chosen = lax.dynamic_slice_in_dim(rows, first, size)
    cosine = jnp.matmul(chosen, rows.T, precision=lax.Precision.HIGHEST)
    itself = (first + jnp.arange(size))[:, None] == jnp.arange(len(rows))[None]
    found, index = lax.top_k(jnp.where(itself, -jnp.inf, cosine), k)
    return index.astype(jnp.int32), jnp.clip(found, -1, 1)


def near_duplicates(
    neighbors: Neighbors, *, least: float = 0.98, limit: int = 200
) -> list[tuple[int, int, float]]:
    """List the pairs that are most alike, the closest first.

    Args:
        neighbors: Made by `nearest_neighbors`.
        least: Smallest cosine of a pair.
        limit: Longest list.

    Returns:
        Two positions, the smaller first, and the cosine of each pair.

    Examples:
        >>> near_duplicates(Neighbors(np.array([[1], [0]]), np.array([[0.99], [0.99]])))
        [(0, 1, 0.99)]
    """
    row, column = np.nonzero(neighbors.cosine >= least)
    other, cosine = neighbors.index[row, column], neighbors.cosine[row, column]
    pairs = np.stack([np.minimum(row, other), np.maximum(row, other)], axis=1)
    _, first = np.unique(pairs, axis=0, return_index=True)
    order = first[np.argsort(-cosine[first], kind="stable")][:limit]
    return [(int(pairs[i, 0]), int(pairs[i, 1]), round(float(cosine[i]), 4)) for i in order]


def distances_to_neighbors(neighbors: Neighbors) -> Float[np.ndarray, " n"]:
    """Say how far each example is from those most like it: the mean of 1 - cosine.

    Args:
        neighbors: Made by `nearest_neighbors`.

    Returns:
        A number an example; large ones are outliers.

    Examples:
        >>> distances_to_neighbors(Neighbors(np.zeros((1, 2), int), np.array([[1.0, 0.5]])))
        array([0.25])
    """
    return 1 - neighbors.cosine.mean(1)


def cluster(
    features: Float[np.ndarray, "n d"], count: int, *, seed: int = 0
) -> Int[np.ndarray, " n"]:
    """Cut examples into groups by k-means on centered features of length 1.

    Args:
        features: A row an example.
        count: Number of groups; as many as there are examples at most.
        seed: Of the starts.

    Returns:
        Group of each example, the largest group first.

    Raises:
        ValueError: If `count` is not positive.

    Examples:
        >>> cluster(np.array([[1.0, 0], [1, 0.1], [1, 0], [-3, 0]]), 2)
        array([0, 0, 0, 1])
    """
    check_positive("count", count)
    with needs_extra("train"):
        from sklearn.cluster import MiniBatchKMeans

    rows = features - features.mean(0)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    means = MiniBatchKMeans(
        min(count, len(rows)), random_state=seed, n_init="auto", batch_size=4096
    ).fit(rows)
    found = np.asarray(means.labels_)
    order = np.argsort(-np.bincount(found, minlength=count), kind="stable")
    return np.argsort(order)[found]


def draw_map(
    features: Float[np.ndarray, "n d"],
    *,
    method: Literal["tsne", "pca"] = "tsne",
    seed: int = 0,
) -> Float[np.ndarray, "n 2"]:
    """Place examples in the plane, alike ones near each other.

    Args:
        features: A row an example.
        method: `tsne`, which keeps neighbors together (a minute for 10,000 examples on two cores),
            or `pca`, the two directions of most variance, at once.
        seed: Of t-SNE.

    Returns:
        Places in [0, 1].

    Raises:
        ValueError: If `method` is unknown.

    Examples:
        >>> draw_map(np.array([[0.0, 0, 1], [1, 0, 1], [2, 1, 1]]), method="pca").shape
        (3, 2)

    References:
        L. van der Maaten, G. Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008.
    """
    check_choice("method", method, ("tsne", "pca"))
    rows = np.asarray(features, np.float64) - features.mean(0)
    kept = min(_MAP_FEATURES, *rows.shape)
    _, vectors = np.linalg.eigh(rows.T @ rows)
    rows = rows @ vectors[:, ::-1][:, : max(kept, 2)]
    if rows.shape[1] < 2:
        rows = np.concatenate([rows, np.zeros_like(rows)], axis=1)
    if method == "tsne" and len(rows) > 4:
        with needs_extra("train"):
            from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(rows) - 1) / 3)
        scaled = rows[:, :2] / max(rows[:, 0].std(), 1e-12) * 1e-4
        rows = TSNE(init=scaled, perplexity=perplexity, random_state=seed).fit_transform(
            rows / max(rows.std(), 1e-12)
        )
    low, high = rows[:, :2].min(0), rows[:, :2].max(0)
    return ((rows[:, :2] - low) / np.maximum(high - low, 1e-12)).astype(np.float32)
