"""Let policies act: one episode, and many of them as training data."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from lejepa_jax.checks import check_positive
from lejepa_jax.worldmodels.environments.policies import Policy
from lejepa_jax.worldmodels.environments.protocol import Environment, State, episode_keys


class Rollout(NamedTuple):
    """One episode.

    Attributes:
        states: The states, stacked, one more than there are actions.
        actions: What was done `(t - 1, a)`.
    """

    states: State
    actions: Float[Array, "steps a"]


def rollout(
    key: PRNGKeyArray,
    environment: Environment,
    policy: Policy,
    state: State,
    goal: State,
    *,
    steps: int,
) -> Rollout:
    """Run one episode; `vmap` it over keys, states and goals.

    Args:
        key: Random key of the episode.
        environment: The environment.
        policy: Who acts.
        state: Where it starts.
        goal: What is asked for.
        steps: Number of actions.

    Returns:
        States and actions.
    """
    check_positive("steps", steps)
    low, high = jnp.asarray(environment.action_low), jnp.asarray(environment.action_high)

    def decide(carry, number):
        state, memory = carry
        actions, memory = policy.act(jax.random.fold_in(key, number), memory, state, goal)
        actions = jnp.clip(actions, low[None], high[None])

        def advance(state, action):
            state = environment.step(state, action)
            return state, state

        state, states = jax.lax.scan(advance, state, actions)
        return (state, policy.observe(memory, actions, states)), (states, actions)

    decisions = -(-steps // policy.steps)
    first = min(policy.growing, decisions)
    # Number 0 is that of the memory.
    carry = state, policy.init(jax.random.fold_in(key, 0), state, goal)
    pieces = []
    for number in range(first):
        carry, piece = decide(carry, jnp.asarray(number + 1))
        pieces.append(piece)
    if decisions > first:
        _, later = jax.lax.scan(decide, carry, jnp.arange(first + 1, decisions + 1))
        pieces.append(jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), later))
    states, actions = jax.tree.map(lambda *x: jnp.concatenate(x)[:steps], *pieces)
    states = jax.tree.map(lambda one, more: jnp.concatenate([one[None], more]), state, states)
    return Rollout(states, actions)


class Collected(NamedTuple):
    """Episodes on the host.

    Attributes:
        frames: Pictures.
        actions: Action i leads from frame i to frame i + 1.
        vectors: What probes read, a row a frame.
    """

    frames: UInt8[np.ndarray, "e t h w c"]
    actions: Float[np.ndarray, "e steps a"]
    vectors: Float[np.ndarray, "e t s"]


def collect(
    key: PRNGKeyArray,
    environment: Environment,
    policy: Policy,
    *,
    episodes: int,
    steps: int,
    batch_size: int = 256,
    **goal_options: Any,
) -> Collected:
    """Collect episodes: run on the device, rendered there, gathered on the host.

    Args:
        key: Random key.
        environment: The environment.
        policy: Who acts.
        episodes: Number of episodes e.
        steps: Number of frames t of each; there is one action less.
        batch_size: Episodes at once; an episode is the same whatever it is.
        **goal_options: For `sample_goal`.

    Returns:
        Frames, actions and vectors.

    Raises:
        ValueError: If there are fewer than two frames, or no episodes.

    Examples:
        >>> from lejepa_jax.worldmodels.environments.policies import smooth_random_policy
        >>> from lejepa_jax.worldmodels.environments.rooms import two_room
        >>> world = two_room(image_size=16)
        >>> policy = smooth_random_policy(world)
        >>> data = collect(jax.random.key(0), world, policy, episodes=3, steps=5)
        >>> data.frames.shape, data.actions.shape, data.vectors.shape
        ((3, 5, 16, 16, 3), (3, 4, 2), (3, 5, 2))
    """
    check_positive("episodes", episodes)
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    batch_size = min(batch_size, episodes)

    @jax.jit
    @jax.vmap
    def run(key):
        start, end, act = (jax.random.fold_in(key, number) for number in range(3))
        state = environment.reset(start)
        goal = environment.sample_goal(end, state, **goal_options)
        states, actions = rollout(act, environment, policy, state, goal, steps=steps - 1)
        # One picture after the other: a batch of them is enough to fill the device.
        frames = jax.lax.map(environment.render, states)
        return frames, actions, jax.vmap(environment.vector)(states)

    pieces = []
    for first in range(0, episodes, batch_size):
        # Of the last batch some are thrown away, so that one program runs them all.
        piece = jax.device_get(run(episode_keys(key, batch_size, first=first)))
        pieces.append([array[: episodes - first] for array in piece])
    return Collected(*(np.concatenate(arrays) for arrays in zip(*pieces, strict=True)))
