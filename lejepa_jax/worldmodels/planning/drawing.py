"""Paths and plans on the scene, from host arrays alone."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lejepa_jax.checks import check_positive, needs_extra
from lejepa_jax.report.drawing import INK, NEUTRAL, OTHER, SAME, bare_axes, new_figure
from lejepa_jax.worldmodels.planning.success import Success

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_scene(
    ax: "Axes", outline: Float[np.ndarray, "b 4"] | None, extent: tuple[float, float]
) -> None:
    """Draw walls, y pointing downward as in the frames.

    Args:
        ax: Where.
        outline: Boxes (low x, low y, high x, high y).
        extent: Width and height of the scene.
    """
    from matplotlib.patches import Rectangle

    for low_x, low_y, high_x, high_y in () if outline is None else outline:
        size = high_x - low_x, high_y - low_y
        ax.add_patch(Rectangle((low_x, low_y), *size, color="#cccccc", linewidth=0))
    ax.set(xlim=(0, extent[0]), ylim=(extent[1], 0), aspect="equal")
    bare_axes(ax)


def draw_paths(
    success: Success,
    policy: str,
    *,
    outline: Float[np.ndarray, "b 4"] | None = None,
    extent: tuple[float, float] = (1.0, 1.0),
    axes: tuple[int, int] = (0, 1),
    count: int = 8,
) -> "Figure":
    """Draw where a policy went: a scene an episode, with start, goal and path.

    The first episodes that count are shown, whether they were solved or not.

    Args:
        success: What :func:`~lejepa_jax.worldmodels.planning.success.evaluate_success` returned.
        policy: Whose paths.
        outline: Walls, such as `environment.outline`.
        extent: Width and height of the scene.
        axes: Which numbers of `vector` are x and y.
        count: Largest number of episodes.

    Returns:
        The figure.

    Raises:
        ValueError: If there is no such policy.
        MissingExtra: If matplotlib is not installed.
    """
    check_positive("count", count)
    if policy not in success.paths:
        names = ", ".join(success.paths)
        raise ValueError(f"policy must be one of {names}, got {policy!r}")
    with needs_extra("train"):
        import matplotlib  # noqa: F401
    shown = np.flatnonzero(success.counted)[:count]
    columns = min(4, max(len(shown), 1))
    rows = max(-(-len(shown) // columns), 1)
    height = 2.2 * extent[1] / extent[0] + 0.3
    figure = new_figure(2.2 * columns, height * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    paths, pick = success.paths[policy], list(axes)
    for ax in panels[len(shown) :]:
        bare_axes(ax)
    for ax, episode in zip(panels, shown, strict=False):
        draw_scene(ax, outline, extent)
        solved = int(paths.solved_at[episode])
        end = solved if solved >= 0 else int(success.budgets[episode])
        x, y = paths.vectors[episode, : end + 1][:, pick].T
        color = SAME if solved >= 0 else OTHER
        ax.plot(x, y, "-", color=color, linewidth=1.2)
        ax.plot(x, y, ".", color=color, markersize=3)
        ax.plot(x[0], y[0], "o", color=NEUTRAL, markersize=6, label="start")
        ax.plot(*success.goals[episode, pick], "*", color=INK, markersize=9, label="goal")
        budget = int(success.budgets[episode])
        text = f"solved in {end} of {budget}" if solved >= 0 else f"not solved in {budget}"
        ax.set_title(text, fontsize=8, color=INK, loc="left")
    if len(shown):
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=2)
    return figure
