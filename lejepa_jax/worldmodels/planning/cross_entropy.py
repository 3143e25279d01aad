"""The cross-entropy method, and its variant with smooth noise and elites that are kept."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lejepa_jax.worldmodels.planning.plans import Cost, Plan, make_box


def _check_elites(elites: int, num_samples: int) -> None:
    if not 1 <= elites <= num_samples:
        raise ValueError(f"elites must be within 1 and num_samples {num_samples}, got {elites}")


def cem(
    key: PRNGKeyArray,
    cost: Cost,
    *,
    horizon: int,
    action_size: int,
    low: Float[ArrayLike, "#a"] | float,
    high: Float[ArrayLike, "#a"] | float,
    num_samples: int = 300,
    iterations: int = 10,
    elites: int = 30,
    std: float = 1.0,
    min_std: float = 0.0,
    start: Float[Array, "h a"] | None = None,
) -> Plan:
    r"""Plan by the cross-entropy method.

    Each iteration draws plans from $N(\mu, \operatorname{diag} \sigma^2)$ clipped to the bounds,
    the first of them $\mu$ itself, and refits $\mu$ and $\sigma$ to those of lowest cost.

    Args:
        key: Random key.
        cost: `actions (n, h, a) -> (n)`.
        horizon: Number of actions h.
        action_size: a.
        low: Lower bounds.
        high: Upper bounds.
        num_samples: Plans an iteration n.
        iterations: Number of iterations.
        elites: How many plans the next ones are fitted to.
        std: First standard deviation, in units of half the range.
        min_std: Lower bound of it, in the same units.
        start: First $\mu$, such as the shifted plan of the last decision; the middle of the bounds
            if there is none.

    Returns:
        The last $\mu$.

    Raises:
        ValueError: If a number is not positive, or there are more elites than samples.

    Examples:
        >>> goal = jnp.array([0.5, -0.25])
        >>> def cost(actions):
        ...     return jnp.square(actions - goal[None, None]).sum((1, 2))
        >>> plan = cem(jax.random.key(0), cost, horizon=3, action_size=2, low=-1, high=1)
        >>> bool(jnp.allclose(plan.actions, goal[None], atol=0.01))
        True

    References:
        Rubinstein, "The Cross-Entropy Method for Combinatorial and Continuous Optimization", 1999.
    """
    box = make_box(
        horizon, action_size, low, high, start, samples=num_samples, iterations=iterations
    )
    _check_elites(elites, num_samples)

    def improve(carry, key):
        mean, deviation = carry
        noise = jax.random.normal(key, (num_samples, horizon, action_size))
        # The first sample is the mean itself.
        noise = noise.at[0].set(0.0)
        plans = jnp.clip(mean[None] + noise * deviation[None], box.low[None], box.high[None])
        costs = cost(plans)
        best = plans[jax.lax.top_k(-costs, elites)[1]]
        deviation = jnp.maximum(best.std(0), min_std * box.half)
        return (best.mean(0), deviation), costs.min()

    first = box.start, jnp.broadcast_to(std * box.half, box.start.shape)
    (mean, deviation), costs = jax.lax.scan(improve, first, jax.random.split(key, iterations))
    return Plan(mean, deviation, costs)


def colored_basis(horizon: int, exponent: float) -> Float[np.ndarray, "h k"]:
    r"""Compute the matrix that turns independent normal numbers into noise of a power law.

    Its power falls as $f^{-\beta}$ with the frequency f, the mean having that of the lowest one,
    and each step has variance one.

    Args:
        horizon: Number of steps.
        exponent: $\beta$; 0 is white noise.

    Returns:
        The matrix, to be multiplied by k = 2 (h // 2 + 1) numbers.

    References:
        Timmer and König, "On generating power law noise", 1995.
    """
    frequencies = np.fft.rfftfreq(horizon)
    frequencies[0] = 1 / horizon
    scale = frequencies ** (-exponent / 2)
    waves = np.eye(len(scale)) * scale[None]
    basis = np.concatenate([np.fft.irfft(waves, horizon), np.fft.irfft(1j * waves, horizon)]).T
    return (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32)


def icem(
    key: PRNGKeyArray,
    cost: Cost,
    *,
    horizon: int,
    action_size: int,
    low: Float[ArrayLike, "#a"] | float,
    high: Float[ArrayLike, "#a"] | float,
    num_samples: int = 100,
    iterations: int = 5,
    elites: int = 10,
    kept: int = 3,
    exponent: float = 2.0,
    std: float = 1.0,
    momentum: float = 0.1,
    start: Float[Array, "h a"] | None = None,
) -> Plan:
    r"""Plan by the improved cross-entropy method: fewer samples, because they are smooth.

    As :func:`cem`, with noise along the plan whose power falls as $f^{-\beta}$, the best plans
    kept for the next iteration, a momentum on mean and deviation, and the best plan ever seen
    returned. Departures from the paper: the number of samples does not shrink, so that shapes stay
    the same, and elites are not carried from one decision to the next beyond `start`.

    Args:
        key: Random key.
        cost: `actions (n, h, a) -> (n)`.
        horizon: Number of actions h.
        action_size: a.
        low: Lower bounds.
        high: Upper bounds.
        num_samples: New plans an iteration.
        iterations: Number of iterations.
        elites: How many plans the next ones are fitted to.
        kept: How many of them compete again in the next iteration.
        exponent: $\beta$; 0 is white noise, and larger is smoother.
        std: First standard deviation, in units of half the range.
        momentum: Share of the old mean and deviation in the new ones.
        start: First mean; the middle of the bounds if there is none.

    Returns:
        The best plan seen.

    Raises:
        ValueError: If a number is not positive, or there are more elites than samples.

    References:
        Pinneri et al., "Sample-efficient Cross-Entropy Method for Real-time Planning",
        arXiv:2008.06389, Algorithm 1.
    """
    box = make_box(
        horizon, action_size, low, high, start, samples=num_samples, iterations=iterations
    )
    _check_elites(elites, num_samples)
    if not 1 <= kept <= elites:
        raise ValueError(f"kept must be within 1 and elites {elites}, got {kept}")
    basis = jnp.asarray(colored_basis(horizon, exponent))

    def improve(carry, key):
        mean, deviation, old, old_costs = carry
        white = jax.random.normal(key, (num_samples, basis.shape[1], action_size))
        noise = jnp.einsum("hk,nka->nha", basis, white).at[0].set(0.0)
        plans = jnp.clip(mean[None] + noise * deviation[None], box.low[None], box.high[None])
        plans = jnp.concatenate([old, plans])
        costs = jnp.concatenate([old_costs, cost(plans[kept:])])
        values, order = jax.lax.top_k(-costs, elites)
        best = plans[order]
        mean = momentum * mean + (1 - momentum) * best.mean(0)
        deviation = momentum * deviation + (1 - momentum) * best.std(0)
        return (mean, deviation, best[:kept], -values[:kept]), -values[0]

    first = (
        box.start,
        jnp.broadcast_to(std * box.half, box.start.shape),
        jnp.broadcast_to(box.start[None], (kept, *box.start.shape)),
        jnp.full(kept, jnp.inf),
    )
    last, costs = jax.lax.scan(improve, first, jax.random.split(key, iterations))
    return Plan(last[2][0], last[1], costs)
