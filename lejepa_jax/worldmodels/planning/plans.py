"""What a planner is given and what it returns."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive

#: `actions (n, h, a) -> (n)`.
Cost = Callable[[Any], Any]


class Plan(NamedTuple):
    """A sequence of actions.

    Attributes:
        actions: The actions, within their bounds.
        std: Standard deviation of the last search around them, 0 where there is none.
        costs: Lowest cost of each iteration.
    """

    actions: Float[Array, "h a"]
    std: Float[Array, "h a"]
    costs: Float[Array, "iterations"]


@runtime_checkable
class Planner(Protocol):
    """A planner with its hyper-parameters bound, see `functools.partial`."""

    def __call__(
        self,
        key: PRNGKeyArray,
        cost: Cost,
        *,
        horizon: int,
        action_size: int,
        low: Float[ArrayLike, "#a"] | float,
        high: Float[ArrayLike, "#a"] | float,
        start: Float[Array, "h a"] | None = None,
    ) -> Plan:
        """Plan.

        Args:
            key: Random key.
            cost: `actions (n, h, a) -> (n)`.
            horizon: Number of actions h.
            action_size: a.
            low: Lower bounds.
            high: Upper bounds.
            start: Where the search starts.
        """
        ...


class Box(NamedTuple):
    """Bounds of the actions of a plan, and where the search starts.

    Attributes:
        low: Lower bounds.
        high: Upper bounds.
        half: Half the range: the unit of standard deviations and of step sizes.
        start: Where the search starts, within the bounds.
    """

    low: Float[Array, "1 a"]
    high: Float[Array, "1 a"]
    half: Float[Array, "1 a"]
    start: Float[Array, "h a"]


def make_box(
    horizon: int,
    action_size: int,
    low: Float[ArrayLike, "#a"] | float,
    high: Float[ArrayLike, "#a"] | float,
    start: Float[Array, "h a"] | None,
    *,
    samples: int,
    iterations: int,
) -> Box:
    """Check what all planners are given, and bring it into one form.

    Args:
        horizon: Number of actions h.
        action_size: a.
        low: Lower bounds.
        high: Upper bounds.
        start: Where the search starts; the middle of the bounds if there is none.
        samples: Number of samples.
        iterations: Number of iterations.

    Returns:
        Bounds and start.

    Raises:
        ValueError: If a number is not positive or the start has another shape.
    """
    numbers = {"horizon": horizon, "action_size": action_size}
    for name, value in (numbers | {"num_samples": samples, "iterations": iterations}).items():
        check_positive(name, value)
    low, high = (
        jnp.broadcast_to(jnp.asarray(bound, jnp.float32).reshape(1, -1), (1, action_size))
        for bound in (low, high)
    )
    if start is None:
        start = jnp.broadcast_to((low + high) / 2, (horizon, action_size))
    elif start.shape != (horizon, action_size):
        raise ValueError(f"start must have shape {(horizon, action_size)}, got {start.shape}")
    return Box(low, high, (high - low) / 2, jnp.clip(start, low, high))


def shift_plan(
    actions: Float[Array, "h a"], steps: int, *, fill: Float[ArrayLike, "a"]
) -> Float[Array, "h a"]:
    """Drop the first actions of a plan, which were executed, and fill its end.

    Args:
        actions: The plan.
        steps: How many were executed.
        fill: What the end is filled with.

    Returns:
        Where the next search starts.

    Examples:
        >>> shift_plan(jnp.array([[1.0], [2.0], [3.0]]), 2, fill=jnp.zeros(1)).ravel()
        Array([3., 0., 0.], dtype=float32)
    """
    steps = min(steps, len(actions))
    end = jnp.broadcast_to(jnp.asarray(fill, actions.dtype)[None], (steps, actions.shape[1]))
    return jnp.concatenate([actions[steps:], end])
