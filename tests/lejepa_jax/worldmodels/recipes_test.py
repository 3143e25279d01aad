"""The recipes of world models fit together: what a run would do is traced, not compiled."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.training.optimizer import make_optimizer
from lejepa_jax.training.step import initial_state, make_gradient, make_step
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.trajectories import Trajectories, split_windows
from recipes import recipes

RECIPES = {n: r for n, (_, r) in recipes().items() if isinstance(r.task, WorldModelConfig)}


def test_there_are_the_promised_ones():
    assert set(RECIPES) == {"two-room", "two-room-lewm", "pusht-small", "pusht-lewm"}


@pytest.mark.parametrize(
    "name",
    ["two-room", "pusht-small", *(pytest.param(f"{n}-lewm", marks=pytest.mark.slow) for n in
     ("two-room", "pusht"))],
)  # fmt: skip
def test_the_step_fits_together(name):
    recipe, side = RECIPES[name], 96 if "pusht" in name else 32
    task_config = dataclasses.replace(recipe.task, environment=None)
    found = Trajectories(
        frames=np.zeros((60, side, side, 3), np.uint8),
        actions=np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32),
        episode_ends=np.array([30, 60]),
    )
    windows = {"num_frames": task_config.num_frames, "action_block": task_config.action_block}
    splits = split_windows("zeros", found, **windows, test_fraction=0.5)
    dtype = jnp.dtype(recipe.precision)
    task = task_config.build(splits, dtype=dtype, axis_name=None)
    optimizer, key = make_optimizer(recipe, task.kinds), jax.random.key(0)
    state = jax.eval_shape(functools.partial(initial_state, recipe, task, optimizer), key)
    step = make_step(recipe, optimizer, make_gradient(recipe, task, key))
    # The optimizer is another library's, and mixes types.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        after, metrics = jax.eval_shape(step, state, splits.train.gather(np.arange(4)))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert {"loss", "prediction", "shuffled_ratio"} <= set(metrics)
    if "lewm" in name:
        count = sum(x.size for x in jax.tree.leaves(state.variables.params))
        assert count == 18_034_478
