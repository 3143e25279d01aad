import numpy as np
import pytest

from lejepa_jax.report.curves import plot_curves
from lejepa_jax.report.metric import Metric

ROWS = [
    {"step": 10 * i, "loss": 2.0 / (i + 1), "prediction": 1.0 / (i + 1), "sigreg": 5.0 / (i + 1)}
    | {"learning_rate": 1e-3, "examples_per_second": 100.0 + i}
    for i in range(4)
]
METRICS = {
    "prediction": Metric("Prediction", "mean squared distance", log_scale=True),
    "sigreg": Metric("SIGReg", log_scale=True, reference=1.05, reference_name="N(0, I)"),
}


def test_curves_leave_out_what_is_missing_or_not_finite():
    rows = [*ROWS, {"step": 40, "loss": float("nan")}, {"step": 50, "loss": 0.25}, {"loss": 9.0}]
    axes = {ax.get_title(loc="left"): ax for ax in plot_curves(rows, METRICS).axes}
    assert list(axes) == ["Loss", "Prediction", "SIGReg", "Learning rate", "Throughput"]
    x, y = axes["Loss"].lines[0].get_data()
    np.testing.assert_array_equal(x, [0, 10, 20, 30, 50])
    np.testing.assert_allclose(y, [2, 1, 2 / 3, 0.5, 0.25])


def test_a_panel_is_drawn_as_its_metric_says():
    axes = {ax.get_title(loc="left"): ax for ax in plot_curves(ROWS, METRICS).axes}
    assert axes["SIGReg"].get_yscale() == axes["Prediction"].get_yscale() == "log"
    assert axes["Loss"].get_yscale() == "linear"
    assert set(axes["SIGReg"].lines[1].get_ydata()) == {1.05}
    assert axes["SIGReg"].get_ylim()[0] < 1.05
    assert axes["SIGReg"].texts[0].get_text() == "N(0, I): 1.05"
    assert len(axes["Prediction"].lines) == 1
    assert axes["Prediction"].get_ylabel() == "mean squared distance"
    assert axes["Learning rate"].get_ylim() == pytest.approx((0, 1.08e-3))


def test_logs_that_count_images_have_their_throughput():
    rows = [{"step": i, "images_per_second": 100.0} for i in range(3)]
    (ax,) = plot_curves(rows).axes
    assert ax.get_title(loc="left") == "Throughput"
    assert set(ax.lines[0].get_ydata()) == {100.0}


def test_one_step_makes_no_curve():
    figure = plot_curves([{"step": 0, "loss": 1.0}], METRICS)
    assert "Fewer than two steps" in figure.axes[0].texts[0].get_text()
