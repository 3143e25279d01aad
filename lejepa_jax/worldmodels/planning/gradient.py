"""Planning by gradient descent through the model, from several starts at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lejepa_jax.worldmodels.planning.plans import Cost, Plan, make_box

#: Decay of Adam's moments.
FIRST, SECOND = 0.9, 0.999


def gradient_plan(
    key: PRNGKeyArray,
    cost: Cost,
    *,
    horizon: int,
    action_size: int,
    low: Float[ArrayLike, "#a"] | float,
    high: Float[ArrayLike, "#a"] | float,
    num_samples: int = 16,
    iterations: int = 50,
    learning_rate: float = 0.1,
    std: float = 0.5,
    start: Float[Array, "h a"] | None = None,
) -> Plan:
    """Plan by Adam on the actions, which are clipped to their bounds after each step.

    Args:
        key: Random key.
        cost: `actions (n, h, a) -> (n)`, differentiable.
        horizon: Number of actions h.
        action_size: a.
        low: Lower bounds.
        high: Upper bounds.
        num_samples: Number of starts n; the first is `start`, the others are drawn around it.
        iterations: Number of gradients.
        learning_rate: Step size, in units of half the range.
        std: Standard deviation of the starts, in units of half the range.
        start: First start; the middle of the bounds if there is none.

    Returns:
        The best plan that was evaluated.

    Raises:
        ValueError: If a number is not positive.

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980.
    """
    box = make_box(
        horizon, action_size, low, high, start, samples=num_samples, iterations=iterations
    )

    # In units of half the range, so that one step size fits all actions.
    def to_actions(units):
        return jnp.clip(box.start[None] + units * box.half[None], box.low[None], box.high[None])

    def to_units(actions):
        divisor = jnp.where(box.half > 0, box.half, 1.0)
        return (actions - box.start[None]) / divisor[None]

    def total(units):
        # Not clipped here: at its bounds an action still has a gradient that leads inside.
        costs = cost(box.start[None] + units * box.half[None])
        return costs.sum(), costs

    def improve(carry, count):
        units, moments, best, best_costs = carry
        (_, costs), gradient = jax.value_and_grad(total, has_aux=True)(units)
        better = costs < best_costs
        best = jnp.where(better[:, None, None], units, best)
        first, second = moments
        first = FIRST * first + (1 - FIRST) * gradient
        second = SECOND * second + (1 - SECOND) * jnp.square(gradient)
        mean, scale = first / (1 - FIRST**count), jnp.sqrt(second / (1 - SECOND**count))
        units = to_units(to_actions(units - learning_rate * mean / (scale + 1e-8)))
        best_costs = jnp.where(better, costs, best_costs)
        return (units, (first, second), best, best_costs), costs.min()

    shape = num_samples, horizon, action_size
    noise = std * jax.random.normal(key, shape).at[0].set(0.0)
    units = to_units(to_actions(noise))
    zeros = jnp.zeros_like(units)
    first = units, (zeros, zeros), units, jnp.full(num_samples, jnp.inf)
    last, costs = jax.lax.scan(improve, first, jnp.arange(1.0, iterations + 1))
    best = to_actions(last[2])[last[3].argmin()]
    return Plan(best, jnp.zeros_like(best), costs)
