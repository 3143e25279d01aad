"""Agents in simulators of the host: found goals, batches, and what they are compared with."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.worldmodels.planning import (
    cem,
    evaluate_on_host,
    inverse_dynamics_agent,
    latent_planner,
    run_agent_on_host,
    run_on_host,
)
from tests.lejepa_jax.worldmodels.simulators import Point

KEY = jax.random.key(0)
STARTS = np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1], [0.4, 0.6], [0.3, 0.3]])
GOALS = np.array([[0.1, 0.9], [0.7, 0.7], [0.2, 0.4], [0.41, 0.61], [0.9, 0.6]])


def encode(frames):
    return jnp.float32(frames).reshape(len(frames), 2) / 200


def imagine(latents, context, actions):
    moves = actions.reshape(*actions.shape[:2], 2, 2).sum(2)
    return latents[-1][None, None] + 0.1 * jnp.cumsum(moves, 1)


PLANNER = latent_planner(
    imagine,
    action_low=Point.action_low,
    action_high=Point.action_high,
    planner=functools.partial(cem, num_samples=128, iterations=5, elites=12),
    horizon=3,
    block=2,
    history=2,
)


def test_agents_are_compared_on_the_same_episodes():
    inverse = inverse_dynamics_agent(lambda latent, goal: (goal - latent) / 0.1)
    steps = np.ceil(np.abs(GOALS - STARTS).max(1) / 0.1)[:, None, None]
    recorded = np.repeat((GOALS - STARTS)[:, None] / steps / 0.1, 8, 1)
    recorded[np.arange(8)[None] >= steps[:, :, 0]] = 0
    found = evaluate_on_host(
        KEY,
        [Point(), Point()],
        [PLANNER, inverse],
        encode,
        STARTS,
        GOALS,
        budget=11,
        replays={"replay": recorded},
    )
    rows = {row.policy: row for row in found.rows}
    assert list(rows) == ["planner", "inverse dynamics", "random", "stay", "replay"]
    assert found.already_solved == 1
    assert not found.counted[3]
    for name in ("planner", "inverse dynamics", "replay"):
        assert (rows[name].rate, rows[name].episodes) == (1.0, 4)
    assert rows["stay"].rate == 0
    assert found.paths["planner"].vectors.shape == (5, 12, 2)
    for paths in found.paths.values():
        np.testing.assert_array_equal(paths.vectors[:, 0], STARTS)
    assert (found.paths["stay"].vectors == STARTS[:, None]).all()


def test_episodes_do_not_depend_on_how_many_simulators_there_are():
    options = {"budget": 5}
    one, _ = run_agent_on_host(KEY, [Point()], PLANNER, encode, STARTS, GOALS, **options)
    three, _ = run_agent_on_host(
        KEY, [Point() for _ in range(3)], PLANNER, encode, STARTS, GOALS, **options
    )
    assert one.vectors.shape == (5, 6, 2)
    np.testing.assert_allclose(one.vectors, three.vectors, atol=1e-3)


def test_recorded_goal_frames_are_taken_where_there_are_some():
    elsewhere = np.full((5, 1, 2, 1), 100, np.uint8)
    inverse = inverse_dynamics_agent(lambda latent, goal: (goal - latent) / 0.1)
    paths, _ = run_agent_on_host(
        KEY, [Point()], inverse, encode, STARTS, GOALS, budget=8, goal_frames=elsewhere
    )
    np.testing.assert_allclose(paths.vectors[:, -1], np.full((5, 2), 0.5), atol=0.01)


def test_unequal_numbers_are_refused(unchecked):
    with pytest.raises(ValueError, match="equally many"):
        run_on_host([Point()], lambda *_: np.zeros(2), STARTS, GOALS[:2], budget=3)
    with pytest.raises(ValueError, match="budget"):
        run_on_host([Point()], lambda *_: np.zeros(2), STARTS, GOALS, budget=0)
