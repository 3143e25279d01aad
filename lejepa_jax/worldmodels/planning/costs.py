"""Costs of imagined futures: how far their latents are from the goal's."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def last_step_cost(latents: Float[Array, "n h d"], goal: Float[Array, "d"]) -> Float[Array, "n"]:
    r"""Compute the squared distance of the last step, $\sum_d (z_{h,d} - g_d)^2$.

    It does not say when the goal is to be reached: who plans anew at every step may put off the
    way for ever. See :func:`path_cost`.

    Args:
        latents: Imagined latents of n plans.
        goal: Latent of the goal.

    Returns:
        A cost a plan.
    """
    return jnp.square(latents[:, -1] - goal[None]).sum(-1)


def path_cost(latents: Float[Array, "n h d"], goal: Float[Array, "d"]) -> Float[Array, "n"]:
    r"""Compute the squared distance over the imagined path, $\sum_t \sum_d (z_{t,d} - g_d)^2$.

    Args:
        latents: Imagined latents of n plans.
        goal: Latent of the goal.

    Returns:
        A cost a plan.
    """
    return jnp.square(latents - goal[None, None]).sum((-2, -1))
