"""What a run prints: a live line in a terminal, plain lines in a file, one line an error."""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator, Mapping

import rich.console
import rich.progress

from lejepa_jax.evaluation.quick import PREFIX
from lejepa_jax.report.metric import Metric


def make_console(*, quiet: bool = False) -> rich.console.Console:
    """Make a console that takes nothing for markup: names of files come from outside."""
    return rich.console.Console(
        soft_wrap=True, markup=False, emoji=False, highlight=False, quiet=quiet
    )


@contextlib.contextmanager
def silenced_libraries() -> Iterator[None]:
    """Let orbax print no traces of failed writes: each is reported in a line where it is caught."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    before = sys.unraisablehook

    def report(found: "sys.UnraisableHookArgs") -> None:
        # A write that failed closes its event loop, and the writes beside it still answer to that.
        if repr(found.exc_value) != "RuntimeError('Event loop is closed')":
            before(found)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before


class Progress:
    """A live line in a terminal, plain lines in a file.

    Args:
        console: Where to print.
        steps: Number of steps of the run.
        metrics: What the task logs.
    """

    def __init__(
        self, console: rich.console.Console, steps: int, metrics: Mapping[str, Metric] | None = None
    ):
        self.console = console
        self.steps = steps
        self.metrics = {} if metrics is None else metrics
        self.warned: set[str] = set()
        self.bar = None

    @contextlib.contextmanager
    def live(self, first_step: int) -> Iterator[None]:
        """Show a line that moves, if there is a terminal; errors of threads get a line, too."""

        def warn_of_thread(failed: threading.ExceptHookArgs) -> None:
            name = failed.thread.name if failed.thread else "a thread"
            self.warn(f"{name} ended: {failed.exc_value}", once=name)

        before, threading.excepthook = threading.excepthook, warn_of_thread
        try:
            with self._bar(first_step):
                yield
        finally:
            threading.excepthook = before

    @contextlib.contextmanager
    def _bar(self, first_step: int) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            return
        self.bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.completed}/{task.total}"),
            rich.progress.BarColumn(bar_width=20),
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(),
            console=self.console,
        )
        self.line = self.bar.add_task("compiling", total=self.steps, completed=first_step)
        with self.bar:
            yield

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text)

    def warn(self, text: str, once: str | None = None) -> None:
        """Print a warning; with a subject, the first one about it alone."""
        if once is None or once not in self.warned:
            self.warned.update([once] if once else [])
            self.console.print(f"warning: {text}")

    def show(self, row: Mapping[str, float]) -> None:
        """Show the newest row of metrics."""
        shown = ["loss", *(name for name, metric in self.metrics.items() if metric.progress)]
        parts = [f"{name} {row[name]:.4f}" for name in shown if name in row]
        parts.append(f"{row['examples_per_second']:,.0f} examples/s")
        text = "  ".join(parts)
        if self.bar is not None:
            self.bar.update(self.line, completed=int(row["step"]), description=text)
            return
        left = (self.steps - row["step"]) * row["seconds_per_step"]
        self.console.print(f"step {int(row['step'])}/{self.steps}  {text}  {duration(left)} left")

    def show_evaluation(self, row: Mapping[str, float]) -> None:
        """Print what a quick evaluation found."""
        shown = [name for name, metric in self.metrics.items() if metric.progress and name in row]
        parts = [f"{name.removeprefix(PREFIX)} {row[name]:.4g}" for name in shown]
        self.console.print(f"step {int(row['step'])}/{self.steps}  held out: {'  '.join(parts)}")

    def alarm(self, row: Mapping[str, float]) -> None:
        """Warn, once each, of metrics that are below what their task calls sound."""
        for name, metric in self.metrics.items():
            low = metric.warn_below
            if low is not None and name in row and row[name] < low:
                self.warn(
                    f"{name} is {row[name]:.2g} at step {int(row['step'])}: {metric.warning}",
                    once=name,
                )


def duration(seconds: float) -> str:
    """Say a time as a person does.

    Args:
        seconds: How long.

    Returns:
        Seconds, minutes or hours.

    Examples:
        >>> duration(41.3), duration(400), duration(10_000)
        ('41 s', '6 min 40 s', '2 h 46 min')
    """
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
