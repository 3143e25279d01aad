"""Tables of what an evaluation found, for the terminal and for the page."""

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lejepa_jax.evaluation.results import Results
from lejepa_jax.report.drawing import class_name

if TYPE_CHECKING:
    from rich.table import Table

_TITLES = {
    "knn": "k-NN",
    "dense_miou": "dense mIoU",
    "rankme": "RankMe",
    "label_free_score": "label-free score",
    "effective_rank": "effective rank",
    "features_rankme": "RankMe of features",
    "features_alpha_req": "α-ReQ of features",
    "lidar": "LiDAR",
    "sigreg": "SIGReg",
    "sigreg_worst_slice": "SIGReg, worst slice",
    "sigreg_null": "SIGReg of N(0, I)",
    "sigreg_collapsed": "SIGReg of a single point",
    "std_smallest": "smallest std",
    "std_largest": "largest std",
}
# Classes that the table of errors shows, those with most errors first.
_MAX_CLASSES = 20


class Cells(NamedTuple):
    """A table as text.

    Attributes:
        head: Headings of the columns.
        rows: Cells of each row, its name first.
        best: Whether a cell is the best of its column.
        apart: Whether the last row is set apart from the others.
    """

    head: list[str]
    rows: list[list[str]]
    best: list[list[bool]]
    apart: bool = False


def results_table(results: Results, *, title: str | None = None) -> "Table":
    """Make the table of a run for the terminal.

    Accuracies in percent, a row for each thing that was scored. Without labels there are none: then
    the numbers that need no labels are shown, or a line says that nothing was measured.

    Args:
        results: What the evaluators found.
        title: Heading.

    Returns:
        A table to print with `rich`.

    Examples:
        >>> table = results_table(Results({"knn": {"encoder": 0.9, "pixels": 0.6}}))
        >>> [str(column.header) for column in table.columns], table.row_count
        (['accuracy, %', 'k-NN'], 2)
        >>> table = results_table(Results(diagnostics={"encoder": {"rankme": 30.25}}))
        >>> [str(column.header) for column in table.columns], table.row_count
        (['', 'RankMe'], 1)
    """
    from rich.table import Table
    from rich.text import Text

    cells = (
        score_cells(results.scores, lead=False)
        or diagnostic_cells(results.diagnostics)
        or _single_cells(results.diagnostics)
    )
    # As Text, in which brackets are brackets and no markup: names come from outside.
    table = Table(title=None if title is None else Text(title))
    for index, heading in enumerate(cells.head):
        table.add_column(Text(heading), justify="right" if index else "left")
    for row in cells.rows:
        table.add_row(*map(Text, row), style="bold" if row[0] == "encoder" else "")
    return table


def score_cells(scores: Mapping[str, Mapping[str, float]], *, lead: bool = True) -> Cells | None:
    """Lay scores out in percent, a row for each thing that was scored; None without scores.

    Args:
        scores: As in `Results`; a score `NAME_std` is shown beside `NAME`.
        lead: Whether the encoder's lead over the last row is a row of its own.

    Returns:
        The table.

    Examples:
        >>> score_cells({"knn": {"encoder": 0.9, "pixels": 0.6}}).rows
        [['encoder', '90.0'], ['pixels', '60.0'], ['encoder − pixels, points', '+30.0']]
    """
    names = [name for name in scores if not name.endswith("_std")]
    rows = list(dict.fromkeys(what for name in names for what in scores[name]))
    if not rows:
        return None
    cells, best = [], []
    for what in rows:
        cells.append([what, *(_percent(scores, name, what) for name in names)])
        largest = [max(scores[name].values(), default=None) for name in names]
        own = [scores[name].get(what) for name in names]
        best.append([False, *(o is not None and o == m for o, m in zip(own, largest, strict=True))])
    lead = lead and "encoder" in rows and len(rows) > 1
    if lead:
        raw = rows[-1]
        cells.append([f"encoder − {raw}, points", *(_gain(scores[name], raw) for name in names)])
        best.append([False] * len(cells[-1]))
    return Cells(["accuracy, %", *map(_title, names)], cells, best, lead)


def diagnostic_cells(diagnostics: Mapping[str, Any]) -> Cells | None:
    """Lay nested diagnostics out, a row each; None where none is nested.

    Args:
        diagnostics: As in `Results`.

    Returns:
        The table; see :func:`single_diagnostics` for the rest.

    Examples:
        >>> diagnostic_cells({"encoder": {"rankme": 30.254}, "sigreg_null": 1.05}).rows
        [['encoder', '30.25']]
    """
    nested = {name: values for name, values in diagnostics.items() if isinstance(values, Mapping)}
    columns = list(dict.fromkeys(column for values in nested.values() for column in values))
    if not columns:
        return None
    rows = [
        [_title(name), *(_number(values[c]) if c in values else "–" for c in columns)]
        for name, values in nested.items()
    ]
    return Cells(["", *map(_title, columns)], rows, [[False] * len(row) for row in rows])


def single_diagnostics(diagnostics: Mapping[str, Any]) -> dict[str, str]:
    """List the diagnostics that are single numbers; None is not known.

    Examples:
        >>> single_diagnostics({"encoder": {"rankme": 30.2}, "sigreg_null": 1.05})
        {'SIGReg of N(0, I)': '1.05'}
    """
    return {
        _title(name): _number(value)
        for name, value in diagnostics.items()
        if value is not None and not isinstance(value, Mapping)
    }


def _single_cells(diagnostics: Mapping[str, Any]) -> Cells:
    found = single_diagnostics(diagnostics)
    if not found:
        return Cells(["nothing was measured"], [], [])
    return Cells(list(found), [list(found.values())], [[False] * len(found)])


def error_cells(
    confusion: Sequence[Sequence[int]], class_names: Sequence[str] | None = None
) -> Cells | None:
    """Lay the errors of each class out, the class with the lowest accuracy first.

    Args:
        confusion: How often each true class (row) was called each class (column).
        class_names: Names of the classes.

    Returns:
        Accuracy of up to 20 classes that have examples, and what they are taken for most often;
        None where there is no example.

    Examples:
        >>> error_cells([[8, 0], [1, 3]], ["cat", "dog"]).rows
        [['dog', '4', '75.0', 'cat (1)'], ['cat', '8', '100.0', '–']]
    """
    matrix = np.asarray(confusion)
    counts = matrix.sum(1)
    present = np.flatnonzero(counts)
    if not len(present):
        return None
    accuracy = np.diag(matrix)[present] / counts[present]
    rows = []
    for c in present[np.argsort(accuracy, kind="stable")][:_MAX_CLASSES]:
        wrong = np.where(np.arange(len(matrix)) == c, 0, matrix[c])
        other = int(wrong.argmax())
        taken = f"{class_name(class_names, other)} ({wrong[other]})" if wrong[other] else "–"
        percent = f"{100 * matrix[c, c] / counts[c]:.1f}"
        rows.append([class_name(class_names, int(c)), str(counts[c]), percent, taken])
    head = ["class", "examples", "accuracy, %", "most often taken for"]
    return Cells(head, rows, [[False] * len(head) for _ in rows])


def _title(name: str) -> str:
    if name.startswith("few_shot_"):
        return f"{name.removeprefix('few_shot_')}-shot"
    return _TITLES.get(name, name)


def _percent(scores: Mapping[str, Mapping[str, float]], name: str, what: str) -> str:
    value = scores[name].get(what)
    if value is None:
        return "–"
    std = scores.get(f"{name}_std", {}).get(what)
    return f"{100 * value:.1f}" + (f" ± {100 * std:.1f}" if std is not None else "")


def _gain(values: Mapping[str, float], raw: str) -> str:
    if "encoder" not in values or raw not in values:
        return "–"
    return f"{100 * (values['encoder'] - values[raw]):+.1f}".replace("-", "−")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# --- HTML -----------------------------------------------------------------------------------------


def cells_html(cells: Cells) -> str:
    """Write a table as HTML, every text escaped.

    Examples:
        >>> cells_html(Cells(["", "a<b"], [["x", "1"]], [[False, True]]))[20:75]
        '<table><thead><tr><th></th><th>a&lt;b</th></tr></thead>'
    """
    head = "".join(f"<th>{html.escape(text)}</th>" for text in cells.head)
    table = '<table class="apart">' if cells.apart else "<table>"
    lines = []
    for row, best in zip(cells.rows, cells.best, strict=True):
        body = "".join(
            f"<td{_BEST if is_best else ''}>{html.escape(text)}</td>"
            for text, is_best in zip(row[1:], best[1:], strict=True)
        )
        lines.append(f'<tr><th scope="row">{html.escape(row[0])}</th>{body}</tr>')
    return (
        f'<div class="scroll">{table}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


_BEST = ' class="best"'


def names_html(values: Mapping[str, str]) -> str:
    """Write names and their texts as an HTML table of two columns, every text escaped.

    Examples:
        >>> names_html({"a": "<b>"})[48:97]
        '<tr><th scope="row">a</th><td>&lt;b&gt;</td></tr>'
    """
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(text)}</td></tr>'
        for name, text in values.items()
    )
    return f'<div class="scroll"><table class="names"><tbody>{rows}</tbody></table></div>'
