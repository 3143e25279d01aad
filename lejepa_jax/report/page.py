"""The report of a run: one HTML file that needs no network, and no script."""

import base64
import html
import importlib.metadata
import io
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jax

from lejepa_jax.evaluation.results import Picture, Results
from lejepa_jax.report.curves import curve_panels, plot_curves
from lejepa_jax.report.diagnosis import advice
from lejepa_jax.report.drawing import printable
from lejepa_jax.report.facts import speed_facts
from lejepa_jax.report.metric import Metric
from lejepa_jax.report.tables import (
    cells_html,
    diagnostic_cells,
    error_cells,
    names_html,
    score_cells,
    single_diagnostics,
)

# Should markup ever get past the escapes, a browser runs and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CSS = """
:root { --ink: #1c1c1e; --soft: #5c5c63; --line: #d9d9de; --page: #fbfbfc; --card: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --soft: #a5a5ae; --line: #3a3a41; --page: #17171a; --card: #1f1f23; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.5rem 4rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2.4rem 0 .6rem; }
h1, h2, p, li { overflow-wrap: anywhere; }
p, figcaption { color: var(--soft); max-width: 60rem; margin: .3rem 0 .8rem; }
ul { max-width: 60rem; margin: .3rem 0 .8rem; padding-left: 1.2rem; }
figure { margin: 0; } figcaption { font-size: .9rem; margin-top: .5rem; }
/* Pictures are drawn on white and keep it in the dark. */
figure img { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: .6rem;
  max-width: 100%; height: auto; display: block; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--line);
  font-variant-numeric: tabular-nums; margin-bottom: .8rem; }
th, td { padding: .35rem .9rem; text-align: right; border-bottom: 1px solid var(--line);
  font-weight: normal; }
th:first-child { text-align: left; } thead th { color: var(--soft); }
tbody tr:last-child > * { border-bottom: 0; } td.best { font-weight: 650; }
table.apart tbody tr:last-child > * { border-top: 2px solid var(--line); color: var(--soft); }
table.names td { text-align: left; font-family: ui-monospace, monospace; font-size: .85rem;
  overflow-wrap: anywhere; }
table.names th { font-family: ui-monospace, monospace; font-size: .85rem; vertical-align: top; }
pre { background: var(--card); border: 1px solid var(--line); padding: .7rem .9rem; }
.scroll, pre { overflow-x: auto; }
"""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Metric],
    results: Results,
    facts: Mapping[str, str] | None = None,
    usage: str | None = None,
) -> Path:
    """Write the report of a run as one HTML file, readable without network or scripts.

    What there is not is left out: a run that logged a single step has no curves. It needs host
    arrays alone and is called by the first process.

    Args:
        path: File to write; it is replaced in one move, so that a reader never sees half of it.
        title: Heading.
        config: Configuration of the run, nested or flat.
        rows: Rows of `metrics.jsonl`.
        metrics: How the metrics of the task are shown, see :func:`plot_curves`.
        results: What the evaluators found. Its `details` may hold `confusion`, matrices by what
            was scored (rows are true classes), and `class_names`: then the errors of each class
            are shown.
        facts: What is worth knowing of the data, texts by name.
        usage: Lines of code that load the trained model.

    Returns:
        The path.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_report(folder + "/report.html", title="A run", config={"steps": 3},
        ...                         rows=[], metrics={}, results=Results())
        ...     "A run" in path.read_text()
        True
    """
    parts = [
        *_result_sections(results, rows),
        *_curve_sections(rows, metrics),
        *(_picture_section(picture) for picture in results.pictures),
    ]
    if usage:
        parts.append(_section("Use the model", f"<pre><code>{html.escape(usage)}</code></pre>"))
    tables = {
        "Data": dict(facts or {}),
        "Speed": speed_facts(rows),
        "Configuration": _flatten(config),
        "Versions": _versions(),
    }
    parts += [_section(name, names_html(values)) for name, values in tables.items() if values]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(_summary(rows, metrics))}</p>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(printable(page), encoding="utf-8")
    partial.replace(path)
    return path


def _summary(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric]) -> str:
    text = f"Written {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    if rows and rows[-1].get("step") is not None:
        last: dict[str, Any] = {}
        for row in rows:  # a row holds what was logged together, not all there is
            last |= row
        text += f" after step {last['step']}"
        names = ["loss", *(name for name, metric in metrics.items() if metric.progress)]
        values = [(name, last.get(name)) for name in dict.fromkeys(names)]
        shown = [f"{name} {value:.4g}" for name, value in values if isinstance(value, int | float)]
        if shown:
            text += ": " + ", ".join(shown)
    return text + "."


def _result_sections(results: Results, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = []
    if cells := score_cells(results.scores):
        body = cells_html(cells)
        if any(name.endswith("_std") for name in results.scores):
            body += "<p>± is the standard deviation over random draws.</p>"
        parts.append(_section("Results on held-out data", body))
    if said := advice(results, rows=rows):
        body = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in said)
        parts.append(_section("What this says, and what to try", f"<ul>{body}</ul>"))
    tables = []
    if cells := diagnostic_cells(results.diagnostics):
        tables.append(cells_html(cells))
    if single := single_diagnostics(results.diagnostics):
        tables.append(names_html(single))
    if tables:
        # Without labels these are the results.
        heading = "Diagnostics" if results.scores else "Results on held-out data, without labels"
        parts.append(_section(heading, "".join(tables)))
    confusion = results.details.get("confusion")
    if isinstance(confusion, Mapping):
        for what, matrix in confusion.items():
            if cells := error_cells(matrix, results.details.get("class_names")):
                parts.append(_section(f"Errors by class: {what}", cells_html(cells)))
    return parts


def _curve_sections(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric]) -> list[str]:
    panels = curve_panels(rows, metrics)
    if not panels:
        return []
    compared = [
        f"{metric.title}: {metric.reference_name} at {metric.reference:.3g}"
        for metric, _, _ in panels.values()
        if metric.reference is not None and metric.reference_name
    ]
    caption = f"Dashed, to compare with. {'; '.join(compared)}." if compared else ""
    return [
        _picture_section(Picture("Training", lambda: plot_curves(rows, metrics), caption, True))
    ]


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{body}\n</section>"


def _picture_section(picture: Picture) -> str:
    """Draw a picture; it is let go of before the next one is drawn."""
    import matplotlib

    figure, buffer = picture.draw(), io.BytesIO()
    with warnings.catch_warnings():
        # Names in a script that the font does not have are boxes, and no reason for a warning.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing")
        if picture.vector:
            # No date and a fixed salt: the same run writes the same bytes.
            with matplotlib.rc_context({"svg.hashsalt": "lejepa"}):
                figure.savefig(buffer, format="svg", metadata={"Date": None})
            kind = "svg+xml"
        else:
            figure.savefig(buffer, format="png", dpi=160)
            kind = "png"
    data = base64.b64encode(buffer.getvalue()).decode()
    width = round(96 * figure.get_figwidth())
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>" if picture.caption else ""
    return _section(
        picture.title,
        f'<figure><img src="data:image/{kind};base64,{data}" width="{width}" '
        f'alt="{html.escape(picture.title)}">{caption}</figure>',
    )


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("lejepa-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    devices = jax.devices()
    versions["devices"] = f"{len(devices)} x {devices[0].device_kind}"
    return versions
