"""The optimizer of a recipe, and its learning rates."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from lejepa_jax.training.recipe import Recipe


def warmup_steps(recipe: Recipe) -> int:
    """Return the steps of warm-up: those of the recipe, or a tenth of a run too short for them.

    After a warm restart, the run is what follows it.

    Args:
        recipe: The run.

    Returns:
        The number of steps.
    """
    steps = (recipe.decay_steps or recipe.steps) - (recipe.restart_at or 0)
    return recipe.warmup_steps if recipe.warmup_steps < steps else steps // 10


def learning_rates(recipe: Recipe) -> optax.Schedule:
    """Make the schedule: linear warm-up, then half a cosine, then its last value.

    After a warm restart it warms up from the last value, and decays along half a cosine again.

    Args:
        recipe: The run.

    Returns:
        The learning rate after a number of updates.
    """
    peak, last = recipe.learning_rate, recipe.learning_rate * recipe.final_learning_rate
    start, end = recipe.restart_at or 0, recipe.decay_steps or recipe.steps
    rates = optax.warmup_cosine_decay_schedule(
        init_value=0.0 if start == 0 else last,
        peak_value=peak,
        warmup_steps=warmup_steps(recipe),
        decay_steps=end - start,
        end_value=last,
    )
    if start == 0:
        return rates
    # Skipped steps are no updates: the first few counts after the restart may be below it.
    return optax.join_schedules([optax.constant_schedule(last), rates], [start])


def make_optimizer(
    recipe: Recipe, kinds: PyTree, factors: PyTree | None = None
) -> optax.GradientTransformation:
    """Make AdamW or SGD, whose weight decay leaves biases, norms, positions and tokens alone.

    Args:
        recipe: The run.
        kinds: What each parameter is, see `lejepa_jax.training.networks.Network`.
        factors: Factor of the learning rate of each parameter; None for 1.

    Returns:
        The optimizer.
    """
    weights = jax.tree.map(lambda kind: kind != "other", kinds)
    rates, decay = learning_rates(recipe), recipe.weight_decay
    if recipe.optimizer == "adamw":
        optimizer = optax.adamw(rates, b2=recipe.adam_b2, weight_decay=decay, mask=weights)
    else:
        optimizer = optax.chain(
            optax.add_decayed_weights(decay, weights), optax.sgd(rates, recipe.momentum)
        )
    if factors is not None:

        def scale(updates: PyTree, params: PyTree | None = None) -> PyTree:
            del params
            return jax.tree.map(lambda update, factor: update * factor, updates, factors)

        optimizer = optax.chain(optimizer, optax.stateless(scale))
    if recipe.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(recipe.clip_norm), optimizer)


def count_updates(opt_state: Any) -> jax.Array:
    """Return how many updates were applied, by which the learning rate is chosen.

    A step that is skipped is no update, so that this may be less than the number of steps.

    Args:
        opt_state: State of an optimizer made by `make_optimizer`.

    Returns:
        The count.
    """
    counts = [
        leaf.count
        for leaf in jax.tree.leaves(
            opt_state, is_leaf=lambda x: isinstance(x, optax.ScaleByScheduleState)
        )
        if isinstance(leaf, optax.ScaleByScheduleState)
    ]
    return jnp.asarray(counts[0])
