"""Finished steps are looked at a little later, so that devices never wait for the host."""

import collections
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from lejepa_jax.training.console import Progress, duration
from lejepa_jax.training.devices import peak_device_bytes
from lejepa_jax.training.errors import NonFiniteLossError
from lejepa_jax.training.log import Metrics
from lejepa_jax.training.memory import describe_memory, step_memory
from lejepa_jax.training.optimizer import warmup_steps
from lejepa_jax.training.recipe import Recipe

# After so many steps the time of all of them is worth saying.
_STEPS_TO_ESTIMATE = 10
# Seconds of training on a CPU that nobody would wait for.
_LONG = 2 * 24 * 3600
_TOO_LONG = (
    "that is more than two days: this recipe is for an accelerator. On a CPU, fewer --steps, "
    "smaller views (--task.image-size) and a smaller encoder (--task.encoder vit-Ti or resnet18) "
    "take less; folder-small, digits, cifar10-small and cifar10-vit are sized for two cores"
)


class Monitor:
    """Logs the metrics of steps, counts those that were skipped, and stops a run that is lost.

    Args:
        recipe: The run.
        params: Its parameters, or the shapes of them.
        first_step: Step the run goes on from.
        log: Where rows of metrics go.
        progress: Where a person sees them.
        newest: Gives the step of the newest checkpoint.
        rated_by: Name of the metric by which the best checkpoint is chosen.
    """

    def __init__(
        self,
        recipe: Recipe,
        params: PyTree,
        first_step: int,
        log: Metrics,
        progress: Progress,
        newest: Callable[[], int | None],
        rated_by: str = "loss",
    ):
        self.recipe, self.log, self.progress, self.newest = recipe, log, progress, newest
        paths = jax.tree_util.tree_leaves_with_path(params)
        self.names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]
        self.pending: collections.deque[tuple[int, dict[str, jax.Array]]] = collections.deque()
        self.rated_by = rated_by
        self.since_save: dict[str, list[float]] = {"loss": [], rated_by: []}
        self.last: dict[str, float] = {}
        self.skipped = self.skipped_in_a_row = 0
        self.first_step = self.since_step = first_step
        self.began = self.since = self.second = time.perf_counter()
        self.waited = 0.0
        self.compile_seconds = 0.0

    def compiled(self, program: Any) -> None:
        """Take the compiled step, before its first call: how long it took, and whether it fits.

        Args:
            program: The compiled step.
        """
        self.compile_seconds = time.perf_counter() - self.began
        memory = step_memory(program)
        if memory is not None and (text := describe_memory(memory)):
            self.progress.warn(text)

    def add(self, step: int, values: dict[str, jax.Array]) -> None:
        """Take the metrics of a step, which may still be computed."""
        self.pending.append((step, values))

    def settle(self, keep: int) -> None:
        """Look at all steps but the newest `keep`.

        Raises:
            NonFiniteLossError: If too many in a row were skipped.
        """
        while len(self.pending) > keep:
            step, values = self.pending.popleft()
            finite = np.asarray(values.pop("finite_gradients"))
            skipped = bool(values.pop("skipped"))
            row = {name: float(value) for name, value in values.items()}
            if skipped:
                self._skip(step, row, finite)
            else:
                self.skipped_in_a_row = 0
                for name, values in self.since_save.items():
                    values.extend([row[name]] if name in row else [])
                self.last = {"step": step, **row}
            self._estimate(step)
            if step % self.recipe.log_every == 0 or step == self.recipe.steps:
                self._write(step, {} if skipped else row)

    def watch(self, step: int, measure: Callable[[], Mapping[str, float]]) -> None:
        """Log what a quick evaluation after a step finds; its time is no part of the speed."""
        self.settle(keep=0)
        began = time.perf_counter()
        found = measure()
        seconds = time.perf_counter() - began
        self.since, self.second = self.since + seconds, self.second + seconds
        row = {"step": step, **found, "eval/seconds": seconds}
        # A value of this very step: those of the steps since the last checkpoint do not count.
        self.since_save |= {name: [found[name]] for name in (self.rated_by,) if name in found}
        self.log.write(row)
        self.progress.show_evaluation(row)
        if step > warmup_steps(self.recipe):
            self.progress.alarm(row)

    def rate(self) -> dict[str, float]:
        """Return means since the last call, by which a checkpoint is rated; Inf without a value."""
        means = {
            name: sum(values) / len(values) if values else math.inf
            for name, values in self.since_save.items()
        }
        self.since_save = {name: [] for name in means}
        return means

    def _skip(self, step: int, row: Mapping[str, float], finite: np.ndarray) -> None:
        self.skipped, self.skipped_in_a_row = self.skipped + 1, self.skipped_in_a_row + 1
        what = diagnose(row, finite, self.names)
        self.progress.warn(f"step {step} is skipped: {what}", once="skipped")
        if self.skipped_in_a_row > self.recipe.max_skipped_steps:
            newest = self.newest()
            kept = "there is no checkpoint yet" if newest is None else f"step {newest} is kept"
            raise NonFiniteLossError(
                f"{what} at step {step}, the last of {self.skipped_in_a_row} steps without a "
                f"finite gradient and update; last finite metrics: "
                f"{json.dumps(self.last) if self.last else 'none'}; {kept}; nothing was "
                "overwritten"
            )

    def _estimate(self, step: int) -> None:
        """Say how long the first step took, and soon how long all will."""
        done, now = step - self.first_step, time.perf_counter()
        if done == 1:
            self.second = now
            self.progress.say(f"first step after {duration(now - self.began)}, compiling included")
        elif done == _STEPS_TO_ESTIMATE:
            left = (now - self.second) / (done - 1) * (self.recipe.steps - step)
            self.progress.say(
                f"about {duration(left)} for the {self.recipe.steps - step} steps left"
            )
            if left > _LONG and jax.default_backend() == "cpu":
                self.progress.warn(_TOO_LONG)

    def _write(self, step: int, row: Mapping[str, float]) -> None:
        seconds = time.perf_counter() - self.since
        done = max(step - self.since_step, 1)
        whole: dict[str, Any] = {
            "step": step,
            **row,
            "examples_per_second": self.recipe.global_batch_size * done / seconds,
            "seconds_per_step": seconds / done,
            "data_wait": self.waited / seconds,
            "skipped_steps": self.skipped,
            "compile_seconds": self.compile_seconds,
            **peak_device_bytes(),
        }
        self.since, self.since_step, self.waited = time.perf_counter(), step, 0.0
        self.log.write(whole)
        self.progress.show(whole)
        if step > warmup_steps(self.recipe):
            self.progress.alarm(whole)


def diagnose(row: Mapping[str, float], finite: np.ndarray, names: list[str]) -> str:
    """Say which terms and which layers are not finite.

    Args:
        row: Metrics of a step.
        finite: For each parameter, whether its gradient is finite.
        names: Names of the parameters.

    Returns:
        One line.

    Examples:
        >>> diagnose({"loss": math.nan}, np.array([True, False]), ["a", "b"])
        'loss is nan; no finite gradient in 1 of 2 arrays (b)'
        >>> diagnose({"loss": 1.0}, np.array([True, True]), ["a", "b"])
        'the updated weights or moments are not finite'
    """
    terms = [f"{name} is {value}" for name, value in row.items() if not math.isfinite(value)]
    terms = [term for term in terms if not term.startswith("gradient_norm")]
    bad = [name for name, good in zip(names, finite, strict=True) if not good]
    if not bad and not terms:
        return "the updated weights or moments are not finite"
    where = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
    layers = f"no finite gradient in {len(bad)} of {len(names)} arrays" + (
        f" ({where})" if bad else ""
    )
    return "; ".join([*sorted(terms, key=lambda t: not t.startswith("loss")), layers])
