"""Figures of a cloud of embeddings: how far it is from N(0, I)."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.diagnostics.spectrum import covariance_spectrum, effective_rank
from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.slicing import slice_statistics
from lejepa_jax.report.drawing import AFTER, BEFORE, INK, NEUTRAL, new_figure, plain, style_axes
from lejepa_jax.statistics.normality import Statistic, epps_pulley

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_slices(
    key: PRNGKeyArray,
    embeddings: Mapping[str, Float[Array | np.ndarray, "n d"]],
    *,
    num_shown: int = 3,
    num_slices: int = 1024,
    statistic: Statistic = epps_pulley,
) -> "Figure":
    """Plot histograms of random projections of each cloud against the normal density.

    The last column is the worst of all slices: the one with the largest statistic. All clouds of
    one dimension are cut along the same directions, but each has a worst slice of its own.

    Args:
        key: Draws the directions.
        embeddings: Clouds by name, a row of panels each (`{"before": ..., "after": ...}`).
        num_shown: Random slices to show beside the worst.
        num_slices: Directions among which the worst is searched.
        statistic: Statistic of one-dimensional samples.

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
    figure = new_figure(2.5 * (num_shown + 1) + 0.3, 2.05 * len(embeddings) + 0.2)
    grid = figure.subplots(len(embeddings), num_shown + 1, squeeze=False, sharex=True, sharey="row")
    line = np.linspace(-4, 4, 200)
    bins = np.linspace(-4, 4, 41)
    density = np.exp(-(line**2) / 2) / math.sqrt(2 * math.pi)
    of_slices = jax.jit(lambda x, directions: slice_statistics(x, directions, statistic=statistic))
    for row, (name, cloud) in enumerate(embeddings.items()):
        x = jnp.asarray(cloud, jnp.float32)
        directions = unit_directions(key, x.shape[-1], num_slices)
        statistics = np.asarray(of_slices(x, directions))
        worst = int(np.nanargmax(statistics)) if np.isfinite(statistics).any() else 0
        for column, index in enumerate([*range(num_shown), worst]):
            ax = grid[row, column]
            projection = np.asarray(x) @ np.asarray(directions[index])
            color = BEFORE if name == "before" else AFTER
            counts, _ = np.histogram(projection, bins)
            share = counts / (max(len(projection), 1) * (bins[1] - bins[0]))
            ax.stairs(share, bins, fill=True, color=color, alpha=0.55)
            ax.plot(line, density, color=INK, linewidth=1.2)
            outside = 1 - counts.sum() / max(len(projection), 1)
            text = f"$T$ = {statistics[index]:.2f}"
            if outside > 0.0005:
                text += f"\n{100 * outside:.1f} % outside"
            corner = {"transform": ax.transAxes, "ha": "right", "va": "top"}
            ax.text(0.98, 0.95, text, fontsize=8, color="#444444", **corner)
            title = f"worst of {num_slices}" if column == num_shown else f"slice {column + 1}"
            style_axes(
                ax,
                title=title if row == 0 else "",
                xlabel="projection" if row == len(embeddings) - 1 else "",
                ylabel=f"{plain(name)}\ndensity" if column == 0 else "",
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
    figure = new_figure(5.6, 3.1)
    ax = figure.subplots()
    ax.axhline(1, color=NEUTRAL, linewidth=1, linestyle="--", label="N(0, I)")
    for name, cloud in embeddings.items():
        spectrum = jax.jit(covariance_spectrum)(jnp.asarray(cloud, jnp.float32))
        rank = float(jax.jit(effective_rank)(spectrum))
        values = np.asarray(spectrum)
        values = values[values > 0]  # what is 0 has no place on a logarithmic axis
        ax.plot(
            np.arange(1, len(values) + 1),
            values,
            color=BEFORE if name == "before" else AFTER,
            linewidth=1.5,
            marker="o" if len(values) <= 32 else "",
            markersize=3.5,
            label=f"{plain(name)}: effective rank {rank:.1f} of {len(spectrum)}",
        )
    ax.set_yscale("log")
    style_axes(ax, xlabel="eigenvalue, by size", ylabel="variance")
    ax.legend(fontsize=8, frameon=False)
    return figure
