"""The data of a run, loaded as its recipe says."""

from lejepa_jax.data.splits import Splits
from lejepa_jax.training.errors import UsageError
from lejepa_jax.training.recipe import Recipe


def load_data(recipe: Recipe) -> Splits:
    """Load the data set of a recipe.

    Args:
        recipe: The run.

    Returns:
        The data.

    Raises:
        ValueError: If something is wrong with it, or it holds less than a batch.
    """
    splits = recipe.task.load(
        recipe.data,
        data_dir=recipe.data_dir,
        holdout=recipe.holdout,
        max_bad_records=recipe.max_bad_records,
    )
    if len(splits.train) < recipe.global_batch_size:
        raise UsageError(
            f"global_batch_size must not exceed the {len(splits.train)} training examples, "
            f"got {recipe.global_batch_size}"
        )
    return splits
