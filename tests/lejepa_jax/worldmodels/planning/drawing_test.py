"""Pictures of paths show what was recorded."""

import numpy as np
import pytest

from lejepa_jax.worldmodels.planning import Paths, Success, draw_paths

VECTORS = np.linspace([0.1, 0.2], [0.8, 0.9], 6, dtype=np.float32)[None].repeat(3, 0)
SUCCESS = Success(
    rows=(),
    already_solved=1,
    unreachable=0,
    counted=np.array([True, False, True]),
    budgets=np.array([5, 5, 3]),
    goals=np.full((3, 2), 0.5, np.float32),
    paths={"planner": Paths(VECTORS, np.zeros((3, 6)), np.array([2, 0, -1]))},
)


def test_paths_end_where_the_goal_or_the_budget_does(tmp_path):
    walls = np.array([[0.4, 0.0, 0.6, 0.3]], np.float32)
    figure = draw_paths(SUCCESS, "planner", outline=walls)
    figure.savefig(tmp_path / "paths.png")
    panels = [ax for ax in figure.axes if ax.lines]
    titles = [ax.get_title(loc="left") for ax in panels]
    assert titles == ["solved in 2 of 5", "not solved in 3"]
    for ax, steps in zip(panels, (3, 4), strict=True):
        assert len(ax.patches) == 1
        np.testing.assert_allclose(ax.lines[0].get_xydata(), VECTORS[0, :steps], atol=1e-6)
        assert ax.get_ylim() == (1.0, 0.0)
    assert panels[0].lines[0].get_color() != panels[1].lines[0].get_color()


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="policy must be one of planner, got 'oracle'"):
        draw_paths(SUCCESS, "oracle")
