"""Model predictive path integral control: plans averaged by the exponential of their cost."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive
from lejepa_jax.worldmodels.planning.plans import Cost, Plan, make_box


def mppi(
    key: PRNGKeyArray,
    cost: Cost,
    *,
    horizon: int,
    action_size: int,
    low: Float[ArrayLike, "#a"] | float,
    high: Float[ArrayLike, "#a"] | float,
    num_samples: int = 200,
    iterations: int = 20,
    temperature: float = 0.1,
    std: float = 0.5,
    decay: float = 0.9,
    start: Float[Array, "h a"] | None = None,
) -> Plan:
    r"""Plan by path integrals.

    $\mu \leftarrow \sum_i w_i u_i$ over plans $u_i \sim N(\mu, \sigma^2)$ clipped to the bounds,
    with $w_i \propto \exp(-c_i / (\lambda s))$. Departures from the paper: the temperature is in
    units of the standard deviation s of the costs, so that it does not depend on the scale of the
    latents, and $\sigma$ shrinks from one iteration to the next.

    Args:
        key: Random key.
        cost: `actions (n, h, a) -> (n)`.
        horizon: Number of actions h.
        action_size: a.
        low: Lower bounds.
        high: Upper bounds.
        num_samples: Plans an iteration n.
        iterations: Number of iterations.
        temperature: $\lambda$; the lower, the fewer plans count.
        std: $\sigma$ of the first iteration, in units of half the range.
        decay: Factor on it after each iteration.
        start: First $\mu$; the middle of the bounds if there is none.

    Returns:
        The last $\mu$.

    Raises:
        ValueError: If a number is not positive.

    References:
        Williams et al., "Information Theoretic MPC for Model-Based Reinforcement Learning", 2017,
        Algorithm 2.
    """
    box = make_box(
        horizon, action_size, low, high, start, samples=num_samples, iterations=iterations
    )
    check_positive("temperature", temperature)

    def improve(carry, key):
        mean, deviation = carry
        noise = jax.random.normal(key, (num_samples, horizon, action_size)).at[0].set(0.0)
        plans = jnp.clip(mean[None] + noise * deviation[None], box.low[None], box.high[None])
        costs = cost(plans)
        spread = jnp.maximum(costs.std(), 1e-12)
        weights = jax.nn.softmax(-(costs - costs.min()) / (temperature * spread))
        mean = jnp.einsum("n,nha->ha", weights, plans)
        return (mean, decay * deviation), costs.min()

    first = box.start, jnp.broadcast_to(std * box.half, box.start.shape)
    (mean, deviation), costs = jax.lax.scan(improve, first, jax.random.split(key, iterations))
    return Plan(mean, deviation, costs)
