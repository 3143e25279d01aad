"""The report of a run: one HTML file that needs no network, and its pictures one by one.

Every `plot_*` function takes arrays and returns a matplotlib figure, made without pyplot: nothing
global is touched, so they serve a notebook and a training run on a machine without a screen alike.
Matplotlib, rich and scikit-learn come with the training extra and are imported where they are used.
"""

import base64
import html
import importlib.metadata
import io
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from lejepa_jax.diagnostics.spectrum import covariance_spectrum, effective_rank
from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.slicing import slice_statistics
from lejepa_jax.statistics.normality import epps_pulley_null_mean
from lejepa_jax.training.runs import speed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

_AFTER, _BEFORE, _NEUTRAL, _INK = "#2166ac", "#d6802b", "#777777", "#222222"
_SAME, _OTHER = "#1a8a3c", "#cc2f2f"
_MAX_LEGEND = 20

_PANELS = (  # key of a row of metrics, title, unit, color, logarithmic
    ("loss", "Loss", "", _AFTER, False),
    ("prediction", "Prediction", "mean squared distance", _AFTER, True),
    ("sigreg", "SIGReg", "mean over slices", _AFTER, True),
    ("learning_rate", "Learning rate", "", _NEUTRAL, False),
    ("images_per_second", "Throughput", "images / s", _NEUTRAL, False),
)

# --- results ------------------------------------------------------------------------------------


def assemble_results(
    suites: Mapping[str, Mapping[str, float]], *, diagnostics: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Put results of :func:`lejepa_jax.evaluation.probes.probe_suite` side by side.

    Args:
        suites: Probes of the same kind by what was probed, the encoder first, raw data last.
        diagnostics: Anything else to keep, under `diagnostics`.

    Returns:
        `{probe: {source: ...}}`; a probe that one of them does not have is there for the others.

    Examples:
        >>> assemble_results({"encoder": {"knn": 0.9}, "pixels": {"knn": 0.6}})
        {'knn': {'encoder': 0.9, 'pixels': 0.6}}
    """
    names = dict.fromkeys(name for suite in suites.values() for name in suite)
    results: dict[str, Any] = {
        name: {source: float(suite[name]) for source, suite in suites.items() if name in suite}
        for name in names
    }
    if diagnostics is not None:
        results["diagnostics"] = dict(diagnostics)
    return results


def results_table(results: Mapping[str, Any], *, title: str | None = None) -> "Table":
    """Make the table of a run for the terminal: accuracies in percent, a row a source.

    Args:
        results: As :func:`assemble_results` makes it.
        title: Heading.

    Returns:
        A table to print with `rich`.

    Examples:
        >>> results = assemble_results({"encoder": {"knn": 0.9}, "pixels": {"knn": 0.6}})
        >>> table = results_table(results)
        >>> [column.header for column in table.columns], table.row_count
        (['accuracy, %', 'k-NN'], 2)
    """
    from rich.table import Table

    probes = _probe_names(results)
    table = Table(title=title)
    table.add_column("accuracy, %")
    for probe in probes:
        table.add_column(_probe_title(probe), justify="right")
    for source in _present_sources(results):
        cells = [_percent(results, probe, source) for probe in probes]
        table.add_row(source, *cells, style="bold" if source == "encoder" else "")
    return table


def _probe_names(results: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name, values in results.items()
        if isinstance(values, Mapping) and name != "diagnostics" and not name.endswith("_std")
    ]


def _present_sources(results: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(s for probe in _probe_names(results) for s in results[probe]))


def _probe_title(name: str) -> str:
    if name.startswith("few_shot_"):
        return f"{name.removeprefix('few_shot_')}-shot"
    return {"knn": "k-NN"}.get(name, name)


def _percent(results: Mapping[str, Any], probe: str, source: str) -> str:
    value = results[probe].get(source)
    if value is None:
        return "–"
    spread = results.get(f"{probe}_std", {}).get(source)
    return f"{100 * value:.1f}" + (f" ± {100 * spread:.1f}" if spread is not None else "")


# --- figures ------------------------------------------------------------------------------------


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _style(ax: "Axes", *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    ax.set_title(title, fontsize=10, color=_INK, loc="left")
    ax.set_xlabel(xlabel, fontsize=9, color=_INK)
    ax.set_ylabel(ylabel, fontsize=9, color=_INK)
    ax.tick_params(labelsize=8, colors="#555555", which="both")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")


def _bare(ax: "Axes") -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def plot_curves(
    metrics: Sequence[Mapping[str, Any]], *, sigreg_null: float | None = None
) -> "Figure":
    """Plot what was logged during training against the step.

    Args:
        metrics: Rows of `metrics.jsonl`; what a row lacks, or holds as a value that is not finite,
            is left out of that curve.
        sigreg_null: Value of the statistic on exact normal samples, drawn as a line.

    Returns:
        A panel a quantity that has at least two values; a note when none has.

    Examples:
        >>> rows = [{"step": 0, "loss": 2.0}, {"step": 10, "loss": 1.0}, {"step": 20, "loss": 0.5}]
        >>> [ax.get_title(loc="left") for ax in plot_curves(rows).axes]
        ['Loss']
    """
    panels = [(panel, _series(metrics, panel[0])) for panel in _PANELS]
    panels = [(panel, xy) for panel, xy in panels if len(xy[0]) >= 2]
    if not panels:
        return _note("Fewer than two steps were logged.")
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = _figure(3.4 * columns + 0.2, 2.3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, ((key, title, unit, color, log), (x, y)) in zip(axes, panels, strict=False):
        marker = "o" if len(x) < 20 else ""
        ax.plot(x, y, color=color, linewidth=1.3, marker=marker, markersize=3)
        if log and min(y) > 0:
            ax.set_yscale("log")
        if key == "sigreg" and sigreg_null is not None:
            ax.axhline(sigreg_null, color=_NEUTRAL, linewidth=1, linestyle="--")
            ax.annotate(
                f"N(0, I): {sigreg_null:.2f}",
                (1, sigreg_null),
                xycoords=("axes fraction", "data"),
                xytext=(0, -3),
                textcoords="offset points",
                ha="right",
                va="top",  # below: a trained curve ends just above the line
                fontsize=8,
                color="#555555",
            )
            low, high = ax.get_ylim()
            ax.set_ylim(min(low, 0.5 * sigreg_null), max(high, 1.3 * sigreg_null))
        if key in ("learning_rate", "images_per_second"):
            ax.set_ylim(bottom=0)
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _style(ax, title=title, xlabel="step", ylabel=unit)
    return figure


def _series(metrics: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    rows = [(row.get("step"), row.get(key)) for row in metrics]
    rows = [(float(s), float(v)) for s, v in rows if s is not None and v is not None]
    rows = [(s, v) for s, v in rows if math.isfinite(s) and math.isfinite(v)]
    return [s for s, _ in rows], [v for _, v in rows]


def _note(text: str) -> "Figure":
    figure = _figure(5, 0.6)
    ax = figure.subplots()
    ax.text(0, 0.5, text, fontsize=9, color=_INK, va="center")
    _bare(ax)
    return figure


def plot_slices(
    key: PRNGKeyArray,
    embeddings: Mapping[str, Float[Array | np.ndarray, "n d"]],
    *,
    num_shown: int = 3,
    num_slices: int = 1024,
) -> "Figure":
    """Plot histograms of random projections of each cloud against the normal density.

    The last column is the worst of all slices: the one with the largest Epps-Pulley statistic. All
    clouds of one dimension are cut along the same directions, but each has a worst slice of its
    own.

    Args:
        key: Draws the directions.
        embeddings: Clouds by name, a row of panels each (`{"before": ..., "after": ...}`).
        num_shown: Random slices to show beside the worst.
        num_slices: Directions among which the worst is searched.

    Returns:
        The figure.

    Raises:
        ValueError: `num_shown` is greater than `num_slices`, or there is no cloud.

    Examples:
        >>> key = jax.random.key(0)
        >>> cloud = jax.random.normal(key, (64, 4))
        >>> len(plot_slices(key, {"after": cloud}, num_slices=8).axes)
        4
    """
    if not embeddings:
        raise ValueError("embeddings must hold at least one cloud, got none")
    if num_shown > num_slices:
        raise ValueError(f"num_shown must be at most num_slices ({num_slices}), got {num_shown}")
    figure = _figure(2.5 * (num_shown + 1) + 0.3, 2.05 * len(embeddings) + 0.2)
    grid = figure.subplots(len(embeddings), num_shown + 1, squeeze=False, sharex=True, sharey="row")
    line = np.linspace(-4, 4, 200)
    bins = np.linspace(-4, 4, 41)
    density = np.exp(-(line**2) / 2) / math.sqrt(2 * math.pi)
    for row, (name, cloud) in enumerate(embeddings.items()):
        x = jnp.asarray(cloud, jnp.float32)
        directions = unit_directions(key, x.shape[-1], num_slices)
        statistics = np.asarray(jax.jit(slice_statistics)(x, directions))
        worst = int(np.nanargmax(statistics)) if np.isfinite(statistics).any() else 0
        for column, index in enumerate([*range(num_shown), worst]):
            ax = grid[row, column]
            projection = np.asarray(x) @ np.asarray(directions[index])
            color = _BEFORE if name == "before" else _AFTER
            counts, _ = np.histogram(projection, bins)
            share = counts / (max(len(projection), 1) * (bins[1] - bins[0]))
            ax.stairs(share, bins, fill=True, color=color, alpha=0.55)
            ax.plot(line, density, color=_INK, linewidth=1.2)
            outside = 1 - counts.sum() / max(len(projection), 1)
            text = f"$T$ = {statistics[index]:.2f}"
            if outside > 0.0005:
                text += f"\n{100 * outside:.1f} % outside"
            corner = {"transform": ax.transAxes, "ha": "right", "va": "top"}
            ax.text(0.98, 0.95, text, fontsize=8, color="#444444", **corner)
            title = f"worst of {num_slices}" if column == num_shown else f"slice {column + 1}"
            _style(
                ax,
                title=title if row == 0 else "",
                xlabel="projection" if row == len(embeddings) - 1 else "",
                ylabel=f"{name}\ndensity" if column == 0 else "",
            )
            ax.set_xlim(-4, 4)
    return figure


def plot_spectrum(embeddings: Mapping[str, Float[Array | np.ndarray, "n d"]]) -> "Figure":
    """Plot the eigenvalues of the covariance of each cloud, largest first, on a logarithmic axis.

    Args:
        embeddings: Clouds by name (`{"before": ..., "after": ...}`).

    Returns:
        A curve a cloud, its effective rank in the legend; the line at 1 is N(0, I).

    Examples:
        >>> cloud = jax.random.normal(jax.random.key(0), (64, 4))
        >>> len(plot_spectrum({"before": 0.1 * cloud, "after": cloud}).axes[0].lines)
        3
    """
    figure = _figure(5.6, 3.1)
    ax = figure.subplots()
    ax.axhline(1, color=_NEUTRAL, linewidth=1, linestyle="--", label="N(0, I)")
    for name, cloud in embeddings.items():
        spectrum = jax.jit(covariance_spectrum)(jnp.asarray(cloud, jnp.float32))
        rank = float(jax.jit(effective_rank)(spectrum))
        values = np.asarray(spectrum)
        values = values[values > 0]  # what is 0 has no place on a logarithmic axis
        ax.plot(
            np.arange(1, len(values) + 1),
            values,
            color=_BEFORE if name == "before" else _AFTER,
            linewidth=1.5,
            marker="o" if len(values) <= 32 else "",
            markersize=3.5,
            label=f"{name}: effective rank {rank:.1f} of {len(spectrum)}",
        )
    ax.set_yscale("log")
    _style(ax, xlabel="eigenvalue, by size", ylabel="variance")
    ax.legend(fontsize=8, frameon=False)
    return figure


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
    figure = _figure(6.4, 4.8)
    ax = figure.subplots()
    if labels is None:
        ax.scatter(points[:, 0], points[:, 1], s=12, color=_AFTER, linewidth=0, alpha=0.8)
    else:
        y = np.asarray(labels)[rows]
        classes = np.unique(np.asarray(labels))
        colors = _class_colors(len(classes))
        for c, color in zip(classes, colors, strict=True):
            of_class = points[y == c]
            name = _shorten(_class_name(class_names, int(c)))
            dots = {"s": 13, "linewidth": 0, "alpha": 0.85}
            ax.scatter(of_class[:, 0], of_class[:, 1], color=color, label=name, **dots)
        if len(classes) <= _MAX_LEGEND:
            beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
            ax.legend(fontsize=8, frameon=False, markerscale=1.8, handletextpad=0.2, **beside)
    _style(ax, title=f"{method} of {len(points)} points")
    _bare(ax)
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


def _class_colors(count: int) -> list[Any]:
    import matplotlib

    if count <= 20:
        return list(matplotlib.colormaps["tab10" if count <= 10 else "tab20"](range(count)))
    return list(matplotlib.colormaps["gist_ncar"](np.linspace(0.03, 0.95, count)))


def _class_name(class_names: Sequence[str] | None, c: int) -> str:
    return str(class_names[c]) if class_names is not None and 0 <= c < len(class_names) else str(c)


def _shorten(text: str, length: int = 18) -> str:
    text = text.replace("$", r"\$")  # a dollar would start a formula
    return text if len(text) <= length else text[: length - 1] + "…"


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
            a dashed red one where it is not.
        class_names: Names to write beside the queries.
        num_queries: Number of rows.
        num_neighbors: Number of neighbors in a row.

    Returns:
        The figure, queries in the first column.

    Examples:
        >>> key = jax.random.key(0)
        >>> images = jnp.zeros((6, 4, 4, 1), jnp.uint8)
        >>> features = jax.random.normal(key, (6, 3))
        >>> len(plot_neighbors(key, features, images, num_queries=2, num_neighbors=3).axes)
        8
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.patches import Rectangle

    x = np.asarray(features, np.float32)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    y = None if labels is None else np.asarray(labels)
    queries = _pick_queries(_generator(key), len(x), y, num_queries)
    num_neighbors = min(num_neighbors, len(x) - 1)
    similarity = x[queries] @ x.T
    similarity[np.arange(len(queries)), queries] = -np.inf  # nobody is their own neighbor
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :num_neighbors]
    columns = num_neighbors + 1
    figure = _figure(0.82 * columns + 1.0, 0.86 * len(queries) + 0.35)
    grid = figure.subplots(
        len(queries), columns, squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.06}
    )
    for row, query in enumerate(queries):
        for column, index in enumerate([query, *nearest[row]]):
            ax = grid[row, column]
            _show(ax, np.asarray(images[index]))
            if column == 0:
                frame, dash = _INK, "-"
                name = "" if y is None else _shorten(_class_name(class_names, int(y[query])), 12)
                ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9, labelpad=6)
            elif y is None:
                frame, dash = "#bbbbbb", "-"
            else:
                same = y[index] == y[query]
                frame, dash = (_SAME, "-") if same else (_OTHER, "--")
            box = Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, clip_on=False)
            box.set(edgecolor=frame, linewidth=2.2, linestyle=dash)
            ax.add_patch(box)
    headings = ["query"]
    if num_neighbors:
        title = "nearest first"
        if y is not None:
            agree = float((y[nearest] == y[queries][:, None]).mean())
            title += f"; {100 * agree:.0f} % of those shown are of the class of their query"
        headings.append(title)
    for ax, heading in zip(grid[0], headings, strict=False):
        # Text outside the layout, not a title: a long one would widen its column.
        text = ax.text(0, 1.12, heading, transform=ax.transAxes, fontsize=9, color=_INK)
        text.set_in_layout(False)
    below = 1 - 0.22 / figure.get_figheight()
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, below)))
    return figure


def _pick_queries(
    generator: np.random.Generator, n: int, labels: np.ndarray | None, count: int
) -> np.ndarray:
    order = generator.permutation(n)
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


def _show(ax: "Axes", image: np.ndarray) -> None:
    gray = image.ndim == 2 or image.shape[-1] == 1
    image = image.reshape(image.shape[:2]) if gray else image
    ax.imshow(image, cmap="gray" if gray else None, vmin=0, vmax=255, interpolation="nearest")
    _bare(ax)


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
        >>> len(plot_patch_pca(features, jnp.zeros((2, 16, 16, 3), jnp.uint8)).axes)
        4
    """
    patches = np.asarray(patch_features[:num_images], np.float32)
    n = min(len(patches), len(images))
    patches = patches[:n]
    scores = _pca(patches.reshape(-1, patches.shape[-1]), 3)
    low, high = np.percentile(scores, [1, 99], axis=0)
    colors = np.clip((scores - low) / np.maximum(high - low, 1e-12), 0, 1)
    colors = colors.reshape(*patches.shape[:-1], 3)
    figure = _figure(1.25 * n + 0.6, 2.7)
    grid = figure.subplots(2, n, squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.05})
    for column in range(n):
        _show(grid[0, column], np.asarray(images[column]))
        grid[1, column].imshow(colors[column], interpolation="nearest")
        _bare(grid[1, column])
    for row, name in enumerate(("image", "patches")):
        grid[row, 0].set_ylabel(name, fontsize=9, color=_INK)
    return figure


# --- the page -----------------------------------------------------------------------------------

_CSS = """
:root { --ink: #1c1c1e; --soft: #5c5c63; --line: #d9d9de; --page: #fbfbfc; --card: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --soft: #a5a5ae; --line: #3a3a41; --page: #17171a; --card: #1f1f23; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.5rem 4rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2.4rem 0 .6rem; }
p, figcaption { color: var(--soft); max-width: 60rem; margin: .3rem 0 .8rem; }
figure { margin: 0; } figcaption { font-size: .9rem; margin-top: .5rem; }
/* Pictures are drawn on white and keep it in the dark. */
figure img { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: .6rem;
  max-width: 100%; height: auto; display: block; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem; text-align: right; border-bottom: 1px solid var(--line);
  font-weight: normal; }
th:first-child { text-align: left; } thead th { color: var(--soft); }
tbody tr:last-child > * { border-bottom: 0; } td.best { font-weight: 650; }
tr.gain > * { border-top: 2px solid var(--line); color: var(--soft); }
table.names td { text-align: left; font-family: ui-monospace, monospace; font-size: .85rem;
  overflow-wrap: anywhere; }
table.names th { font-family: ui-monospace, monospace; font-size: .85rem; vertical-align: top; }
.scroll { overflow-x: auto; } details > summary { cursor: pointer; }
"""


def write_report(
    key: PRNGKeyArray,
    path: str | os.PathLike[str],
    *,
    title: str,
    config: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    embeddings_before: Float[Array | np.ndarray, "n d"] | None = None,
    embeddings_after: Float[Array | np.ndarray, "n d"] | None = None,
    features: Float[Array | np.ndarray, "n f"] | None = None,
    labels: Int[Array | np.ndarray, " n"] | None = None,
    images: UInt8[Array | np.ndarray, "n h w c"] | None = None,
    class_names: Sequence[str] | None = None,
    patch_features: Float[Array | np.ndarray, "p gh gw e"] | None = None,
    sigreg_null: float | None = None,
    figures: Sequence[tuple[str, "Figure", str]] = (),
) -> Path:
    """Write the report of a run as one HTML file, readable without network or scripts.

    What is not given is left out: a run without labels has no colors and no frames, one that
    logged a single step no curves. All arrays are of the same held-out images, in the same order.

    Args:
        key: Draws slices, points and queries: the same key gives the same report.
        path: File to write; it is replaced in one move, so that a reader never sees half of it.
        title: Heading.
        config: Configuration of the run, nested or flat.
        metrics: Rows of `metrics.jsonl`, see :func:`plot_curves`.
        results: As :func:`assemble_results` makes it.
        embeddings_before: Outputs of the projector before training.
        embeddings_after: The same after training.
        features: Features of the trained encoder.
        labels: Classes.
        images: The images.
        class_names: Names of the classes.
        patch_features: Features of the patches of the first images, of an encoder that has them.
        sigreg_null: Value of the statistic on exact normal samples; that of the default
            Epps-Pulley statistic when `None`.
        figures: Titles, figures and captions of whatever else there is to see.

    Returns:
        The path.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_report(jax.random.key(0), folder + "/report.html", title="A run",
        ...                         config={"steps": 3}, metrics=[], results={})
        ...     "A run" in path.read_text()
        True
    """
    null = epps_pulley_null_mean() if sigreg_null is None else sigreg_null
    slice_key, map_key, neighbor_key = jax.random.split(key, 3)
    clouds = {"before": embeddings_before, "after": embeddings_after}
    clouds = {name: cloud for name, cloud in clouds.items() if cloud is not None}
    parts: list[str] = []

    if table := _results_html(results):
        parts.append(_section("Results on held-out data", table))
    if isinstance(results.get("diagnostics"), Mapping) and results["diagnostics"]:
        parts.append(_section("Diagnostics", _diagnostics_html(results["diagnostics"])))
    if any(len(_series(metrics, panel[0])[0]) >= 2 for panel in _PANELS):
        parts.append(
            _picture(
                "Training",
                plot_curves(metrics, sigreg_null=null),
                "Dashed: the mean of SIGReg on exact normal samples, which is not 0.",
                vector=True,
            )
        )
    if clouds:
        parts.append(
            _picture(
                "Slices of the embedding",
                plot_slices(slice_key, clouds),
                "Projections of held-out embeddings on random directions, and on the worst of "
                "1024, against the density of N(0, 1). T is the Epps-Pulley statistic; its mean is "
                f"{null:.2f} on exact normal samples.",
                vector=True,
            )
        )
        parts.append(
            _picture(
                "Covariance spectrum of the embedding",
                plot_spectrum(clouds),
                "Variances along the principal axes of held-out embeddings. A round cloud of unit "
                "variance lies on the dashed line.",
                vector=True,
            )
        )
    if features is not None and len(features) > 2:
        caption = "Features of held-out images" + ("" if labels is None else ", colored by class")
        caption += "; training saw no label. Distances between far groups mean little."
        figure = plot_map(map_key, features, labels, class_names=class_names)
        parts.append(_picture("Map of the features", figure, caption))
    if features is not None and images is not None and len(features) > 1:
        caption = "By cosine similarity of the features, among the held-out images."
        if labels is not None:
            caption += " Green: the class of the query; dashed red: another."
        figure = plot_neighbors(neighbor_key, features, images, labels, class_names=class_names)
        parts.append(_picture("Nearest neighbors", figure, caption))
    if patch_features is not None and images is not None and len(patch_features):
        parts.append(
            _picture(
                "Patch features",
                plot_patch_pca(patch_features, images),
                "First three principal components of the patch features, over all patches shown, "
                "as red, green and blue.",
            )
        )
    parts.extend(_picture(*figure, vector=True) for figure in figures)
    if found := speed(metrics):
        parts.append(_section("Speed", _names_html(_speed_names(found))))
    parts.append(_section("Configuration", _names_html(_flatten(config))))
    parts.append(_section("Versions", _names_html(_versions())))

    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(_summary(metrics))}</p>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)
    return path


def _summary(metrics: Sequence[Mapping[str, Any]]) -> str:
    text = f"Written {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    if metrics and metrics[-1].get("step") is not None:
        last = metrics[-1]
        text += f" after step {last['step']}"
        values = [(name, last.get(name)) for name in ("loss", "prediction", "sigreg")]
        shown = [f"{name} {value:.4g}" for name, value in values if isinstance(value, int | float)]
        if shown:
            text += ": " + ", ".join(shown)
    return text + "."


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{body}\n</section>"


def _picture(title: str, figure: "Figure", caption: str, *, vector: bool = False) -> str:
    buffer = io.BytesIO()
    if vector:
        # No date and a fixed salt: the same run writes the same bytes.
        import matplotlib

        with matplotlib.rc_context({"svg.hashsalt": "lejepa"}):
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        kind = "svg+xml"
    else:
        figure.savefig(buffer, format="png", dpi=160)
        kind = "png"
    data = base64.b64encode(buffer.getvalue()).decode()
    width = round(96 * figure.get_figwidth())
    return _section(
        title,
        f'<figure><img src="data:image/{kind};base64,{data}" width="{width}" '
        f'alt="{html.escape(title)}"><figcaption>{html.escape(caption)}</figcaption></figure>',
    )


def _row(cells: Sequence[str], *, tag: str = "td", css: Sequence[str] | None = None) -> str:
    classes = css or [""] * len(cells)
    body = "".join(
        f"<{tag}{f' class={c!r}' if c else ''}>{html.escape(cell)}</{tag}>"
        for cell, c in zip(cells[1:], classes[1:], strict=True)
    )
    return f'<th scope="row">{html.escape(cells[0])}</th>{body}'


def _results_html(results: Mapping[str, Any]) -> str:
    probes, sources = _probe_names(results), _present_sources(results)
    if not probes:
        return ""
    head = _row(["accuracy, %", *map(_probe_title, probes)], tag="th")
    rows = []
    for source in sources:
        best = [
            results[probe].get(source) == max(results[probe].values(), default=None)
            for probe in probes
        ]
        css = ["", *("best" if is_best else "" for is_best in best)]
        cells = [_percent(results, probe, source) for probe in probes]
        rows.append(f"<tr>{_row([source, *cells], css=css)}</tr>")
    if "encoder" in sources and len(sources) > 1:
        raw = sources[-1]
        gains = [_gain(results[probe], raw) for probe in probes]
        rows.append(f'<tr class="gain">{_row([f"encoder − {raw}, points", *gains])}</tr>')
    note = ""
    if any(f"{probe}_std" in results for probe in probes):
        note = "<p>± is the standard deviation over draws of the labeled examples.</p>"
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _gain(values: Mapping[str, float], raw: str) -> str:
    if "encoder" not in values or raw not in values:
        return "–"
    return f"{100 * (values['encoder'] - values[raw]):+.1f}".replace("-", "−")


def _diagnostics_html(diagnostics: Mapping[str, Any]) -> str:
    nested = [values for values in diagnostics.values() if isinstance(values, Mapping)]
    columns = list(dict.fromkeys(name for values in nested for name in values))
    if not columns:
        return _names_html({name: _number(value) for name, value in diagnostics.items()})
    rows = []
    for name, values in diagnostics.items():
        values = values if isinstance(values, Mapping) else {columns[0]: values}
        cells = [_number(values[c]) if c in values else "–" for c in columns]
        rows.append(f"<tr>{_row([name, *cells])}</tr>")
    head = _row(["", *columns], tag="th")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _names_html(values: Mapping[str, str]) -> str:
    rows = "".join(f"<tr>{_row([name, value])}</tr>" for name, value in values.items())
    return f'<div class="scroll"><table class="names"><tbody>{rows}</tbody></table></div>'


def _speed_names(found: Mapping[str, float]) -> dict[str, str]:
    """Numbers of `lejepa_jax.training.runs.speed` as a person reads them."""
    names = {
        "images a second, median": f"{found['images_per_second']:,.0f}",
        "seconds a step: median, 90 %, 99 %": ", ".join(
            f"{found[f'step_seconds_{which}']:.3g}" for which in ("median", "90", "99")
        ),
    }
    if "data_wait" in found:
        names["waiting for data"] = f"{100 * found['data_wait']:.1f} % of the time"
    if found.get("compile_seconds"):
        names["compiling and first step"] = f"{found['compile_seconds']:.1f} s"
    if "device_bytes" in found:
        names["memory of a device, at most"] = f"{found['device_bytes'] / 2**30:.2f} GiB"
    return names


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("lejepa-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    devices = jax.devices()
    versions["devices"] = f"{len(devices)} x {devices[0].device_kind}"
    return versions
