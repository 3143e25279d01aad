"""Figures of single examples: a map of their features, nearest neighbors, patches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Int64, PRNGKeyArray, UInt8

from lejepa_jax.report.drawing import (
    AFTER,
    INK,
    OTHER,
    SAME,
    bare_axes,
    class_colors,
    class_name,
    new_figure,
    plain,
    show_image,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_LEGEND = 20


def plot_map(
    key: PRNGKeyArray,
    features: Float[Array | np.ndarray, "n d"],
    labels: Int[Array | np.ndarray, " n"] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    max_points: int = 1000,
) -> "Figure":
    """Plot features in two dimensions, colored by class.

    Principal components down to 50, then t-SNE (cosine distance, perplexity 30). With fewer than 10
    points, or without scikit-learn, the first two principal components are shown instead; the title
    says which.

    Args:
        key: Draws the points and seeds t-SNE.
        features: Features of a held-out set.
        labels: Their classes; without them all points have one color.
        class_names: Names for the legend, which is there for up to 20 classes.
        max_points: Number of points to draw at most.

    Returns:
        The figure. Distances between far points of a t-SNE map mean nothing.

    Examples:
        >>> key = jax.random.key(0)
        >>> plot_map(key, jax.random.normal(key, (8, 3))).axes[0].get_title(loc="left")
        'PCA of 8 points'
    """
    generator = _generator(key)
    rows = np.sort(generator.permutation(len(features))[:max_points])
    x = np.asarray(features, np.float32)[rows]
    points, method = _embed_2d(x, int(generator.integers(2**31)))
    figure = new_figure(6.4, 4.8)
    ax = figure.subplots()
    if labels is None:
        ax.scatter(points[:, 0], points[:, 1], s=12, color=AFTER, linewidth=0, alpha=0.8)
    else:
        y = np.asarray(labels)[rows]
        classes = np.unique(np.asarray(labels))
        colors = class_colors(len(classes))
        for c, color in zip(classes, colors, strict=True):
            of_class = points[y == c]
            name = plain(class_name(class_names, int(c)))
            dots = {"s": 13, "linewidth": 0, "alpha": 0.85}
            ax.scatter(of_class[:, 0], of_class[:, 1], color=color, label=name, **dots)
        if len(classes) <= _MAX_LEGEND:
            beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
            ax.legend(fontsize=8, frameon=False, markerscale=1.8, handletextpad=0.2, **beside)
    style_axes(ax, title=f"{method} of {len(points)} points")
    bare_axes(ax)
    ax.set_aspect("equal", adjustable="datalim")
    return figure


def _generator(key: PRNGKeyArray) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())


def _pca(x: np.ndarray, components: int) -> np.ndarray:
    """Scores of the first principal components, signs fixed, zeros where there are fewer."""
    x = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(x.T @ x)
    vectors = vectors[:, ::-1][:, :components]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    scores = x @ vectors
    return np.pad(scores, ((0, 0), (0, components - scores.shape[1])))


def _embed_2d(x: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    if len(x) >= 10:
        try:
            from sklearn.manifold import TSNE
        except ImportError:
            pass
        else:
            reduced = _pca(x, min(50, x.shape[1]))
            # t-SNE divides by the spread of its start: identical points cannot be laid out.
            if np.ptp(reduced, axis=0).max() > 0:
                from threadpoolctl import threadpool_limits

                start = _pca(reduced, 2)
                start = 1e-4 * start / max(start[:, 0].std(), 1e-12)
                tsne = TSNE(
                    perplexity=min(30.0, (len(x) - 1) / 3),
                    init=start.astype(np.float32),
                    metric="cosine",
                    max_iter=500,
                    random_state=seed,
                )
                # Its threads wait for each other by spinning: ten times slower than one alone on a
                # machine that does anything else.
                with threadpool_limits(1):
                    return tsne.fit_transform(reduced.astype(np.float32)), "t-SNE"
    return _pca(x, 2), "PCA"


def plot_neighbors(
    key: PRNGKeyArray,
    features: Float[Array | np.ndarray, "n d"],
    images: UInt8[Array | np.ndarray, "n h w c"],
    labels: Int[Array | np.ndarray, " n"] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    num_queries: int = 8,
    num_neighbors: int = 8,
) -> "Figure":
    """Show a few images, each with the images whose features are nearest to its own by cosine.

    Args:
        key: Draws the queries, of as many different classes as there are.
        features: Features of a held-out set, in which the neighbors are searched too.
        images: The images, in the same order.
        labels: Their classes: a neighbor has a green frame where it is of the class of the query,
            a dashed red one where it is not, a gray one where either has no label (-1).
        class_names: Names to write beside the queries.
        num_queries: Number of rows.
        num_neighbors: Number of neighbors in a row.

    Returns:
        The figure, queries in the first column.

    Examples:
        >>> key = jax.random.key(0)
        >>> images = np.zeros((6, 4, 4, 1), np.uint8)
        >>> features = jax.random.normal(key, (6, 3))
        >>> len(plot_neighbors(key, features, images, num_queries=2, num_neighbors=3).axes)
        8
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.patches import Rectangle

    x = np.asarray(features, np.float32)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    y = None if labels is None else np.asarray(labels)
    queries = _pick_queries(_generator(key).permutation(len(x)), y, num_queries)
    num_neighbors = min(num_neighbors, len(x) - 1)
    similarity = x[queries] @ x.T
    similarity[np.arange(len(queries)), queries] = -np.inf  # nobody is their own neighbor
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :num_neighbors]
    columns = num_neighbors + 1
    figure = new_figure(0.82 * columns + 1.0, 0.86 * len(queries) + 0.35)
    grid = figure.subplots(
        len(queries), columns, squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.06}
    )
    for row, query in enumerate(queries):
        for column, index in enumerate([query, *nearest[row]]):
            ax = grid[row, column]
            show_image(ax, np.asarray(images[index]))
            if column == 0:
                frame, dash = INK, "-"
                name = "" if y is None else plain(class_name(class_names, int(y[query])), 12)
                ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9, labelpad=6)
            elif y is None or min(y[index], y[query]) < 0:
                frame, dash = "#bbbbbb", "-"
            else:
                same = y[index] == y[query]
                frame, dash = (SAME, "-") if same else (OTHER, "--")
            box = Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, clip_on=False)
            box.set(edgecolor=frame, linewidth=2.2, linestyle=dash)
            ax.add_patch(box)
    headings = ["query"]
    if num_neighbors:
        title = "nearest first"
        if y is not None:
            known = (y[nearest] >= 0) & (y[queries] >= 0)[:, None]
            agree = (y[nearest] == y[queries][:, None])[known]
            if agree.size:
                title += (
                    f"; {100 * agree.mean():.0f} % of those shown are of the class of their query"
                )
        headings.append(title)
    for ax, heading in zip(grid[0], headings, strict=False):
        # Text outside the layout, not a title: a long one would widen its column.
        text = ax.text(0, 1.12, heading, transform=ax.transAxes, fontsize=9, color=INK)
        text.set_in_layout(False)
    below = 1 - 0.22 / figure.get_figheight()
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, below)))
    return figure


def _pick_queries(order: np.ndarray, labels: np.ndarray | None, count: int) -> np.ndarray:
    """The first examples of an order, of as many different classes as there are."""
    if labels is not None:
        # The first of every class, then the second of every class, and so on; shown by class.
        seen: dict[int, int] = {}
        turns = []
        for index in order:
            c = int(labels[index])
            seen[c] = seen.get(c, -1) + 1
            turns.append(seen[c])
        order = order[np.argsort(turns, kind="stable")][:count]
        return order[np.argsort(labels[order], kind="stable")]
    return order[:count]


def examples_of_classes(
    labels: Int[Array | np.ndarray, " n"] | None, num_examples: int, count: int
) -> Int64[np.ndarray, " c"]:
    """Choose a few examples of as many different classes as there are.

    Args:
        labels: Class of each example, -1 where unknown; None where they are not known, and
            examples evenly spread over the set are chosen.
        num_examples: How many there are.
        count: How many to choose at most.

    Returns:
        Their positions, by class; the same on every call.

    Examples:
        >>> examples_of_classes(np.array([0, 0, 0, 1, 1, 2]), 6, 3)
        array([0, 3, 5])
        >>> examples_of_classes(None, 9, 3)
        array([0, 4, 8])
    """
    if labels is None:
        return np.linspace(0, num_examples - 1, min(count, num_examples)).astype(int)
    return _pick_queries(np.arange(num_examples), np.asarray(labels), count)


def plot_patch_pca(
    patch_features: Float[Array | np.ndarray, "n gh gw w"],
    images: UInt8[Array | np.ndarray, "m h w3 c"],
    *,
    num_images: int = 8,
) -> "Figure":
    """Show the first three principal components of patch features as red, green and blue.

    The components are those of all patches shown together, so that one color means one thing in
    all pictures; each is stretched between its 1st and 99th percentile.

    Args:
        patch_features: Features of the patches of the first images.
        images: The images.
        num_images: Number of images to show.

    Returns:
        The figure: each image above the picture of its patches.

    Examples:
        >>> features = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
        >>> len(plot_patch_pca(features, np.zeros((2, 16, 16, 3), np.uint8)).axes)
        4
    """
    patches = np.asarray(patch_features[:num_images], np.float32)
    n = min(len(patches), len(images))
    patches = patches[:n]
    scores = _pca(patches.reshape(-1, patches.shape[-1]), 3)
    low, high = np.percentile(scores, [1, 99], axis=0)
    colors = np.clip((scores - low) / np.maximum(high - low, 1e-12), 0, 1)
    colors = colors.reshape(*patches.shape[:-1], 3)
    figure = new_figure(1.25 * n + 0.6, 2.7)
    grid = figure.subplots(2, n, squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.05})
    for column in range(n):
        show_image(grid[0, column], np.asarray(images[column]))
        grid[1, column].imshow(colors[column], interpolation="nearest")
        bare_axes(grid[1, column])
    for row, name in enumerate(("image", "patches")):
        grid[row, 0].set_ylabel(name, fontsize=9, color=INK)
    return figure
