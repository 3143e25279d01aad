"""`sweep RECIPE [FLAGS with several values]`: runs side by side, chosen without labels."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lejepa_jax.commands.grid import Grid, combinations, read_grid, short_name
from lejepa_jax.commands.processes import Job, program_command, run_jobs, visible_gpus
from lejepa_jax.commands.ranking import (
    Outcome,
    judge,
    mean_numbers,
    order,
    rank_correlations,
    ranking_table,
)
from lejepa_jax.commands.table import Program
from lejepa_jax.training.command_line import parse
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.lock import lock_workdir
from lejepa_jax.training.runs import printable, read_run
from lejepa_jax.training.storage.files import read_regular, write_atomically


def run(arguments: list[str], program: Program) -> int:
    """Run a recipe with several values of some flags, and compare what they come to.

    Args:
        arguments: `sweep`, a recipe and its flags, some with several values; and of the sweep
            itself `--seeds N`, `--jobs N` and `--workdir FOLDER`.
        program: What runs the command.

    Returns:
        The exit code: 0, 1 if a run failed, 128 + the number of a signal other than SIGTERM.

    Raises:
        UsageError: If a combination of flags is wrong, or the folder holds another sweep.
    """
    named = len(arguments) > 1 and not arguments[1].startswith("-")
    recipe, rest = (arguments[1], arguments[2:]) if named else (program.default, arguments[1:])
    name, base = parse([recipe], program.recipes, default=program.default)
    grid = read_grid(rest, base)
    own = {flag: _take(grid, flag) for flag in ("--seeds", "--jobs", "--workdir")}
    seeds, jobs = (_count(flag, own[flag]) for flag in ("--seeds", "--jobs"))
    if seeds is not None:
        grid.varied["--seed"] = [str(seed) for seed in range(seeds)]
    if not grid.varied:
        raise UsageError(
            "sweep wants a flag with several values, such as --task.trade-off 0.01 0.1"
        )
    folder = Path(own["--workdir"] or f"runs/{name}-sweep")
    settings = combinations(grid.varied)
    runs = {short_name(values): values for values in settings}
    if len(runs) < len(settings):
        raise UsageError("sweep wants values whose names differ, since folders are called so")
    flags = {key: [*grid.fixed, *_typed(values)] for key, values in runs.items()}
    # What is wrong is said before anything is run.
    asked = [
        parse([recipe, *t], program.recipes, default=program.default)[1] for t in flags.values()
    ]
    if not all(one.evaluate for one in asked):
        raise UsageError("sweep compares results, and there are none with --no-evaluate")
    folder.mkdir(parents=True, exist_ok=True)
    with lock_workdir(folder, program.console.print):
        _check_same_sweep(folder, {"recipe": recipe, "flags": grid.fixed})
        waiting = [
            Job(key, [recipe, *typed, "--workdir", str(folder / key)], folder / f"{key}.log")
            for key, typed in flags.items()
            if not _is_finished(folder / key)
        ]
        return _run_and_compare(folder, runs, waiting, jobs or max(len(visible_gpus()), 1), program)


def _run_and_compare(
    folder: Path,
    runs: Mapping[str, Mapping[str, str]],
    waiting: list[Job],
    at_once: int,
    program: Program,
) -> int:
    say, codes = program.console.print, {}
    kept = len(runs) - len(waiting)
    at_once = max(min(at_once, len(waiting)), 1)
    say(
        f"{len(runs)} runs in {folder}, {at_once} at a time"
        + (f"; {kept} of them finished before" if kept else "")
    )

    def ended(job: Job, code: int) -> None:
        codes[job.name] = code
        what = "finished" if _is_finished(folder / job.name) else _last_line(job, code)
        say(f"{kept + len(codes)}/{len(runs)} {job.name}: {what}")

    number = run_jobs(waiting, program_command(), at_once=at_once, ended=ended)
    failures = {
        job.name: _last_line(job, codes[job.name]) if job.name in codes else "not started"
        for job in waiting
        if not _is_finished(folder / job.name)
    }
    outcomes = order(_judge_settings(folder, runs, failures))
    correlations = rank_correlations(outcomes)
    summary = {
        "settings": [
            {"name": o.name, "runs": len(o.runs), "trouble": o.trouble, **mean_numbers(o)}
            for o in outcomes
        ],
        "rank_correlations": correlations,
    }
    write_atomically(folder / "sweep_results.json", json.dumps(summary, indent=2))
    say(ranking_table(outcomes))
    for outcome in outcomes:
        if outcome.trouble:
            say(f"not to be chosen: {outcome.name}: {outcome.trouble}")
    if outcomes and not outcomes[0].trouble:
        say(f"chosen without labels: {outcomes[0].name}")
    for free, found in correlations.items():
        texts = ", ".join(f"{name} {value:+.2f}" for name, value in found.items())
        say(f"rank correlation of {free} with {texts}")
    if number is not None:
        say("stopped; the same command goes on with what is left")
        return 0 if number == 15 else 128 + number
    return 1 if failures else 0


def _judge_settings(
    folder: Path, runs: Mapping[str, Mapping[str, str]], failures: Mapping[str, str]
) -> list[Outcome]:
    """Gather the runs of each setting, which differ in their seed alone."""
    groups: dict[str, list[str]] = {}
    for key, values in runs.items():
        setting = short_name({flag: v for flag, v in values.items() if flag != "--seed"})
        groups.setdefault(setting if len(values) > 1 else key, []).append(key)
    return [
        judge(
            setting,
            [read_run(folder / key).results for key in keys if _is_finished(folder / key)],
            [failures[key] for key in keys if key in failures],
        )
        for setting, keys in groups.items()
    ]


def _is_finished(workdir: Path) -> bool:
    try:
        return read_run(workdir).state == "finished"
    except ValueError:
        return False


def _last_line(job: Job, code: int) -> str:
    """Say how a run ended that did not finish, by the last line it printed."""
    how = f"ended by signal {-code}" if code < 0 else f"exit code {code}" if code else "stopped"
    try:
        lines = job.output.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    errors = [line for line in lines[-5:] if line.startswith("error: ")]
    return printable(": ".join([how, *errors[-1:]]) if code > 0 else how)


def _typed(values: Mapping[str, str]) -> list[str]:
    return [f"{flag}={value}" for flag, value in values.items()]


def _take(grid: Grid, flag: str) -> str | None:
    """Take a flag of the sweep itself out of those of its runs."""
    if flag in grid.varied:
        raise UsageError(f"{flag} of a sweep is one value, got {' '.join(grid.varied[flag])}")
    if flag not in grid.fixed:
        return None
    at = grid.fixed.index(flag)
    value = grid.fixed[at + 1] if at + 1 < len(grid.fixed) else ""
    del grid.fixed[at : at + 2]
    if not value or value.startswith("--"):
        raise UsageError(f"{flag} wants a value")
    return value


def _count(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{flag} must be at least 1, got {text}")
    return int(text)


def _check_same_sweep(folder: Path, asked: dict[str, Any]) -> None:
    """Refuse to mix runs of other flags; more values of the same ones are no other sweep."""
    path = folder / "sweep.json"
    if not path.exists():
        write_atomically(path, json.dumps(asked, indent=2))
        return
    try:
        before = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        before = None
    if before != asked:
        was = f"{before.get('recipe')} {before.get('flags')}" if isinstance(before, dict) else "?"
        raise UsageError(
            f"{folder} holds a sweep of {printable(was)}, not of {asked['recipe']} "
            f"{asked['flags']}; choose another --workdir"
        )
