"""Policies: who acts in an environment, towards a goal or not."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.worldmodels.environments.protocol import Environment, State

#: A pytree of arrays: what a policy keeps within an episode.
Memory = Any


def remember_nothing(memory: Memory, actions: Float[Array, "m a"], states: State) -> Memory:
    """Leave the memory as it is."""
    return memory


class Policy(NamedTuple):
    """A policy as pure functions of one episode.

    Attributes:
        name: For tables.
        init: `(key, state, goal) -> memory`.
        act: `(key, memory, state, goal) -> (actions (m, a), memory)`, the next m actions.
        observe: `(memory, actions (m, a), states) -> memory` after they were done, with the m
            states that they led to, stacked.
        steps: m, how many actions one decision holds.
        growing: After how many decisions the shapes of the memory stay the same.
    """

    name: str
    init: Callable[[PRNGKeyArray, State, State], Memory]
    act: Callable[[PRNGKeyArray, Memory, State, State], tuple[Float[Array, "m a"], Memory]]
    observe: Callable[[Memory, Any, State], Memory] = remember_nothing
    steps: int = 1
    growing: int = 0


def _nothing(key, state, goal):
    return ()


def random_policy(environment: Environment) -> Policy:
    """Draw every action uniformly and independently.

    Args:
        environment: The environment.

    Returns:
        The policy.
    """
    return Policy(
        "random",
        _nothing,
        lambda key, memory, state, goal: (environment.sample_action(key)[None], memory),
    )


def smooth_random_policy(
    environment: Environment, *, momentum: float = 0.9, scale: float = 0.8
) -> Policy:
    r"""Draw actions that keep their direction for a while, an Ornstein-Uhlenbeck process.

    $v_{t+1} = \rho v_t + \sqrt{1 - \rho^2}\, \sigma \epsilon_t$, in units of half the range of the
    actions, which are v clipped to their bounds. It gets farther than independent draws do.

    Args:
        environment: The environment.
        momentum: $\rho$ in [0, 1).
        scale: $\sigma$, the standard deviation of v.

    Returns:
        The policy.

    Raises:
        ValueError: If the momentum is not within [0, 1).
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")
    low, high = jnp.asarray(environment.action_low), jnp.asarray(environment.action_high)

    def init(key, state, goal):
        return scale * jax.random.normal(key, low.shape, low.dtype)

    def act(key, velocity, state, goal):
        action = jnp.clip((low + high) / 2 + velocity * (high - low) / 2, low, high)
        noise = scale * (1 - momentum**2) ** 0.5 * jax.random.normal(key, low.shape, low.dtype)
        return action[None], momentum * velocity + noise

    return Policy("smooth random", init, act)


def stay_policy(environment: Environment) -> Policy:
    """Stay where the episode starts: how often is that enough?

    Args:
        environment: The environment.

    Returns:
        The policy.

    Raises:
        ValueError: If the environment has no action for that.
    """
    stay = environment.stay
    if stay is None:
        raise ValueError(f"{environment.name} must have an action that changes nothing, has none")
    return Policy("stay", _nothing, lambda key, memory, state, goal: (stay(state)[None], memory))


def expert_policy(
    environment: Environment, *, noise: float = 0.0, wander: bool = False, **goal_options: Any
) -> Policy:
    """Follow the oracle of the environment, with noise where data is collected.

    Args:
        environment: The environment.
        noise: Standard deviation of normal noise, in units of half the range of the actions.
        wander: Take a new goal whenever one is solved.
        **goal_options: For `sample_goal`, of the new goals.

    Returns:
        The policy.

    Raises:
        ValueError: If the environment has no oracle.
    """
    oracle = environment.oracle
    if oracle is None:
        raise ValueError(f"{environment.name} must have an oracle, has none")
    low, high = jnp.asarray(environment.action_low), jnp.asarray(environment.action_high)

    def act(key, own, state, goal):
        goal = own if wander else goal
        shake, new = jax.random.split(key)
        draw = jax.random.normal(shake, low.shape, low.dtype)
        action = jnp.clip(oracle(state, goal) + noise * draw * (high - low) / 2, low, high)
        if wander:
            done = environment.solved(state, own)
            fresh = environment.sample_goal(new, state, **goal_options)
            own = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, own)
        return action[None], own

    def init(key, state, goal):
        return goal if wander else ()

    return Policy("oracle" if noise == 0 else "expert", init, act)
