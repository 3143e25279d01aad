"""Pictures of a world model for the report, from host arrays alone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from lejepa_jax.report.drawing import (
    AFTER,
    BEFORE,
    NEUTRAL,
    OTHER,
    new_figure,
    plain,
    show_image,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_map(
    latents: Float[np.ndarray, "n d"],
    states: Float[np.ndarray, "n s"],
    names: tuple[str, ...],
) -> "Figure":
    """Draw latents on their first two principal components, colored by the states.

    Args:
        latents: Latents of frames.
        states: The states of their world; the first two are shown.
        names: What they are called.

    Returns:
        The figure.
    """
    centered = latents - latents.mean(0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    plane = centered @ axes[:2].T
    shown = states[:, :2]
    figure = new_figure(4.2 * shown.shape[1], 4)
    for index, ax in enumerate(np.ravel(figure.subplots(1, shown.shape[1], squeeze=False))):
        name = names[index] if index < len(names) else f"state {index + 1}"
        dots = ax.scatter(*plane.T, c=shown[:, index], s=3, cmap="viridis", linewidths=0)
        figure.colorbar(dots, ax=ax, fraction=0.05)
        style_axes(ax, title=f"colored by {plain(name)}", xlabel="component 1")
        ax.set_aspect("equal", adjustable="datalim")
    return figure


def draw_imagined(
    true: UInt8[np.ndarray, "n t h w c"], imagined: UInt8[np.ndarray, "n t h w c"]
) -> "Figure":
    """Draw what came above the frames that are nearest to what was imagined.

    Args:
        true: Frames that came.
        imagined: Frames whose latents are nearest to the imagined ones.

    Returns:
        The figure, two rows a path.
    """
    count, times = true.shape[:2]
    figure = new_figure(1.1 * times + 0.8, 2.3 * count)
    grid = np.reshape(figure.subplots(2 * count, times, squeeze=False), (count, 2, times))
    for path in range(count):
        for row, (name, frames) in enumerate((("came", true), ("imagined", imagined))):
            for time in range(times):
                ax = grid[path, row, time]
                show_image(ax, frames[path, time])
                if not path and not row:
                    ax.set_title("seen" if not time else f"+{time}", fontsize=8)
                if not time:
                    ax.set_ylabel(name, fontsize=8)
    return figure


def draw_ends(frames: Mapping[str, UInt8[np.ndarray, "n h w c"]]) -> "Figure":
    """Draw frames of several episodes, a column each.

    Args:
        frames: What each row shows, by name, such as start, goal and end.

    Returns:
        The figure.
    """
    count = len(next(iter(frames.values())))
    figure = new_figure(1.3 * count + 0.4, 1.4 * len(frames))
    grid = np.reshape(figure.subplots(len(frames), count, squeeze=False), (len(frames), count))
    for row, (name, pictures) in enumerate(frames.items()):
        for column, picture in enumerate(pictures):
            show_image(grid[row, column], picture)
        grid[row, 0].set_ylabel(name, fontsize=8)
    return figure


def draw_curves(
    curves: Mapping[str, Float[np.ndarray, " t"]],
    *,
    xlabel: str,
    ylabel: str,
    mark: int | None = None,
) -> "Figure":
    """Draw curves over time.

    Args:
        curves: Values by name.
        xlabel: Label of the axis of time.
        ylabel: Label of the other axis.
        mark: A time that is marked by a line.

    Returns:
        The figure.
    """
    figure = new_figure(6, 3)
    ax = figure.subplots()
    for (name, values), color in zip(curves.items(), (AFTER, BEFORE, OTHER, NEUTRAL), strict=False):
        ax.plot(np.arange(1, len(values) + 1), values, label=plain(name, 40), color=color)
    if mark is not None:
        ax.axvline(mark, color=NEUTRAL, linestyle="--", linewidth=1)
    ax.set_yscale("log")
    style_axes(ax, xlabel=xlabel, ylabel=ylabel)
    ax.legend(fontsize=8, frameon=False)
    return figure
