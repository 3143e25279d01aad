"""The recipes on clouds: a step of each fits together, on a tiny set, without compiling it."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

import train
from lejepa_jax.training.networks import merge_states
from recipes import recipes

RECIPES = {
    name: recipe for name, (_, recipe) in recipes().items() if hasattr(recipe.task, "stored_points")
}


@pytest.fixture(autouse=True)
def lenient():
    """Optax promotes types by itself."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_there_are_the_promised_recipes():
    promised = {"shapes", "lejepa-shapes", "modelnet40-dipvnet", "scanobjectnn-dipvnet"}
    assert promised | {"shapenetpart-dipvnet"} <= set(RECIPES)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "shapes" else pytest.mark.slow) for n in RECIPES]
)
def test_a_step_fits_together(name, tmp_path):
    recipe = RECIPES[name]
    rng = np.random.default_rng(0)
    stored = recipe.task.stored_points
    points = rng.normal(size=(10, stored, 3)).astype(np.float32)
    part = rng.integers(0, 3, (10, stored))
    arrays = {"part": part, "part_class": np.array([0, 0, 1]), "label": np.arange(10) % 2}
    np.savez(tmp_path / "tiny.npz", points=points, normals=points, **arrays)
    recipe = dataclasses.replace(recipe, data=f"npz:{tmp_path / 'tiny.npz'}", global_batch_size=4)
    splits = train.load_data(recipe)
    task = recipe.task.build(splits)
    optimizer = train.make_optimizer(recipe, task.kinds)
    key = jax.random.key(0)
    state = jax.eval_shape(functools.partial(train.initial_state, recipe, task, optimizer), key)
    batch = {k: jax.numpy.asarray(v) for k, v in splits.train.gather(np.arange(4)).items()}

    def step(variables):
        outputs, encoders = task.encode(*variables, key, batch)
        return task.loss(*variables, key, outputs, batch), encoders

    (loss, (heads, metrics)), encoders = jax.eval_shape(step, state.variables)
    assert loss.shape == ()
    assert metrics
    after = merge_states(state.variables.state, encoders, heads)
    assert jax.tree.structure(after) == jax.tree.structure(state.variables.state)
