"""Pictures for reports and documents: clouds, confusion matrices, curves.

Matplotlib comes with the training extra and is imported where it is used; figures are made without
pyplot, so that nothing global is touched.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Seen from the front, the right and above; the third axis is up.
_RIGHT = np.array([0.8, 0.6, 0.0])
_UP = np.array([-0.3, 0.4, 0.866])


def render_clouds(
    points: Float[np.ndarray, "b n 3"],
    *,
    size: int = 96,
    mask: Bool[np.ndarray, "b n"] | None = None,
    colors: Float[np.ndarray, "b n 3"] | None = None,
) -> UInt8[np.ndarray, "b {size} {size} 3"]:
    """Draw clouds of radius 1 as small pictures: discs, nearer ones in front and darker.

    Args:
        points: The clouds.
        size: Side of a picture in pixels.
        mask: True for points that exist.
        colors: Red, green and blue of each point, from 0 to 1; by default grays.

    Returns:
        The pictures, on white.

    Examples:
        >>> picture = render_clouds(np.zeros((1, 1, 3), np.float32), size=9)
        >>> picture.shape, bool(picture[0, 4, 4].max() < 255), int(picture[0, 0, 0, 0])
        ((1, 9, 9, 3), True, 255)
    """
    out = np.full((len(points), size, size, 3), 255, np.uint8)
    toward = np.cross(_RIGHT, _UP)
    disc = max(1, round(size / 64))
    offsets = np.mgrid[-disc : disc + 1, -disc : disc + 1].reshape(2, -1).T
    offsets = offsets[(offsets**2).sum(1) <= disc**2]
    for i, cloud in enumerate(points):
        kept = np.ones(len(cloud), bool) if mask is None else mask[i]
        cloud = cloud[kept].astype(np.float64)
        depth = cloud @ toward
        order = np.argsort(depth)
        column = np.round((0.5 + 0.46 * cloud[order] @ _RIGHT) * (size - 1)).astype(int)
        row = np.round((0.5 - 0.46 * cloud[order] @ _UP) * (size - 1)).astype(int)
        shade = 0.5 + 0.5 * np.clip(0.5 - 0.5 * depth[order], 0, 1)
        if colors is None:
            ink = np.repeat(0.72 * shade[:, None], 3, axis=1)
        else:
            ink = colors[i][kept][order] * (1.3 - 0.4 * shade[:, None])
        ink = np.round(255 * np.clip(ink, 0, 1)).astype(np.uint8)
        for dy, dx in offsets:
            y, x = np.clip(row + dy, 0, size - 1), np.clip(column + dx, 0, size - 1)
            # NumPy keeps the last of several writes to one pixel: the nearest point.
            out[i, y, x] = ink
    return out


def part_colors(part: Int[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 3"]:
    """Give each part a color; ten of them, then again from the first.

    Args:
        part: Numbers of parts; negative ones are gray.

    Returns:
        Red, green and blue from 0 to 1.

    Examples:
        >>> part_colors(np.array([0, -1])).shape
        (2, 3)
    """
    palette = np.array(
        [
            *([0.12, 0.47, 0.71], [1.0, 0.5, 0.05], [0.17, 0.63, 0.17], [0.84, 0.15, 0.16]),
            *([0.58, 0.4, 0.74], [0.55, 0.34, 0.29], [0.89, 0.47, 0.76], [0.74, 0.74, 0.13]),
            *([0.09, 0.75, 0.81], [0.3, 0.3, 0.3]),
        ]
    )
    return np.where((part < 0)[..., None], 0.7, palette[np.maximum(part, 0) % len(palette)])


def plot_confusion(
    matrices: Mapping[str, Int[np.ndarray, "c c"]], class_names: Sequence[str]
) -> "Figure":
    """Draw confusion matrices side by side: rows are true classes and sum to one.

    Args:
        matrices: How often each true class (row) was called each class (column), by title.
        class_names: Names of the classes.

    Returns:
        A panel a matrix.

    Examples:
        >>> figure = plot_confusion({"a": np.eye(2, dtype=int)}, ("cat", "dog"))
        >>> figure.axes[0].get_title()
        'a'
    """
    from matplotlib.figure import Figure

    side = float(np.clip(0.22 * len(class_names) + 1.2, 2.8, 9))
    figure = Figure(figsize=(side * len(matrices), side + 0.4), layout="constrained")
    panels = figure.subplots(1, len(matrices), squeeze=False)[0]
    for ax, (title, matrix) in zip(panels, matrices.items(), strict=True):
        rows = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        ax.imshow(rows, cmap="Blues", vmin=0, vmax=1)
        ax.set_title(title, fontsize=10)
        size = 7 if len(class_names) <= 40 else 4
        ax.set_xticks(range(len(class_names)), class_names, rotation=90, fontsize=size)
        ax.set_yticks(range(len(class_names)), class_names, fontsize=size)
        ax.set_xlabel("called", fontsize=8)
    panels[0].set_ylabel("is", fontsize=8)
    return figure


def plot_lines(
    curves: Mapping[str, Mapping[str, Mapping[float, float]]], *, ylabel: str = ""
) -> "Figure":
    """Draw curves, a panel a quantity on the horizontal axis.

    Args:
        curves: By what is varied, by line, the height at each value.
        ylabel: What the height is.

    Returns:
        The figure.

    Examples:
        >>> figure = plot_lines({"noise": {"a": {0.0: 1.0, 0.1: 0.5}}}, ylabel="accuracy")
        >>> figure.axes[0].get_xlabel()
        'noise'
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(curves), 2.8), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for ax, (title, lines) in zip(panels, curves.items(), strict=True):
        for name, line in lines.items():
            ax.plot(list(line), list(line.values()), marker="o", markersize=3, label=name)
        ax.set_xlabel(title)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(ylabel)
    panels[0].legend(fontsize=8, frameon=False)
    return figure
