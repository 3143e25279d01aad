"""The commands beside training: `ls [FOLDER]`, `show WORKDIR`, `preview RECIPE [flags]`."""

from pathlib import Path

import rich.console

from lejepa_jax.augment.sheet import preview
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.recipe import Recipe
from lejepa_jax.training.runs import list_runs, runs_table
from lejepa_jax.training.task import HasViews


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
        console.print_json(data={**run.metadata, "results": run.results})
    return 0


def preview_views(recipe: Recipe, path: Path, console: rich.console.Console) -> int:
    """Draw the views that a recipe trains on, of random images of its training part.

    Args:
        recipe: A recipe on images.
        path: The PNG file to write.
        console: Where to say so.

    Returns:
        The exit code.

    Raises:
        UsageError: If the recipe is not on images.
    """
    task = recipe.task
    if not isinstance(task, HasViews):
        raise UsageError(f"preview is for recipes on images, got one of {type(task).__name__}")
    splits = recipe.task.load(
        recipe.data,
        data_dir=recipe.data_dir,
        holdout=recipe.holdout,
        max_bad_records=recipe.max_bad_records,
    )
    preview(splits.train, task.view_specs, path, seed=recipe.seed)
    console.print(f"views of {splits.name}: {path}")
    return 0
