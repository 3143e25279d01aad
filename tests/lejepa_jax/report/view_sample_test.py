"""The picture of views in a report."""

import numpy as np

from lejepa_jax.augment.presets import digits_view
from lejepa_jax.augment.sheet import view_table
from lejepa_jax.data.images.arrays import from_arrays
from lejepa_jax.report.view_sample import view_picture


def test_the_picture_shows_the_table_of_the_preview_pixel_by_pixel():
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), np.uint8)
    source, views = from_arrays(images), (digits_view(2, 8),)
    picture = view_picture(source, views, seed=3)
    figure = picture.draw()
    figure.set_dpi(96)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = np.asarray(canvas.buffer_rgba())[..., :3]
    table = np.asarray(view_table(source, views, seed=3, rows=4, tile=96))
    assert shown.shape == table.shape
    assert (shown == table).mean() > 0.99
    other = np.asarray(view_table(source, views, seed=4, rows=4, tile=96))
    assert (shown == other).mean() < 0.9
