"""Planning with a model: units of actions, and the policies beside it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.data.splits import Splits
from lejepa_jax.training.networks import Variables
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.dynamics import Dynamics
from lejepa_jax.worldmodels.environments import two_room
from lejepa_jax.worldmodels.evaluation.acting import evaluate_acting
from lejepa_jax.worldmodels.networks import imagine
from lejepa_jax.worldmodels.trajectories import ActionScale

CONFIG = functools.partial(
    WorldModelConfig,
    network="small(history=1)",
    num_frames=2,
    action_block=2,
    planner="cem(num_samples=32, iterations=3, elites=4)",
    horizon=2,
    plan_episodes=12,
)
# Far from 0 and 1: a plan in the wrong units leads elsewhere.
SCALE = ActionScale(np.array([0.5, -0.5], np.float32), np.array([0.25, 0.5], np.float32))


def exact(world):
    """The world as a model, without walls: where the disk is, and how actions move it."""

    def encode(variables, frames):
        red = (frames[..., 0] > frames[..., 1] + 9).astype(jnp.float32)
        grid = ((jnp.arange(16.0) + 0.5) / 16)[None]
        center = [(red.sum(axis) * grid).sum(1) / red.sum((1, 2)) for axis in (1, 2)]
        return jnp.stack(center, 1)

    def predict(latents, actions):
        raw = actions.reshape(*actions.shape[:2], 2, 2) * SCALE.std[None, None, None]
        raw = raw + SCALE.mean[None, None, None]
        return latents + 0.05 * raw.sum(2)

    def roll(variables, latents, past, actions):
        return imagine(predict, latents, past, actions, history=1)

    return Dynamics(encode, roll, predict, 1)


def test_a_planner_that_knows_the_world_beats_chance_and_the_table_says_so():
    world = two_room(image_size=16)

    class Source:
        scale = SCALE

    splits = Splits("two-room", Source, Source, (), {})
    arguments = jax.random.key(0), {"encoder": Variables({}, {})}, splits, lambda batch: batch
    results = evaluate_acting(CONFIG(), exact(world), world, *arguments)
    same = results.scores["success, same room"]
    assert set(same) == {"planner", "random", "stay", "oracle"}
    assert same["oracle"] == 1
    assert same["stay"] == 0
    assert same["planner"] > 0.7 > same["random"] + 0.2
    assert set(results.details["success"]) == {"same room", "other room"}
    assert len(results.pictures) == 2
    assert results.pictures[0].draw().axes


def test_an_unknown_planner_is_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match="planner must be one of cem, icem, mppi, gradient"):
        CONFIG(planner="annealing")
