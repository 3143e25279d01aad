"""What a predictor expects of a plan: its own predictions, fed back to it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

#: Maps latents (b, n, d) and actions taken there (b, n, a) to the latents that follow (b, n, d).
Predict = Callable[[Array, Array], Array]


def imagine(
    predict: Predict,
    context_latents: Float[Array, "t d"],
    context_actions: Float[Array, "past a"],
    actions: Float[Array, "n h a"],
    *,
    history: int = 3,
) -> Float[Array, "n h d"]:
    r"""Roll a predictor out over plans, from what was seen so far.

    .. math:: \hat z_{i + 1} = f(\hat z_{i - c + 1}, \dots, \hat z_i; a_{i - c + 1}, \dots, a_i)

    with :math:`c` at most `history`: where latents were seen they are taken, and predictions after
    them.

    Args:
        predict: The predictor; the last of its predictions is used.
        context_latents: What was seen, the newest last.
        context_actions: What was done between them, one less.
        actions: Plans, for the time after the newest latent.
        history: Latents that the predictor looks back at most.

    Returns:
        The latents that each plan leads to.

    Raises:
        ValueError: If there is not one action between every two latents.

    Examples:
        >>> def drift(latents, actions):
        ...     return latents + actions
        >>> plans = jnp.array([[[1.0], [1.0]], [[2.0], [-1.0]]])
        >>> imagine(drift, jnp.zeros((1, 1)), jnp.zeros((0, 1)), plans)[..., 0].tolist()
        [[1.0, 2.0], [2.0, 1.0]]
    """
    if len(context_actions) != len(context_latents) - 1:
        raise ValueError(
            f"context_actions must be one less than the {len(context_latents)} context_latents, "
            f"got {len(context_actions)}"
        )
    plans, horizon = actions.shape[:2]

    def repeat(rows: Array) -> Array:
        return jnp.broadcast_to(rows[None], (plans, *rows.shape))

    latents = repeat(context_latents[-history:])
    past = repeat(context_actions[len(context_actions) - latents.shape[1] + 1 :])
    found = []
    # Until the context is full it grows, and each length is a program of its own.
    while latents.shape[1] < history and len(found) < horizon:
        past = jnp.concatenate([past, actions[:, len(found), None]], 1)
        found.append(predict(latents, past)[:, -1])
        latents = jnp.concatenate([latents, found[-1][:, None]], 1)

    def step(carry: tuple[Array, Array], action: Array) -> tuple[tuple[Array, Array], Array]:
        latents, past = carry
        done = jnp.concatenate([past, action[:, None]], 1)
        ahead = predict(latents, done)[:, -1]
        return (jnp.concatenate([latents[:, 1:], ahead[:, None]], 1), done[:, 1:]), ahead

    first = jnp.stack(found, 1) if found else None
    if len(found) == horizon and first is not None:
        return first
    rest = jnp.swapaxes(actions[:, len(found) :], 0, 1)
    later = jnp.swapaxes(jax.lax.scan(step, (latents, past), rest)[1], 0, 1)
    return later if first is None else jnp.concatenate([first, later], 1)
