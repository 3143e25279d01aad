"""`preview RECIPE [FLAGS]`: the views that a recipe trains on, as a picture."""

from pathlib import Path

from lejepa_jax.augment.sheet import preview
from lejepa_jax.commands.table import Program
from lejepa_jax.training.command_line import parse
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.task import DrawsViews, HasViews

FILE = Path("views.png")
_ROWS, _TILE = 8, 112


def run(arguments: list[str], program: Program) -> int:
    """Draw the views that a recipe trains on, of random examples of its training part.

    Args:
        arguments: `preview`, a recipe on images or other fields, and flags of it.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: If the views of the recipe cannot be drawn.
    """
    _, recipe = parse(arguments[1:], program.recipes, default=program.default)
    task = recipe.task
    if not isinstance(task, HasViews | DrawsViews):
        raise UsageError(f"preview is for recipes on images, got one of {type(task).__name__}")
    splits = recipe.task.load(
        recipe.data,
        data_dir=recipe.data_dir,
        holdout=recipe.holdout,
        max_bad_records=recipe.max_bad_records,
    )
    if isinstance(task, DrawsViews):
        table = task.draw_views(splits, seed=recipe.seed, rows=_ROWS, tile=_TILE)
        table.save(FILE, "PNG")
    else:
        preview(splits.train, task.view_specs, FILE, seed=recipe.seed)
    program.console.print(f"views of {splits.name}: {FILE}")
    return 0
