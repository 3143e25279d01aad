"""`ls [FOLDER]` and `show WORKDIR`: what runs there are, and all of one."""

from pathlib import Path

import rich.console

from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.runs import list_runs, runs_table


def show_runs(arguments: list[str], console: rich.console.Console) -> int:
    """List the runs below a folder, or show one.

    Args:
        arguments: `ls` and maybe a folder, or `show` and the folder of a run.
        console: Where to print.

    Returns:
        The exit code.

    Raises:
        UsageError: If there is no such folder, or it holds no runs.
    """
    command, *rest = arguments
    folder = Path(rest[0]) if rest else Path("runs")
    if len(rest) > 1 or (command == "show" and not rest) or not folder.is_dir():
        raise UsageError(f"{command} wants a folder that exists, got {' '.join(rest) or folder}")
    runs = list_runs(folder)
    if not runs:
        raise UsageError(f"{folder} holds no runs")
    if command == "ls":
        console.print(runs_table(runs))
        return 0
    for run in runs:
        console.print(runs_table([run]))
        console.print_json(data={**run.about, "results": run.results})
    return 0
