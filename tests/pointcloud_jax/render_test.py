"""Pictures: what is near covers what is far, what is right is on the right."""

import numpy as np

from pointcloud_jax import render as pictures


def test_points_are_drawn_where_they_are():
    up = pictures.render_clouds(np.float32([[[0, 0, 0.9]]]), size=41)[0].min(-1)
    right = pictures.render_clouds(np.float32([[[0.8, 0.6, 0]]]), size=41)[0].min(-1)
    row, column = np.argwhere(up < 255).mean(0)
    assert row < 10
    assert abs(column - 20) < 1
    row, column = np.argwhere(right < 255).mean(0)
    assert column > 35
    assert abs(row - 20) < 1


def test_nearer_points_cover_farther_ones_and_absent_ones_are_not_drawn():
    toward = np.cross([0.8, 0.6, 0], [-0.3, 0.4, 0.866])
    points = np.float32([[0.5 * toward, -0.5 * toward]])
    red, blue = [1.0, 0, 0], [0, 0, 1.0]
    for order in (1, -1):
        colors = np.array([[red, blue]])[:, ::order]
        middle = pictures.render_clouds(points[:, ::order], size=21, colors=colors)[0, 10, 10]
        assert middle[0] > 100
        assert middle[2] == 0
    mask = np.array([[False, True]])
    hidden = pictures.render_clouds(points, size=21, colors=np.array([[red, blue]]), mask=mask)
    assert hidden[0, 10, 10, 2] > 100


def test_confusion_and_curves_show_what_they_are_given():
    counts = np.array([[3, 1], [0, 0]])
    figure = pictures.plot_confusion({"one": counts, "two": counts}, ("cat", "dog"))
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), [[0.75, 0.25], [0, 0]])
    figure = pictures.plot_lines({"noise": {"a": {0.0: 0.9, 0.1: 0.4}}})
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.9, 0.4])
    colors = pictures.part_colors(np.arange(-1, 10))
    assert len(np.unique(colors, axis=0)) == 11
