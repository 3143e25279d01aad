"""A planner with a perfect model solves its environment; memory, blocks and history are right."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.worldmodels.environments import rollout, two_room
from lejepa_jax.worldmodels.planning import (
    agent_policy,
    cem,
    inverse_dynamics_agent,
    last_step_cost,
    latent_planner,
    receding_horizon,
)
from tests.lejepa_jax.worldmodels.environments.cases import jitted

SIZE = 16
WORLD = jitted(two_room(image_size=SIZE))
KEYS = jax.random.split(jax.random.key(0), 8)
small_cem = functools.partial(cem, num_samples=64, iterations=4, elites=8)


def encode(frames):
    """Find the disk, the only thing that is red."""
    red = jnp.maximum(jnp.float32(frames[..., 0]) - jnp.float32(frames[..., 1]) - 1, 0)
    grid = (jnp.arange(SIZE, dtype=jnp.float32) + 0.5) / SIZE
    mass = red.sum((1, 2))
    return jnp.stack([(red.sum(1) @ grid) / mass, (red.sum(2) @ grid) / mass], 1)


def imagine(latents, context, actions, block=2):
    """Move without walls."""
    moves = actions.reshape(*actions.shape[:2], block, 2)
    lengths = jnp.maximum(jnp.sqrt(jnp.square(moves).sum(-1, keepdims=True) + 1e-12), 1)
    return latents[-1][None, None] + jnp.cumsum(0.05 * (moves / lengths).sum(2), 1)


def run(policy, steps=20):
    def episode(key):
        state = WORLD.reset(key)
        goal = WORLD.sample_goal(jax.random.fold_in(key, 1), state, where="same")
        states, actions = rollout(key, WORLD, policy, state, goal, steps=steps)
        return jax.vmap(WORLD.distance, (0, None))(states, goal), actions

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(episode))(KEYS))


def test_the_planner_gets_there():
    policy = receding_horizon(WORLD, encode, imagine, planner=small_cem, horizon=3, block=2)
    distances, actions = run(policy)
    assert distances[:, 0].max() > 0.3
    assert distances[:, -1].max() < 0.04
    assert np.abs(actions).max() <= 1


def test_inverse_dynamics_gets_there():
    def inverse(latent, goal):
        return jnp.tile((goal - latent) / 0.1, 2)

    agent = inverse_dynamics_agent(inverse, block=2)
    distances, _ = run(agent_policy(WORLD, encode, agent))
    assert distances[:, 0].max() > 0.3
    assert distances[:, -1].max() < 0.04


@pytest.mark.parametrize(("execute", "history", "growing"), [(1, 3, 2), (2, 3, 1), (2, 1, 0)])
def test_the_context_holds_the_last_latents_and_the_blocks_between_them(execute, history, growing):
    shapes = []

    def spy(latents, context, actions):
        assert context.shape == (len(latents) - 1, 4)
        shapes.append(len(latents))
        return imagine(latents, context, actions)

    agent = latent_planner(
        spy,
        action_low=WORLD.action_low,
        action_high=WORLD.action_high,
        planner=functools.partial(cem, num_samples=4, iterations=1, elites=2),
        cost=last_step_cost,
        horizon=4,
        block=2,
        execute=execute,
        history=history,
    )
    assert agent.growing == growing
    assert agent.steps == 2 * execute
    memory = agent.init(jnp.zeros(2), jnp.ones(2))
    latents, blocks = [np.zeros(2)], []
    for number in range(4):
        actions, memory = agent.act(KEYS[number], memory)
        assert actions.shape == (2 * execute, 2)
        new = jnp.arange(2.0 * execute).reshape(execute, 2) + 10.0 * number
        memory = agent.observe(memory, actions, new)
        latents += list(np.asarray(new))
        blocks += list(np.asarray(actions).reshape(execute, 4))
        kept = min(history, len(latents))
        np.testing.assert_array_equal(memory.latents, latents[-kept:])
        np.testing.assert_array_equal(
            memory.actions, np.reshape(blocks, (-1, 4))[len(blocks) + 1 - kept :]
        )
    assert shapes[0] == 1
    assert shapes[growing] == history
    # The same through a whole episode: only the first decisions have shapes of their own.
    shapes.clear()
    policy = agent_policy(WORLD, encode, agent)
    state = WORLD.reset(KEYS[0])
    found = jax.eval_shape(lambda key: rollout(key, WORLD, policy, state, state, steps=15), KEYS[0])
    assert found.actions.shape == (15, 2)
    assert sorted(set(shapes)) == sorted(
        {min(1 + execute * i, history) for i in range(growing + 1)}
    )


def test_a_warm_start_is_what_is_left_of_the_plan():
    def agent(warm_start):
        return latent_planner(
            functools.partial(imagine, block=1),
            action_low=WORLD.action_low,
            action_high=WORLD.action_high,
            planner=lambda key, cost, *, start, **_: Stub(start + 1),
            horizon=3,
            warm_start=warm_start,
        )

    class Stub:
        def __init__(self, actions):
            self.actions = actions

    for warm, expected in ((True, [[2, 2], [2, 2], [1, 1]]), (False, [[1, 1]] * 3)):
        own = agent(warm)
        memory = own.init(jnp.zeros(2), jnp.ones(2))
        _, memory = own.act(KEYS[0], memory)
        np.testing.assert_array_equal(memory.start + 1, expected)


def test_bad_numbers_are_refused(unchecked):
    bounds = {"action_low": WORLD.action_low, "action_high": WORLD.action_high}
    with pytest.raises(ValueError, match="execute must be at most the horizon 2, got 3"):
        latent_planner(imagine, **bounds, horizon=2, execute=3)
    with pytest.raises(ValueError, match="history"):
        latent_planner(imagine, **bounds, history=0)
