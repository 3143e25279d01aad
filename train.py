"""Train a recipe on any number of devices: `python train.py RECIPE [--flags]`.

Read it from top to bottom: set-up, resume, loop, evaluation. Everything random is a function of the
seed and the step, so that a run that was stopped goes on as if it had not been: the same command
resumes it.
"""

import runpy
import sys
from pathlib import Path

# By its path: importing the package takes a second, which a new start would take twice.
if __name__ == "__main__":
    pages = Path(__file__).parent / "lejepa_jax" / "training" / "huge_pages.py"
    runpy.run_path(str(pages))["restart_with_huge_pages"]()

import contextlib
import functools
import json
import os
import shlex
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lejepa_jax.commands.table import COMMANDS, Program, list_commands, run_command
from lejepa_jax.data.batching import batches
from lejepa_jax.data.inspection import fingerprint
from lejepa_jax.data.records import TooManyBadRecords
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.results import Results, run_evaluators
from lejepa_jax.models.reuse.initialization import initialize_from
from lejepa_jax.models.storage.run_models import describe_kept, export_run, usage_lines
from lejepa_jax.report.facts import data_facts
from lejepa_jax.report.page import write_report
from lejepa_jax.report.tables import results_table
from lejepa_jax.training.boards.names import check_loggers
from lejepa_jax.training.checkpoints import Checkpoints
from lejepa_jax.training.command_line import parse, program_words
from lejepa_jax.training.console import Progress, make_console, silenced_libraries
from lejepa_jax.training.devices import (
    cache_compiled_programs,
    check_same_configuration,
    choose_devices,
    count_microbatches,
    describe_devices,
    describe_lost_process,
    initialize_distributed,
)
from lejepa_jax.training.distributed import agree_on_errors, compile_together
from lejepa_jax.training.errors import DataError, RunError
from lejepa_jax.training.inputs import load_data
from lejepa_jax.training.lock import lock_workdir
from lejepa_jax.training.log import Metrics, read_metrics
from lejepa_jax.training.monitor import Monitor
from lejepa_jax.training.optimizer import make_optimizer, warmup_steps
from lejepa_jax.training.parallel import ParallelStep, axis_name_of, parallelize
from lejepa_jax.training.recipe import Recipe, describe
from lejepa_jax.training.resume import check_resumable, continue_schedule
from lejepa_jax.training.runs import run_metadata
from lejepa_jax.training.signals import Stop
from lejepa_jax.training.step import TrainState, initial_state, trained_variables
from lejepa_jax.training.storage.files import write_atomically
from lejepa_jax.training.task import Task
from lejepa_jax.training.watch import Watch, rating_of, with_logged, with_views
from recipes import recipes

DEFAULT_RECIPE = "digits"
PROFILE_FROM = 10  # a trace begins after as many steps, with the first log line behind them


# --- set-up ---------------------------------------------------------------------------------------


class Run(NamedTuple):
    """A run that is ready to train."""

    name: str  # of the recipe
    recipe: Recipe
    config: dict[str, Any]  # the recipe as JSON holds it
    workdir: Path
    is_first: bool  # whether this process is the first, which alone prints and writes
    splits: Splits
    task: Task
    parallel: ParallelStep
    init: Callable[[], TrainState]  # makes the state of step 0
    state: TrainState  # to go on from
    data: Any  # iterator over batches, at the position that belongs to the state
    checkpoints: Checkpoints
    progress: Progress
    evaluation_key: jax.Array


def prepare(name: str, recipe: Recipe, command: str, held: contextlib.ExitStack) -> Run:
    """Make everything that a run needs, and go on from its newest checkpoint if there is one."""
    is_first = jax.process_index() == 0
    mesh = choose_devices(recipe)
    parts = count_microbatches(recipe, mesh)
    with agree_on_errors():
        splits = load_data(recipe)
    task = recipe.task.build(
        splits, dtype=jnp.dtype(recipe.precision), axis_name=axis_name_of(recipe)
    )
    best = rating_of(recipe, task)
    check_loggers(recipe.logger)
    check_same_configuration(describe(recipe), len(splits.train), len(splits.test))
    workdir = Path(recipe.workdir or f"runs/{name}")
    workdir.mkdir(parents=True, exist_ok=True)
    progress = Progress(make_console(quiet=not is_first), recipe.steps, task.metrics)
    with agree_on_errors():
        held.enter_context(lock_workdir(workdir, progress.warn))
    checkpoints = Checkpoints(workdir, progress.warn, best=best)
    before, data_print = checkpoints.configuration(), fingerprint(splits)
    recipe = continue_schedule(recipe, before, checkpoints.newest())
    check_resumable(recipe, data_print, workdir, before)

    # Resume. The order matters: make the state, so that its shapes and places are known; read the
    # checkpoint into it; move the data to the batch after the last one that was used.
    optimizer = make_optimizer(recipe, task.kinds, task.rate_factors)
    # One key for the weights, one for the steps, one for the evaluators.
    init_key, step_key, evaluation_key = jax.random.split(jax.random.key(recipe.seed), 3)
    make_state = functools.partial(initial_state, recipe, task, optimizer)
    like = jax.eval_shape(make_state, init_key)
    parallel = parallelize(recipe, mesh, task, optimizer, step_key, like, parts)
    init = functools.partial(jax.jit(make_state, out_shardings=parallel.shardings), init_key)
    state = init()
    data = batches(
        splits.train,
        batch_size=recipe.global_batch_size,
        seed=recipe.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    restored = checkpoints.restore(state._asdict())
    if restored is not None:
        state = TrainState(**restored[0])
        data.set_state(restored[1])
    elif recipe.init_from is not None:
        with agree_on_errors():
            state = initialize_from(recipe.init_from, task.kept, state, progress.say)

    config = describe(recipe) | {"fingerprint": data_print}
    if is_first:
        metadata = run_metadata(name, command, config, recipe.steps) | {"data": dict(splits.info)}
        metadata |= describe_kept(task.kept, recipe.precision)
        write_atomically(workdir / "run.json", json.dumps(metadata, indent=2))
    warmup = warmup_steps(recipe)
    progress.say(
        f"{name}: {len(splits.train):,} examples to train on, {len(splits.test):,} held out; "
        f"{describe_devices(mesh, recipe)}, {recipe.strategy}, {recipe.precision}; "
        + (f"resuming at step {int(state.step)}" if restored else f"{recipe.steps} steps")
        + ("" if warmup == recipe.warmup_steps else f", {warmup} of them warm-up")
        + f"; kept in {workdir}"
    )
    seen = name, recipe, config, workdir, is_first, splits, task, parallel
    return Run(*seen, init, state, data, checkpoints, progress, evaluation_key)


# --- loop -----------------------------------------------------------------------------------------


def fit(run: Run, stop: Stop) -> tuple[TrainState, bool]:
    """Train from the step of the state to the last one, or until asked to stop.

    Returns the state, and whether the write of the last checkpoint was begun.
    """
    recipe, state, first_step, begun = run.recipe, run.state, int(run.state.step), True
    shown = {"loggers": recipe.logger, "config": run.config}
    log = Metrics(run.workdir if run.is_first else None, first_step, run.progress.warn, **shown)
    params, newest = state.variables.params, run.checkpoints.newest
    rated_by, _ = rating_of(recipe, run.task)
    monitor = Monitor(recipe, params, first_step, log, run.progress, newest, rated_by)
    watch = Watch(recipe, run.task, run.evaluation_key, run.splits, run.parallel.shard_eval_batch)
    traced = range(first_step + PROFILE_FROM, first_step + PROFILE_FROM + recipe.profile)
    position = run.data.get_state()

    def save(step: int, state: TrainState) -> bool:
        monitor.settle(keep=0)  # so that a run that is lost saves nothing
        rated = monitor.rate()
        arguments = step, state._asdict(), position, run.config
        return run.checkpoints.save(*arguments, loss=rated["loss"], metrics=rated)

    with contextlib.closing(log), contextlib.ExitStack() as trace:
        # The order matters: the state of step s and the position in the data after s batches are
        # saved together, before the iterator moves on.
        for step in range(first_step + 1, recipe.steps + 1):
            if traced and step == traced[0]:
                jax.profiler.start_trace(str(run.workdir / "profile"))
                trace.callback(jax.profiler.stop_trace)
            asked = time.perf_counter()
            try:
                rows = next(run.data)
            except TooManyBadRecords as error:
                saved = step - 1 == first_step or save(step - 1, state)
                kept = f"step {step - 1} is saved" if saved else "the last checkpoint is kept"
                raise DataError(f"{error}; {kept}") from None
            batch, position = run.parallel.shard_batch(rows), run.data.get_state()
            monitor.waited += time.perf_counter() - asked
            if step == first_step + 1:
                monitor.compiled(compile_together(run.parallel.step, state, batch))
            with jax.transfer_guard("disallow"):
                state, values = run.parallel.step(state, batch)
            monitor.add(step, values)
            monitor.settle(keep=2)
            if traced and step == traced[-1]:
                jax.block_until_ready(values)
                trace.close()
            if watch.evaluates(step):
                monitor.watch(step, functools.partial(watch.measure, state))
            stopping = stop.asked(step)
            if stopping or watch.saves(step):
                begun = save(step, state)
            if stopping:
                break
    return state, begun


# --- evaluation -----------------------------------------------------------------------------------


def evaluate(run: Run, state: TrainState) -> Results:
    """Run every evaluator, in every process; the first one writes the results and the report."""
    # The untrained variables are made once more: keeping them would cost their memory.
    variables = {"encoder": trained_variables(state), "untrained": run.init().variables}
    key, shard_batch = run.evaluation_key, run.parallel.shard_eval_batch
    results = run_evaluators(run.task.evaluators, key, variables, run.splits, shard_batch)
    if not run.is_first:
        return results
    rows = read_metrics(run.workdir)
    results = with_logged(results, rows, run.task.metrics)
    write_atomically(run.workdir / "results.json", json.dumps(results.as_json(), indent=2))
    report = write_report(
        run.workdir / "report.html",
        title=f"{run.name} on {run.splits.name}",
        config=run.config,
        rows=rows,
        metrics=run.task.metrics,
        results=with_views(results, run.recipe, run.splits),
        facts=data_facts(run.splits),
        usage=usage_lines(run.task.kept, run.workdir),
    )
    run.progress.console.print(results_table(results))
    run.progress.say(f"report: {report}")
    return results


def main(arguments: list[str], given: tuple[str, Recipe] | None = None) -> int:
    """Run the program, or train a recipe that a command has made; returns the exit code."""
    command = shlex.join([*program_words(), *arguments])
    debug = bool(os.environ.get("LEJEPA_DEBUG"))
    with contextlib.ExitStack() as held:
        held.enter_context(silenced_libraries())
        try:
            if given is None and arguments and arguments[0] in COMMANDS:
                program = Program(recipes(), DEFAULT_RECIPE, make_console(), main)
                return run_command(arguments, program)
            name, recipe = given or parse(
                arguments, recipes(), default=DEFAULT_RECIPE, commands=list_commands()
            )
            debug = debug or recipe.debug
            cache_compiled_programs()
            initialize_distributed(recipe)
            run = prepare(name, recipe, command, held)
        except (ValueError, OSError) as error:
            if debug:
                raise
            print(f"error: {error}", file=sys.stderr)
            return 2
        try:
            with Stop(run.progress.say) as stop, run.progress.live(int(run.state.step)):
                state, written = fit(run, stop)
        except RunError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            print(f"error: {describe_lost_process(error)}", file=sys.stderr, flush=True)
            return 1
        finally:
            closed = run.checkpoints.close()
        written = written and closed
        if stop.signal is not None and int(state.step) < recipe.steps:
            if not written:
                return 1
            run.progress.say(f"stopped and saved at step {int(state.step)}; resume with: {command}")
            return 0 if stop.signal == signal.SIGTERM else 128 + stop.signal
        for record in run.splits.train.bad_records[:20]:
            run.progress.say(f"skipped {record.name}: {record.reason}")
        results = evaluate(run, state) if recipe.evaluate else None
        kept = export_run(run.task.kept, state, run.workdir, run.splits, results, run.progress)
        return 0 if written and kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
