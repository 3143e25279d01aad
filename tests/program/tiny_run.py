"""`python -m tests.program.tiny_run [--flags]`: the program on a recipe that takes seconds."""

import functools
import sys

import train
from lejepa_jax.augment import digits_view
from lejepa_jax.nn import ResNet
from lejepa_jax.tasks import PretrainingConfig
from recipes import Recipe

RECIPE = Recipe(
    data="digits",
    task=PretrainingConfig(
        image_size=8,
        encoder=functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small"),
        views=(digits_view(2, 8),),
        num_global=2,
        embedding_features=8,
        hidden_features=16,
        projector_layers=2,
        num_slices=16,
        eval_size=8,
    ),
    steps=20,
    global_batch_size=64,
    warmup_steps=10,
    log_every=1,
    checkpoint_every=5,
    evaluate=False,
)


def recipes() -> dict[str, tuple[str, Recipe]]:
    """Stand in for `recipes.recipes`."""
    return {"digits": ("Takes seconds.", RECIPE)}


if __name__ == "__main__":
    train.recipes = recipes
    sys.exit(train.main(sys.argv[1:]))
