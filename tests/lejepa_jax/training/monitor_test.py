"""What the monitor says of a run in its first steps."""

import dataclasses
import io

import jax.numpy as jnp
import pytest
from rich.console import Console

from lejepa_jax.training import monitor as monitor_module
from lejepa_jax.training.console import Progress
from lejepa_jax.training.log import Metrics
from lejepa_jax.training.monitor import Monitor
from tests.program import tiny_run


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [0.0]
    monkeypatch.setattr(monitor_module.time, "perf_counter", lambda: now[0])
    return now


def said_in_the_first_steps(clock, seconds_per_step):
    recipe = dataclasses.replace(tiny_run.RECIPE, steps=10_000, log_every=1000)
    console = Console(file=io.StringIO(), width=1000)
    params = {"w": jnp.ones(1)}
    progress = Progress(console, recipe.steps)
    monitor = Monitor(recipe, params, 0, Metrics(None, 0, progress.warn), progress, lambda: None)
    for step in range(1, 12):
        clock[0] += seconds_per_step
        fine = {"finite_gradients": jnp.ones(1, bool), "skipped": jnp.zeros((), bool)}
        monitor.add(step, {"loss": jnp.ones(()), **fine})
        monitor.settle(keep=0)
    return console.file.getvalue()


@pytest.mark.parametrize(("seconds", "warned"), [(1, False), (17, False), (18, True)])
def test_more_than_two_days_on_a_cpu_are_warned_of_once(clock, seconds, warned):
    said = said_in_the_first_steps(clock, seconds)
    assert "for the 9990 steps left" in said
    assert said.count("more than two days") == warned


class Program:
    """A compiled step that needs a petabyte."""

    def memory_analysis(self):
        return type(
            "Stats",
            (),
            {"temp_size_in_bytes": 10**15, "output_size_in_bytes": 0, "alias_size_in_bytes": 0},
        )


def test_a_step_that_does_not_fit_is_warned_of_before_it_runs():
    recipe, console = tiny_run.RECIPE, Console(file=io.StringIO(), width=1000)
    progress = Progress(console, recipe.steps)
    metrics = Metrics(None, 0, progress.warn)
    monitor = Monitor(recipe, {"w": jnp.ones(1)}, 0, metrics, progress, lambda: None)
    monitor.compiled(Program())
    assert "warning: a step needs 1000000.0 GB of memory on a device" in console.file.getvalue()
