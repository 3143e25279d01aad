"""The folder of a run: what it says of itself, and a list of many of them."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from lejepa_jax.training.log import Metrics as Metrics
from lejepa_jax.training.log import is_count, is_number, read_metrics
from lejepa_jax.training.storage.damage import Folders, steps_on_disk
from lejepa_jax.training.storage.files import describe_error, read_regular

if TYPE_CHECKING:
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
_SHORTEST_PATH = 20


def differences(
    old: Any,
    new: Any,
    resumable: Collection[str],
    path: str = "",
    *,
    defaults: Any = None,
) -> Iterator[str]:
    """Name what two configurations do not share.

    Args:
        old: A configuration, nested dictionaries.
        new: Another one.
        resumable: Fields that may differ, with a dot between levels.
        path: Where in the configuration they are.
        defaults: Default values, nested like `new`. A field that `old` lacks, since it was added
            later, is the same if `new` has its default.

    Yields:
        A line for each field that differs.

    Examples:
        >>> list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 4}, {"c"}))
        ['a.b was 1, is 3']
        >>> list(differences({}, {"a": 1, "b": 2}, (), defaults={"a": 1, "b": 0}))
        ['b was None, is 2']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            inner = f"{path}.{name}".lstrip(".")
            has_default = isinstance(defaults, dict) and name in defaults
            default = defaults[name] if has_default else None
            added = name not in old and has_default and new.get(name) == default
            if inner not in resumable and not added:
                yield from differences(
                    old.get(name), new.get(name), resumable, inner, defaults=default
                )
    elif _are_dictionaries(old) and _are_dictionaries(new) and len(old) == len(new):
        usual = defaults if _are_dictionaries(defaults) else []
        usual = [*usual, *[None] * len(new)]
        for number, pair in enumerate(zip(old, new, strict=True)):
            inner = f"{path}[{number}]"
            yield from differences(*pair, resumable, inner, defaults=usual[number])
    elif old != new:
        yield f"{path} was {old}, is {new}"


def _are_dictionaries(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(inner, dict) for inner in value)


def run_metadata(name: str, command: str, config: dict[str, Any], steps: int) -> dict[str, Any]:
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


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """What one looks for in a list of runs.

    All text in it has been made printable (`printable`).

    Attributes:
        workdir: Folder of the run.
        recipe: Name of its recipe.
        state: `finished`, `trained` (all steps, no results of the last one) or `stopped`.
        step: Last step that was logged or saved.
        steps: Number of steps it is to have.
        loss: Last one that was logged.
        results: Those of the last step.
        metadata: What `run_metadata` said.
    """

    workdir: Path
    recipe: str
    state: str
    step: int
    steps: int
    loss: float | None
    results: dict[str, Any]
    metadata: dict[str, Any]


def read_run(workdir: Path) -> RunSummary:
    """Read what a run has come to.

    Args:
        workdir: Folder of the run.

    Returns:
        Its summary, as far as its files can be read.

    Raises:
        ValueError: If the folder holds no run.
    """
    try:
        metadata = _read_dictionary(workdir / "run.json")
    except (OSError, ValueError) as error:
        reason = describe_error(error)
        raise ValueError(f"{workdir} holds no run that can be read: {reason}") from None
    rows = read_metrics(workdir)
    last = rows[-1] if rows else {}
    saved = _newest_checkpoint(workdir)
    step = max(int(last.get("step", 0)), saved or 0)
    steps = int(metadata["steps"]) if is_count(metadata.get("steps")) else 0
    results = {}
    with contextlib.suppress(OSError, ValueError):
        results = _read_dictionary(workdir / "results.json")
        if not _are_of(results, step, saved, workdir):
            results = {}
    return RunSummary(
        workdir,
        str(metadata.get("recipe", "?")),
        "stopped" if step < steps else "finished" if results else "trained",
        step,
        steps,
        next((row["loss"] for row in reversed(rows) if "loss" in row), None),
        results,
        metadata,
    )


def _newest_checkpoint(workdir: Path) -> int | None:
    folders = Folders(workdir / "checkpoints", workdir / "checksums", workdir / "damaged")
    try:
        return next(iter(steps_on_disk(folders)), None)
    except OSError:
        return None


def _are_of(results: dict[str, Any], step: int, saved: int | None, workdir: Path) -> bool:
    """Whether results are those of a step: they say so, or are younger than its checkpoint."""
    if "step" in results:
        return results["step"] == step
    if saved is None:
        return True
    checkpoint = workdir / "checkpoints" / str(saved) / "_CHECKPOINT_METADATA"
    with contextlib.suppress(OSError):
        return (workdir / "results.json").stat().st_mtime >= checkpoint.stat().st_mtime
    return True


def _read_dictionary(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a dictionary; the text in it becomes printable."""
    try:
        found = _printable_inside(json.loads(read_regular(path)))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} must hold a dictionary, got {type(found).__name__}")
    return found


def _printable_inside(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(str(name)): _printable_inside(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_printable_inside(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value


def printable(text: str) -> str:
    r"""Replace what would act on a terminal in place of being shown.

    Args:
        text: From a file, or a name of one.

    Returns:
        Text without control characters, marks of direction and undecodable bytes.

    Examples:
        >>> printable("a\x1b[2Jb") == "a\ufffd[2Jb"
        True
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


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
    found = []
    for parent, _, files in os.walk(folder):
        if "run.json" in files:
            path = Path(parent) / "run.json"
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime, path))
    runs = []
    for _, path in sorted(found):
        with contextlib.suppress(ValueError):
            runs.append(read_run(path.parent))
    return runs


class _Path:
    """A path in a table: where there is no room, its end is shown, which tells runs apart."""

    def __init__(self, path: Path):
        self.text = printable(str(path))

    def __rich_measure__(self, console: Any, options: Any) -> "Measurement":
        from rich.cells import cell_len
        from rich.measure import Measurement

        del console, options
        length = cell_len(self.text)
        return Measurement(min(length, _SHORTEST_PATH), length)

    def __rich_console__(self, console: Any, options: Any) -> Iterator["Text"]:
        from rich.cells import cell_len
        from rich.text import Text

        del console
        shown = self.text
        if cell_len(shown) > options.max_width:
            while shown and cell_len(shown) > options.max_width - 1:
                shown = shown[1:]
            shown = "…" + shown
        yield Text(shown, no_wrap=True)


def runs_table(runs: Sequence[RunSummary]) -> "Table":
    """Lay runs out for the terminal, a line each, with the numbers of the encoder.

    Accuracies are in percent. A run without any shows what needs no labels: the label-free score,
    RankMe and held-out SIGReg.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in ("run", "recipe", "state", "step", "loss", "results"):
        table.add_column(name, justify="right" if name in ("step", "loss") else "left")
    for run in runs:
        accuracies = [f"{name} {100 * value:.1f}" for name, value in headlines(run.results)]
        free = [f"{name} {value:.4g}" for name, value in label_free(run.results).items()]
        results = "  ".join(accuracies or free)
        # Text has no markup in it, whatever it looks like.
        table.add_row(
            _Path(run.workdir),
            Text(run.recipe),
            run.state,
            f"{run.step}/{run.steps}",
            "–" if run.loss is None else f"{run.loss:.4f}",
            Text(results),
        )
    return table


def headlines(results: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Pick the first number of each result, which is that of what was trained."""
    picked = []
    for name, value in results.items():
        if name in ("diagnostics", "step") or name.endswith("_std"):
            continue
        first = next(iter(value.values()), None) if isinstance(value, Mapping) else value
        if is_number(first):
            picked.append((name, float(first)))
    return picked


def label_free(results: Mapping[str, Any]) -> dict[str, float]:
    """Pick what the results say of the embeddings without labels.

    Args:
        results: As `results.json` holds them.

    Returns:
        `label_free_score`, `rankme` and `sigreg` of the encoder, as far as they are there.

    Examples:
        >>> label_free({"diagnostics": {"encoder": {"rankme": 7.0, "isotropy": 1.5}}})
        {'rankme': 7.0}
    """
    found = results.get("diagnostics")
    encoder = found.get("encoder") if isinstance(found, Mapping) else None
    if not isinstance(encoder, Mapping):
        return {}
    names = ("label_free_score", "rankme", "sigreg")
    return {name: float(encoder[name]) for name in names if is_number(encoder.get(name))}
