"""What the figures share: colors, axes, text that comes from outside.

Figures are made without pyplot: nothing global is touched, so they serve a notebook and a training
run on a machine without a screen alike. Matplotlib comes with the training extra and is imported
where it is used.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AFTER, BEFORE, NEUTRAL, INK = "#2166ac", "#d6802b", "#777777", "#222222"
SAME, OTHER = "#1a8a3c", "#cc2f2f"


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty white figure; width and height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def style_axes(ax: "Axes", *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Give axes their texts and the look of the report."""
    ax.set_title(title, fontsize=10, color=INK, loc="left")
    ax.set_xlabel(xlabel, fontsize=9, color=INK)
    ax.set_ylabel(ylabel, fontsize=9, color=INK)
    ax.tick_params(labelsize=8, colors="#555555", which="both")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")


def bare_axes(ax: "Axes") -> None:
    """Leave no ticks and no frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def note(text: str) -> "Figure":
    """Make a figure that holds one line of text."""
    figure = new_figure(5, 0.6)
    ax = figure.subplots()
    ax.text(0, 0.5, text, fontsize=9, color=INK, va="center")
    bare_axes(ax)
    return figure


def show_image(ax: "Axes", image: np.ndarray) -> None:
    """Show an image of 8 bits: fewer than three channels as gray levels, else the first three."""
    gray = image.ndim == 2 or image.shape[-1] < 3
    image = image.reshape(*image.shape[:2], -1)
    image = image[..., 0] if gray else image[..., :3]
    ax.imshow(image, cmap="gray" if gray else None, vmin=0, vmax=255, interpolation="nearest")
    bare_axes(ax)


def class_colors(count: int) -> list[Any]:
    """List colors that tell so many classes apart."""
    import matplotlib

    if count <= 20:
        return list(matplotlib.colormaps["tab10" if count <= 10 else "tab20"](range(count)))
    return list(matplotlib.colormaps["gist_ncar"](np.linspace(0.03, 0.95, count)))


def class_name(class_names: Sequence[str] | None, c: int) -> str:
    """Name a class; its number where it has no name.

    Examples:
        >>> class_name(["cat"], 0), class_name(["cat"], 1), class_name(["cat"], -1)
        ('cat', '1', 'no label')
    """
    if c < 0:
        return "no label"
    return str(class_names[c]) if class_names is not None and 0 <= c < len(class_names) else str(c)


def plain(text: str, length: int = 18) -> str:
    r"""Make text from outside safe to draw: short, no formula, nothing that has no encoding.

    Examples:
        >>> plain("$x$ of a class with a long name")
        '\\$x\\$ of a class wi…'
    """
    # Names of folders that are not UTF-8 hold lone surrogates, which no font can draw.
    text = printable(text)
    text = text if len(text) <= length else text[: length - 1] + "…"
    return text.replace("$", r"\$")  # a dollar would start a formula


def printable(text: str) -> str:
    r"""Replace what has no encoding in UTF-8 by question marks.

    Examples:
        >>> printable("caf\udce9")
        'caf?'
    """
    return text.encode("utf-8", "replace").decode("utf-8")
