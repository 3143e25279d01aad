"""What was logged during training, drawn against the step."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lejepa_jax.report.drawing import AFTER, NEUTRAL, new_figure, note, style_axes
from lejepa_jax.report.metric import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What the training loop logs itself, whatever the task.
LOOP_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "loss": Metric("Loss", progress=True),
        "learning_rate": Metric("Learning rate"),
        "examples_per_second": Metric("Throughput", "examples / s"),
    }
)
# Names that logs of earlier versions have.
_FORMER = {"examples_per_second": "images_per_second"}


def plot_curves(
    rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric] | None = None
) -> "Figure":
    """Plot what was logged during training against the step.

    Args:
        rows: Rows of `metrics.jsonl`; what a row lacks, or holds as a value that is not finite, is
            left out of that curve.
        metrics: How the metrics of the task are shown, in the order of their panels; those of the
            loop (`LOOP_METRICS`) are there always.

    Returns:
        A panel for each metric that has at least two values; a note when none has.

    Examples:
        >>> rows = [{"step": 0, "loss": 2.0}, {"step": 10, "loss": 1.0}, {"step": 20, "loss": 0.5}]
        >>> [ax.get_title(loc="left") for ax in plot_curves(rows).axes]
        ['Loss']
    """
    panels = curve_panels(rows, metrics or {})
    if not panels:
        return note("Fewer than two steps were logged.")
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = new_figure(3.4 * columns + 0.2, 2.3 * lines)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, (name, (metric, x, y)) in zip(axes, panels.items(), strict=False):
        quiet = name in LOOP_METRICS and name != "loss"
        marker = "o" if len(x) < 20 else ""
        ax.plot(x, y, color=NEUTRAL if quiet else AFTER, linewidth=1.3, marker=marker, markersize=3)
        if metric.log_scale and min(y) > 0:
            ax.set_yscale("log")
        if metric.reference is not None:
            _draw_reference(ax, metric.reference, metric.reference_name)
        if quiet:
            # From 0, and with room above the largest, which would be cut in half.
            ax.set_ylim(0, 1.08 * max(y) if max(y) > 0 else None)
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        style_axes(ax, title=metric.title, xlabel="step", ylabel=metric.unit)
    return figure


def curve_panels(
    rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric]
) -> dict[str, tuple[Metric, list[float], list[float]]]:
    """List the panels of the curves: of each metric with two finite values or more.

    Args:
        rows: Logged rows.
        metrics: Metrics of the task.

    Returns:
        By name: the metric, steps and values. The loss comes first, then the metrics of the task,
        then the rest of `LOOP_METRICS`.

    Examples:
        >>> rows = [{"step": 0, "std": 0.1, "loss": 1.0}, {"step": 9, "std": 0.9, "loss": 0.5}]
        >>> list(curve_panels(rows, {"std": Metric("Standard deviation")}))
        ['loss', 'std']
    """
    ordered = {"loss": LOOP_METRICS["loss"], **metrics}
    ordered |= {name: metric for name, metric in LOOP_METRICS.items() if name not in ordered}
    panels = {}
    for name, metric in ordered.items():
        x, y = _series(rows, name)
        if len(x) >= 2:
            panels[name] = (metric, x, y)
    return panels


def _series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    former = _FORMER.get(name, name)
    pairs = [(row.get("step"), row.get(name, row.get(former))) for row in rows]
    pairs = [(float(s), float(v)) for s, v in pairs if s is not None and v is not None]
    pairs = [(s, v) for s, v in pairs if math.isfinite(s) and math.isfinite(v)]
    return [s for s, _ in pairs], [v for _, v in pairs]


def _draw_reference(ax: "Axes", value: float, name: str) -> None:
    ax.axhline(value, color=NEUTRAL, linewidth=1, linestyle="--")
    ax.annotate(
        f"{name}: {value:.2f}" if name else f"{value:.2f}",
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, -3),
        textcoords="offset points",
        ha="right",
        va="top",  # below: a trained curve ends just above the line
        fontsize=8,
        color="#555555",
    )
    if value > 0:
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, 0.5 * value), max(high, 1.3 * value))
