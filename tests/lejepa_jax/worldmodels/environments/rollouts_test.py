"""Episodes: what they hold, and that it does not matter how they are batched."""

import jax
import numpy as np
import pytest

from lejepa_jax.worldmodels.environments import (
    Policy,
    collect,
    expert_policy,
    random_policy,
    rollout,
    smooth_random_policy,
    stay_policy,
    two_room,
)
from tests.lejepa_jax.worldmodels.environments.cases import jitted

KEY = jax.random.key(0)
WORLD = jitted(two_room(image_size=16))


def test_episodes_do_not_depend_on_how_they_are_batched():
    policy = expert_policy(WORLD, noise=0.3, wander=True, where="other")
    few = collect(KEY, WORLD, policy, episodes=5, steps=4, batch_size=2)
    many = collect(KEY, WORLD, policy, episodes=5, steps=4)
    for one, other in zip(few, many, strict=True):
        np.testing.assert_array_equal(one, other)
    assert few.frames.dtype == np.uint8
    assert (np.ptp(few.vectors[:, 0], axis=0) > 0.05).all()


def test_actions_lead_from_one_frame_to_the_next():
    data = collect(KEY, WORLD, smooth_random_policy(WORLD), episodes=4, steps=6)
    state = WORLD.reset(KEY)
    step = jax.jit(jax.vmap(WORLD.step, (None, 0)))
    assert data.actions.shape == (4, 5, 2)
    for episode in range(4):
        for time in range(5):
            here = state._replace(position=jax.numpy.asarray(data.vectors[episode, time]))
            there = step(here, data.actions[episode, time][None]).position[0]
            np.testing.assert_allclose(there, data.vectors[episode, time + 1], atol=1e-6)
    here = state._replace(position=jax.numpy.asarray(data.vectors[1, 3]))
    assert np.abs(np.int32(WORLD.render(here)) - np.int32(data.frames[1, 3])).max() <= 1


def test_smooth_actions_keep_their_direction():
    state = WORLD.reset(KEY)

    def correlation(momentum):
        policy = smooth_random_policy(WORLD, momentum=momentum, scale=0.3)
        run = jax.jit(jax.vmap(lambda key: rollout(key, WORLD, policy, state, state, steps=39)))
        actions = np.asarray(run(jax.random.split(KEY, 64)).actions)
        return np.corrcoef(actions[:, :-1].ravel(), actions[:, 1:].ravel())[0, 1], actions.std()

    for momentum in (0.0, 0.9):
        found, scale = correlation(momentum)
        assert abs(found - momentum) < 0.06
        assert abs(scale - 0.3) < 0.04


def test_decisions_of_several_actions_are_cut_to_the_number_of_steps():
    def act(key, memory, state, goal):
        return jax.numpy.ones((3, 2)) * memory[:, None] / 100, memory

    def observe(memory, actions, states):
        return memory + jax.numpy.float32(states.time[-1])

    policy = Policy("counting", lambda *_: jax.numpy.ones(3), act, observe, steps=3)
    state = WORLD.reset(KEY)
    for growing in (0, 1, 4):
        own = policy._replace(growing=growing)
        found = jax.jit(lambda own=own: rollout(KEY, WORLD, own, state, state, steps=8))()
        assert found.states.position.shape == (9, 2)
        np.testing.assert_allclose(found.actions[:, 0] * 100, [1, 1, 1, 4, 4, 4, 10, 10], rtol=1e-6)


def test_policies_say_what_an_environment_lacks():
    import dataclasses

    bare = dataclasses.replace(WORLD, stay=None, oracle=None)
    with pytest.raises(ValueError, match="oracle"):
        expert_policy(bare)
    with pytest.raises(ValueError, match="changes nothing"):
        stay_policy(bare)
    state = WORLD.reset(KEY)
    stays, moves = jax.jit(
        lambda: [
            rollout(KEY, WORLD, policy(WORLD), state, state, steps=3)
            for policy in (stay_policy, random_policy)
        ]
    )()
    assert (stays.states.position == state.position[None]).all()
    assert np.abs(moves.actions).max() <= 1
    assert np.unique(moves.actions).size == 6
