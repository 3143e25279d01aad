"""What a run is trained on: views of a few images, for the report."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lejepa_jax.augment.sheet import view_table
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.data.source import ImageSource
from lejepa_jax.evaluation.results import Picture
from lejepa_jax.report.drawing import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS, _TILE, _DOTS_PER_INCH = 4, 96, 96


def view_picture(source: ImageSource, views: Sequence[ViewSpec], *, seed: int) -> Picture:
    """Show the views that a run is trained on, of a few images.

    Args:
        source: The images.
        views: What views are made of them.
        seed: Of the choice of images and of their views.

    Returns:
        The picture, drawn when it is asked for.
    """
    caption = "Random training images, the image first, then its views."
    return Picture("Views", partial(plot_views, source, views, seed=seed), caption)


def table_picture(draw: Callable[..., Any]) -> Picture:
    """Show a table of views that a task draws by itself.

    Args:
        draw: Draws it from `rows` and `tile`, see `lejepa_jax.training.task.DrawsViews`.

    Returns:
        The picture, drawn when it is asked for.
    """
    caption = "Random training examples, the example first, then its views."
    return Picture("Views", lambda: show_table(draw(rows=_ROWS, tile=_TILE)), caption)


def plot_views(source: ImageSource, views: Sequence[ViewSpec], *, seed: int) -> "Figure":
    """Plot a row an image: the image in its true aspect, then its views.

    Args:
        source: The images.
        views: What views are made of them.
        seed: Of the choice of images and of their views.

    Returns:
        The figure.
    """
    return show_table(view_table(source, views, seed=seed, rows=_ROWS, tile=_TILE))


def show_table(picture: Any) -> "Figure":
    """Plot a picture of Pillow, pixel by pixel.

    Args:
        picture: The picture.

    Returns:
        The figure.
    """
    table = np.asarray(picture)
    height, width = table.shape[:2]
    figure = new_figure(width / _DOTS_PER_INCH, height / _DOTS_PER_INCH)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.imshow(table, interpolation="nearest")
    ax.set_axis_off()
    return figure
