"""A run of a world model: the same on any number of devices, and loaded again to plan with."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import train
from lejepa_jax import load_world_model
from lejepa_jax.worldmodels.environments import two_room
from lejepa_jax.worldmodels.evaluation.measures import Measures
from lejepa_jax.worldmodels.planning import evaluate_success
from tests.program import tiny_run
from tests.program.helpers import rows

pytestmark = pytest.mark.slow


def world(workdir, *flags):
    return train.main(["world", "--workdir", str(workdir), "--task.plan-episodes", "0", *flags])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "recipes", tiny_run.recipes)
        assert world(folder, "--devices", "1", "--evaluate") == 0
    return folder


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_losses_do_not_depend_on_the_number_of_devices(workdir, tmp_path, devices):
    assert world(tmp_path, "--devices", str(devices)) == 0
    one, many = (
        np.array(
            [[row["loss"], row["prediction"], row["sigreg"]] for row in found if "loss" in row]
        )
        for found in (rows(workdir), rows(tmp_path))
    )
    assert one.shape == (6, 3)
    np.testing.assert_allclose(many, one, rtol=1e-4)


def test_a_run_is_loaded_whole_and_plans(workdir):
    model = load_world_model(workdir)
    assert model.provenance["step"] == 6
    # What the run measured of its own network is measured of what was loaded.
    splits = model.config.load("two-room(image_size=16)")
    measures = Measures(model.config, model.net)
    _, latents, actions = measures.paths(
        model.variables, splits.test, 8, model.config.quick_examples, lambda batch: batch
    )
    error = measures.errors(model.variables, latents, actions)["true"][:, 0].mean()
    results = json.loads((workdir / "results.json").read_text())
    np.testing.assert_allclose(error, results["diagnostics"]["encoder"]["one_step_error"], 1e-4)
    # In the units of the environment: the same as z-scored ones inside.
    raw = model.scale.restore(actions.reshape(*actions.shape[:2], 2, 2)).reshape(actions.shape)
    imagined = model.imagine(latents[0, :1], raw[:1])
    expected = measures.errors(model.variables, latents, actions)["imagined"][:1]
    np.testing.assert_allclose(imagined, expected, atol=1e-4)

    planner = model.agent(low=-1.0, high=1.0)
    start, goal = model.encode(splits.test.trajectories.frames[:2])
    actions, memory = planner.act(jax.random.key(0), planner.init(start, goal))
    assert actions.shape == (2, 2)
    assert float(jnp.abs(actions).max()) <= 1
    planner.observe(memory, actions, start[None])


def test_a_loaded_model_is_a_policy(workdir):
    environment = two_room(image_size=16)
    policy = load_world_model(workdir).policy(environment, horizon=1)
    found = evaluate_success(jax.random.key(0), environment, [policy], episodes=2)
    assert found.rows[0].policy == "planner"
