"""`ls [FOLDER]` and `show WORKDIR`: what runs there are, and all that one says of itself."""

from pathlib import Path

from lejepa_jax.commands.table import Program
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.runs import list_runs, runs_table


def run(arguments: list[str], program: Program) -> int:
    """List the runs below a folder, or show one.

    Args:
        arguments: `ls` and maybe a folder, or `show` and the folder of a run.
        program: What runs the command.

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
        program.console.print(runs_table(runs))
        return 0
    for found in runs:
        program.console.print(runs_table([found]))
        program.console.print_json(data={**found.metadata, "results": found.results})
    return 0
