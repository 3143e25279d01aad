"""The runs of a sweep side by side: collapsed ones apart, the others by their label-free score."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lejepa_jax.report.diagnosis import describe_collapse
from lejepa_jax.training.log import is_number
from lejepa_jax.training.runs import headlines, printable

if TYPE_CHECKING:
    from rich.table import Table

# Fewer runs have no rank correlation worth a line.
_FEWEST = 3
# Label-free numbers and their titles; and how many accuracies have room beside them.
_FREE = {
    "label_free_score": "score",
    "rankme": "RankMe",
    "sigreg": "SIGReg",
    "std_smallest": "std",
}
_ACCURACIES = 3


class Outcome(NamedTuple):
    """What a setting has come to, over its seeds.

    Attributes:
        name: The setting.
        runs: Results of each finished run, as `results.json` holds them.
        trouble: Why it is ranked behind the others: collapsed or failed; empty if it is not.
    """

    name: str
    runs: list[Mapping[str, Any]]
    trouble: str = ""


def judge(name: str, runs: Sequence[Mapping[str, Any]], failures: Sequence[str]) -> Outcome:
    """Say whether a setting can be chosen: nothing failed, and no run has collapsed.

    Args:
        name: The setting.
        runs: Results of its finished runs.
        failures: What happened to the others.

    Returns:
        The outcome.
    """
    collapsed = [reason for run in runs if (reason := describe_collapse(run.get("diagnostics")))]
    trouble = "; ".join(dict.fromkeys([*failures, *collapsed[:1]]))
    if collapsed and len(runs) > 1:
        trouble += f" ({len(collapsed)} of {len(runs)} runs)"
    return Outcome(name, list(runs), trouble)


def numbers(run: Mapping[str, Any]) -> dict[str, float]:
    """List what is compared of a run: label-free numbers, then the accuracies in percent.

    Args:
        run: Its results.

    Returns:
        Numbers by name.

    Examples:
        >>> numbers({"knn": {"encoder": 0.5}, "diagnostics": {"encoder": {"rankme": 7.0}}})
        {'rankme': 7.0, 'knn': 50.0}
    """
    diagnostics = run.get("diagnostics")
    encoder = diagnostics.get("encoder") if isinstance(diagnostics, Mapping) else None
    found = {}
    for name in _FREE:
        value = encoder.get(name) if isinstance(encoder, Mapping) else None
        if is_number(value):
            found[name] = float(value)
    return found | {name: 100 * value for name, value in headlines(run)}


def order(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Sort settings: by the label-free score, the lowest first; those in trouble last.

    Where there is no such score, by the first accuracy, the highest first.

    Args:
        outcomes: The settings.

    Returns:
        Them, the one to choose first.
    """

    def place(outcome: Outcome) -> tuple[bool, float]:
        mean = mean_numbers(outcome)
        score = mean.get("label_free_score")
        if score is None:
            rest = [value for name, value in mean.items() if name not in _FREE]
            score = -rest[0] if rest else math.inf
        return bool(outcome.trouble), score if math.isfinite(score) else math.inf

    return sorted(outcomes, key=place)


def mean_numbers(outcome: Outcome) -> dict[str, float]:
    """Return the means over the seeds of what all of them have."""
    every = [numbers(run) for run in outcome.runs]
    shared = [name for name in every[0] if all(name in one for one in every)] if every else []
    return {name: statistics.fmean(one[name] for one in every) for name in shared}


def rank_correlations(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    r"""Rank correlations of label-free numbers with accuracies, over the runs that can be chosen.

    Spearman's :math:`\rho`, with the sign turned where lower is better: 1 means that the label-free
    number orders the runs as the accuracy does.

    Args:
        outcomes: The settings.

    Returns:
        By label-free number, then by accuracy; nothing of fewer than three runs.
    """
    from scipy.stats import spearmanr

    runs = [numbers(run) for outcome in outcomes if not outcome.trouble for run in outcome.runs]
    found: dict[str, dict[str, float]] = {}
    for free, sign in (("label_free_score", -1), ("sigreg", -1), ("rankme", 1)):
        for name in runs[0] if len(runs) >= _FEWEST else ():
            both = [(sign * run[free], run[name]) for run in runs if free in run and name in run]
            x, y = zip(*both, strict=True) if both else ((), ())
            if name in _FREE or len(set(x)) < 2 or len(set(y)) < 2:
                continue
            if len(both) >= _FEWEST:
                found.setdefault(free, {})[name] = float(spearmanr(x, y)[0])  # pyright: ignore
    return found


def ranking_table(outcomes: Sequence[Outcome]) -> "Table":
    """Lay the settings out for the terminal, the one to choose first.

    Args:
        outcomes: The settings, sorted by `order`.

    Returns:
        A table to print with `rich`: means over the seeds of the label-free score, RankMe, held-out
        SIGReg, the smallest standard deviation of an axis and the first accuracies in percent.
    """
    from rich.table import Table
    from rich.text import Text

    means = [mean_numbers(outcome) for outcome in outcomes]
    found = list(dict.fromkeys(name for mean in means for name in mean))
    free = [name for name in found if name in _FREE]
    columns = free + [name for name in found if name not in _FREE][:_ACCURACIES]
    table = Table()
    table.add_column("setting")
    for name in columns:
        table.add_column(Text(printable(_FREE.get(name, name + " %"))), justify="right")
    for place, (outcome, mean) in enumerate(zip(outcomes, means, strict=True)):
        cells = [f"{mean[name]:.4g}" if name in mean else "–" for name in columns]
        style = "bold" if place == 0 and not outcome.trouble else "dim" if outcome.trouble else ""
        table.add_row(*(Text(printable(text)) for text in (outcome.name, *cells)), style=style)
    return table
