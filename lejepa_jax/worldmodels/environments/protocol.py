"""What an environment is: a few pure functions, so that thousands run at once on a device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray, Shaped, UInt8

#: A pytree of arrays; what is in it is the environment's own affair.
State = Any


@dataclass(frozen=True, eq=False)
class Environment:
    """An environment as pure functions of one state each; `jit` and `vmap` them.

    Where there is nothing to draw the action from the state (a noisy world), put a key into the
    state.

    Attributes:
        name: For tables and titles.
        reset: `key -> state`, a random start.
        step: `(state, action (a)) -> state`; actions out of bounds are clipped.
        render: `state -> frame`, uint8 `(h, w, c)`.
        vector: `state -> (s)` floats, what probes read: positions, angles.
        sample_goal: `(key, state, **options) -> state`: what is asked for, seen from a start. What
            stays the same over an episode, such as its background, is the start's.
        distance: `(state, goal) -> scalar` in the units of the environment.
        solved: `(state, goal) -> bool`.
        sample_action: `key -> (a)`, uniform over what is allowed.
        action_size: a.
        action_low: Lower bounds `(a)`.
        action_high: Upper bounds `(a)`.
        vector_names: Names of the s numbers.
        stay: `state -> (a)`, the action that changes nothing; None where there is none.
        oracle: `(state, goal) -> (a)`, the action of an expert that sees the state; None where
            there is none.
        shortest_steps: `(state, goal) -> scalar`, the least number of steps to the goal; budgets
            are multiples of it. None where it is not known.
        outline: Boxes `(b, 4)` (low x, low y, high x, high y) to draw paths of `vector[:2]` on.
        extent: `(width, height)` of the scene in the units of `vector`, the size of a frame.
    """

    name: str
    reset: Callable[[PRNGKeyArray], State]
    step: Callable[[State, Float[Array, "a"]], State]
    render: Callable[[State], UInt8[Array, "h w c"]]
    vector: Callable[[State], Float[Array, "s"]]
    sample_goal: Callable[..., State]
    distance: Callable[[State, State], Float[Array, ""]]
    solved: Callable[[State, State], Bool[Array, ""]]
    sample_action: Callable[[PRNGKeyArray], Float[Array, "a"]]
    action_size: int
    action_low: Float[ArrayLike, "a"]
    action_high: Float[ArrayLike, "a"]
    vector_names: tuple[str, ...] = ()
    stay: Callable[[State], Float[Array, "a"]] | None = None
    oracle: Callable[[State, State], Float[Array, "a"]] | None = None
    shortest_steps: Callable[[State, State], Float[Array, ""]] | None = None
    outline: Float[ArrayLike, "b 4"] | None = None
    extent: tuple[float, float] = (1.0, 1.0)


def episode_keys(key: PRNGKeyArray, episodes: int, *, first: int = 0) -> Shaped[Array, "e"]:
    """Give each episode a key by its number, so that it does not matter how they are batched.

    Args:
        key: Random key.
        episodes: Number of episodes e.
        first: Number of the first one.

    Returns:
        Keys `(e)`.

    Examples:
        >>> keys = episode_keys(jax.random.key(0), 4)
        >>> bool((keys[2:] == episode_keys(jax.random.key(0), 2, first=2)).all())
        True
    """
    numbers = jnp.arange(first, first + episodes)
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
