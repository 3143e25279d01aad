"""How a logged number is shown: in the terminal, in the panels of the report, by the alarm."""

from typing import NamedTuple


class Metric(NamedTuple):
    """A quantity that a task logs, at every step or at every quick evaluation (`eval/...`).

    Attributes:
        title: Heading of its panel in the report.
        unit: Label of its axis.
        log_scale: Whether the axis is logarithmic.
        reference: A value to compare with, drawn as a dashed line; None for none.
        reference_name: What that value is, such as "N(0, I)".
        progress: Whether the line in the terminal shows it.
        warn_below: After warm-up, a value below this one is warned about; None for never.
        warning: What the warning says after the value, and what to do.
        higher_is_better: Which way it gets better; None where neither is. Checkpoints can be rated
            by those that say it (`--keep-best`).
        in_results: Whether its mean over the last tenth of a run is one of the results.
    """

    title: str
    unit: str = ""
    log_scale: bool = False
    reference: float | None = None
    reference_name: str = ""
    progress: bool = False
    warn_below: float | None = None
    warning: str = ""
    higher_is_better: bool | None = None
    in_results: bool = False
