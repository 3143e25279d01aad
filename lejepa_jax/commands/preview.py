"""`preview RECIPE [FLAGS]`: the views that a recipe trains on, as a picture."""

from pathlib import Path

from lejepa_jax.augment.sheet import preview
from lejepa_jax.commands.table import Program
from lejepa_jax.training.command_line import parse
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.task import HasViews

FILE = Path("views.png")


def run(arguments: list[str], program: Program) -> int:
    """Draw the views that a recipe trains on, of random images of its training part.

    Args:
        arguments: `preview`, a recipe on images, and flags of it.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: If the recipe is not on images.
    """
    _, recipe = parse(arguments[1:], program.recipes, default=program.default)
    task = recipe.task
    if not isinstance(task, HasViews):
        raise UsageError(f"preview is for recipes on images, got one of {type(task).__name__}")
    splits = recipe.task.load(
        recipe.data,
        data_dir=recipe.data_dir,
        holdout=recipe.holdout,
        max_bad_records=recipe.max_bad_records,
    )
    preview(splits.train, task.view_specs, FILE, seed=recipe.seed)
    program.console.print(f"views of {splits.name}: {FILE}")
    return 0
