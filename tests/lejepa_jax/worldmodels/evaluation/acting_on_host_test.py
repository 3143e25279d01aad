"""Planning between recorded states in a simulator of the host, and the units of its actions."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.training.networks import Variables
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.dynamics import Dynamics
from lejepa_jax.worldmodels.evaluation.acting_on_host import check_units, evaluate_acting_on_host
from lejepa_jax.worldmodels.evaluation.evaluators import acting_evaluator
from lejepa_jax.worldmodels.networks import imagine
from lejepa_jax.worldmodels.trajectories import Trajectories, relative_actions, split_windows
from tests.lejepa_jax.worldmodels.simulators import Point, record

CONFIG = functools.partial(
    WorldModelConfig,
    network="small(history=1)",
    num_frames=2,
    action_block=2,
    environment=Point,
    goal_steps=6,
    planner="cem(num_samples=64, iterations=4, elites=8)",
    horizon=3,
    plan_episodes=10,
)


@pytest.fixture(scope="module")
def splits():
    rng = np.random.default_rng(0)
    actions = np.repeat(rng.uniform(-0.9, 0.9, (8, 3, 2)), 7, 1).astype(np.float32)
    frames, states = record(Point(), actions, rng.uniform(0.3, 0.7, (8, 2)))
    found = Trajectories(
        frames=frames,
        actions=actions.reshape(-1, 2),
        episode_ends=21 * np.arange(1, 9),
        states=states,
        state_names=("x", "y"),
    )
    return split_windows("points", found, num_frames=2, action_block=2, test_fraction=0.25)


def exact(scale):
    """The simulator as a model: where the point is, and how actions move it."""

    def predict(latents, actions):
        raw = actions.reshape(*actions.shape[:2], 2, 2) * scale.std[None, None, None]
        return jnp.clip(latents + 0.1 * (raw + scale.mean[None, None, None]).sum(2), 0, 1)

    return Dynamics(
        lambda variables, frames: jnp.float32(frames).reshape(len(frames), 2) / 200,
        lambda variables, latents, past, actions: imagine(
            predict, latents, past, actions, history=1
        ),
        lambda variables, latents, actions: predict(latents, actions),
        1,
    )


def test_a_planner_that_knows_the_simulator_reaches_what_was_recorded(splits):
    arguments = jax.random.key(0), {"encoder": Variables({}, {})}, splits, lambda batch: batch
    dynamics = exact(splits.train.scale)
    results = evaluate_acting_on_host(CONFIG(), dynamics, Point, *arguments)
    rates = results.scores["success, goal 6 steps ahead"]
    assert set(rates) == {"planner", "random", "stay", "oracle"}
    assert rates["oracle"] == rates["planner"] == 1
    assert rates["stay"] == 0
    assert rates["random"] < 0.5
    details = results.details["success"]["goal 6 steps ahead"]
    counted = {row["policy"]: row["episodes"] for row in details["policies"]}
    assert set(counted.values()) == {10 - details["already_solved"]}
    assert results.pictures[0].draw().axes


def test_the_environment_of_the_configuration_is_acted_in(splits):
    dynamics = exact(splits.train.scale)
    assert acting_evaluator(CONFIG(), dynamics, splits) is not None
    assert acting_evaluator(CONFIG(environment=None), dynamics, splits) is None


def test_actions_in_other_units_are_refused_before_anything_is_trained(splits):
    found = splits.train.trajectories
    check_units(Point(), found)
    targets = dataclasses.replace(found, actions=found.states + 3 * found.actions)
    with pytest.raises(ValueError, match=r"units of point, .* --task\.action-unit"):
        check_units(Point(), targets)
    relative = relative_actions(targets, unit=3.0)
    np.testing.assert_allclose(relative.actions, found.actions, atol=1e-6)
    assert relative.version != targets.version
    check_units(Point(), relative)
    with pytest.raises(ValueError, match="states must hold the 2 numbers"):
        check_units(Point(), dataclasses.replace(found, states=None, state_names=()))
