"""The folder of a run: what it logs, what it says of itself, and a list of many of them."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Metrics:
    """Rows of numbers, in `metrics.jsonl` and for TensorBoard.

    Args:
        workdir: Folder of the run; None to write nothing, as all processes but one do.
        first_step: Step the run goes on from: rows after it are about to be made again.
        warn: Called with a line when the disk takes no more; the run goes on without a log.
    """

    def __init__(self, workdir: Path | None, first_step: int, warn: Callable[[str], None]):
        from tensorboardX import SummaryWriter

        self.warn = warn
        self.file = self.board = None
        if workdir is None:
            return
        self.path = workdir / "metrics.jsonl"
        kept = [row for row in read_metrics(workdir) if row["step"] <= first_step]
        replacement = self.path.with_suffix(".new")
        replacement.write_text("".join(json.dumps(row) + "\n" for row in kept))
        replacement.replace(self.path)
        self.file = self.path.open("a", buffering=1)
        self.board = SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step)

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        if self.file is None or self.board is None:
            return
        try:
            self.file.write(json.dumps(row) + "\n")
            for name, value in row.items():
                if name != "step":
                    self.board.add_scalar(name, value, int(row["step"]))
        except OSError as error:
            self.warn(f"metrics could not be written: {error}")

    def close(self) -> None:
        """Flush and close both."""
        for file in (self.file, self.board):
            if file is not None:
                with contextlib.suppress(OSError):  # reported when it was written
                    file.close()


def read_metrics(workdir: Path) -> list[dict[str, float]]:
    """Read the rows of a run; the last line may be torn if the machine died.

    Args:
        workdir: Folder of the run.

    Returns:
        One dictionary a logged step; none without a log.

    Examples:
        >>> read_metrics(Path("/nowhere"))
        []
    """
    rows = []
    path = workdir / "metrics.jsonl"
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
    return rows


def differences(old: Any, new: Any, harmless: set[str], path: str = "") -> Iterator[str]:
    """Name what two configurations do not share.

    Args:
        old: A configuration, nested dictionaries.
        new: Another one.
        harmless: Fields that are left out, with a dot between levels.
        path: Where in the configuration they are.

    Yields:
        A line for each field that differs.

    Examples:
        >>> list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 4}, {"c"}))
        ['a.b was 1, is 3']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            inner = f"{path}.{name}".lstrip(".")
            if inner not in harmless:
                yield from differences(old.get(name), new.get(name), harmless, inner)
    elif old != new:
        yield f"{path} was {old}, is {new}"


def about(name: str, command: str, config: dict[str, Any], steps: int) -> dict[str, Any]:
    """Describe a run for a person who finds its folder.

    Args:
        name: Name of the recipe.
        command: What was typed.
        config: All that was configured.
        steps: Number of steps the run is to have.

    Returns:
        That, and versions, source, devices and machine.
    """
    return {
        "recipe": name,
        "command": command,
        "steps": steps,
        "config": config,
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
        "source": _source(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
    }


def _source() -> dict[str, Any] | None:
    """Commit of the source, if it is a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def speed(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Sum up how fast a run was.

    Args:
        rows: Logged rows.

    Returns:
        Median, 90th and 99th percentile of the seconds a step took (means between two rows, the
        first one left out, which holds the compilation), images a second at the median, the share
        of time that steps waited for data, seconds of compilation and bytes of a device at most, as
        far as they were logged.

    Examples:
        >>> rows = [{"seconds_per_step": s, "images_per_second": 1 / s} for s in (9, 1, 2, 2)]
        >>> speed(rows)["step_seconds_median"], speed(rows)["images_per_second"]
        (2.0, 0.5)
    """
    later = rows[1:] or rows
    seconds = [row["seconds_per_step"] for row in later if "seconds_per_step" in row]
    if not seconds:
        return {}
    median, high, highest = (float(x) for x in np.percentile(seconds, [50, 90, 99]))
    batches = [
        r["images_per_second"] * r["seconds_per_step"] for r in later if "seconds_per_step" in r
    ]
    found = {
        "step_seconds_median": median,
        "step_seconds_90": high,
        "step_seconds_99": highest,
        "images_per_second": float(np.median(batches)) / median,
    }
    for name, pick in (("data_wait", np.mean), ("compile_seconds", max), ("device_bytes", max)):
        values = [row[name] for row in rows if name in row]
        if values:
            found[name] = float(pick(values))
    return found


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """What one looks for in a list of runs."""

    workdir: Path
    recipe: str
    state: str
    step: int
    steps: int
    loss: float | None
    results: dict[str, Any]
    about: dict[str, Any]


def read_run(workdir: Path) -> RunSummary:
    """Read what a run has come to.

    Args:
        workdir: Folder of the run.

    Returns:
        Its summary. The state is `finished`, `trained` (all steps, no results) or `stopped`.

    Raises:
        ValueError: If the folder holds no run.
    """
    try:
        described = json.loads((workdir / "run.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{workdir} holds no run that can be read: {error}") from None
    rows, results = read_metrics(workdir), {}
    with contextlib.suppress(OSError, ValueError):
        results = json.loads((workdir / "results.json").read_text())
    last = rows[-1] if rows else {}
    step, steps = int(last.get("step", 0)), int(described.get("steps", 0))
    state = "stopped" if step < steps else "finished" if results else "trained"
    return RunSummary(
        workdir,
        str(described.get("recipe", "?")),
        state,
        step,
        steps,
        last.get("loss"),
        results,
        described,
    )


def list_runs(folder: Path) -> list[RunSummary]:
    """Find the runs below a folder, the newest last.

    Args:
        folder: Where to look, to any depth.

    Returns:
        Their summaries; what is no run is passed over.

    Examples:
        >>> list_runs(Path("/nowhere"))
        []
    """
    found = sorted(folder.rglob("run.json"), key=lambda path: path.stat().st_mtime)
    runs = []
    for path in found:
        with contextlib.suppress(ValueError):
            runs.append(read_run(path.parent))
    return runs


def runs_table(runs: Sequence[RunSummary]) -> "Table":
    """Lay runs out for the terminal, a line each, with the numbers of the encoder in percent."""
    from rich.table import Table

    table = Table()
    for name in ("run", "recipe", "state", "step", "loss", "results, %"):
        table.add_column(name, justify="right" if name in ("step", "loss") else "left")
    for run in runs:
        table.add_row(
            str(run.workdir),
            run.recipe,
            run.state,
            f"{run.step}/{run.steps}",
            "–" if run.loss is None else f"{run.loss:.4f}",
            "  ".join(f"{name} {100 * value:.1f}" for name, value in headlines(run.results)),
        )
    return table


def headlines(results: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Pick the first number of each result, which is that of what was trained."""
    picked = []
    for name, value in results.items():
        if name == "diagnostics" or name.endswith("_std"):
            continue
        first = next(iter(value.values()), None) if isinstance(value, Mapping) else value
        if isinstance(first, int | float):
            picked.append((name, float(first)))
    return picked
