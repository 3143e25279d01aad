"""Success rates: intervals, budgets, exclusions and pairing."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lejepa_jax.worldmodels.environments import (
    expert_policy,
    point_maze,
    random_policy,
    stay_policy,
    two_room,
)
from lejepa_jax.worldmodels.planning import (
    draw_trials,
    evaluate_success,
    first_solved,
    imagined_and_true,
    run_trials,
    wilson_interval,
)
from tests.lejepa_jax.worldmodels.environments.cases import jitted

KEY = jax.random.key(0)
WORLD = jitted(two_room(image_size=16))


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (48, 50), (60, 60), (1, 3)])
def test_intervals_are_wilsons(successes, trials):
    oracle = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, trials), oracle, atol=1e-12)


def test_intervals_of_nothing_and_of_too_much():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(60, 60)[1] == 1.0
    assert wilson_interval(0, 60)[0] == 0.0
    with pytest.raises(ValueError, match="successes must be within 0 and 3 trials, got 4"):
        wilson_interval(4, 3)


def test_success_is_latched_and_ends_with_the_budget():
    solved = np.array([[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]], bool)
    np.testing.assert_array_equal(first_solved(solved, np.array([3, 2, 3, 3])), [1, -1, -1, 0])
    np.testing.assert_array_equal(first_solved(solved, np.array([3, 3, 3, 3])), [1, 3, -1, 0])


@pytest.fixture(scope="module")
def success():
    policies = [random_policy(WORLD), stay_policy(WORLD), expert_policy(WORLD)]
    return evaluate_success(KEY, WORLD, policies, episodes=60, batch_size=32)


def test_the_oracle_solves_all_and_staying_none(success):
    rows = {row.policy: row for row in success.rows}
    assert rows["oracle"].rate == 1
    assert rows["stay"].rate == 0
    assert 0 <= rows["random"].rate < 0.6
    assert rows["stay"].distance > rows["oracle"].distance
    assert math.isnan(rows["stay"].steps)
    assert rows["oracle"].low < 1 == rows["oracle"].high
    for row in success.rows:
        assert row.episodes == 60 - success.already_solved
        assert row.rate == row.solved / row.episodes


def test_starts_that_are_solved_are_excluded_and_counted(success):
    assert success.already_solved == (~success.counted).sum() > 0
    first = np.linalg.norm(success.paths["stay"].vectors[:, 0] - success.goals, axis=1)
    np.testing.assert_array_equal(first < 0.0625, ~success.counted)


def test_all_policies_have_the_same_starts_goals_and_budgets(success):
    one, *others = success.paths.values()
    for other in others:
        np.testing.assert_array_equal(other.vectors[:, 0], one.vectors[:, 0])
        np.testing.assert_array_equal(other.distances[:, 0], one.distances[:, 0])
    assert (success.budgets >= np.ceil(2 * one.distances[:, 0] / 0.05) - 1).all()
    assert (success.paths["oracle"].solved_at <= success.budgets).all()


def test_episodes_do_not_depend_on_how_many_there_are():
    policy = random_policy(WORLD)
    few, many = (
        draw_trials(KEY, WORLD, episodes=episodes, budget=7, where="other") for episodes in (5, 9)
    )
    one = run_trials(WORLD, policy, few, batch_size=5)
    other = run_trials(WORLD, policy, many, batch_size=4)
    np.testing.assert_array_equal(one.vectors, other.vectors[:5])
    assert one.vectors.shape == (5, 8, 2)


def test_goals_behind_walls_are_excluded_and_counted():
    world = point_maze(("#####", "#.#.#", "#####"), image_size=10)
    found = evaluate_success(KEY, world, [expert_policy(world)], episodes=30)
    assert 5 < found.unreachable < 25
    assert found.rows[0].episodes == 30 - found.unreachable - found.already_solved


def test_what_is_missing_is_said(unchecked):
    with pytest.raises(ValueError, match="different names"):
        evaluate_success(KEY, WORLD, [random_policy(WORLD)] * 2)
    bare = dataclasses.replace(WORLD, shortest_steps=None)
    with pytest.raises(ValueError, match="budget must be given"):
        evaluate_success(KEY, bare, [random_policy(bare)])


def test_a_plan_is_followed_in_the_model_and_in_the_environment():
    state = WORLD.reset(KEY)._replace(position=jnp.array([0.25, 0.25]))
    actions = jnp.array([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]])

    def encode(frames):
        return jnp.float32(frames).mean((1, 2))

    def imagine(latents, context, actions):
        assert context.shape == (0, 4)
        return latents[-1][None, None] + jnp.zeros((*actions.shape[:2], 3))

    imagined, true, vectors = imagined_and_true(WORLD, encode, imagine, state, actions, block=2)
    np.testing.assert_allclose(vectors, [[0.3, 0.3], [0.3, 0.4]], atol=1e-6)
    there = state._replace(position=jnp.asarray(vectors[1]))
    np.testing.assert_allclose(true[1], encode(WORLD.render(there)[None])[0], atol=1e-3)
    np.testing.assert_allclose(imagined[1], encode(WORLD.render(state)[None])[0], atol=1e-3)
