"""A trained world model as pure functions: what it sees, expects, and is surprised by."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.networks import Network, Variables, network
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.frames import normalize_frames
from lejepa_jax.worldmodels.networks.imagination import imagine
from lejepa_jax.worldmodels.networks.world_model import WorldModel
from lejepa_jax.worldmodels.trajectories.episodes import ActionScale


class Dynamics(NamedTuple):
    """Functions of variables, to be compiled by the caller.

    Attributes:
        encode: `(variables, frames (b, h, w, c) uint8) -> latents (b, d)`.
        imagine: `(variables, context_latents (t, d), context_actions (t - 1, a),
            actions (n, h, a)) -> (n, h, d)`, blocks of actions z-scored.
        predict: `(variables, latents (b, n, d), actions (b, n, a)) -> (b, n, d)`, at most
            `history` of them.
        history: Latents that the predictor looks back at most.
    """

    encode: Callable[[Variables, Any], Array]
    imagine: Callable[[Variables, Any, Any, Any], Array]
    predict: Callable[[Variables, Any, Any], Array]
    history: int


def world_model_network(
    config: WorldModelConfig,
    *,
    action_features: int,
    in_channels: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Network:
    """Make the network of a configuration, as pure functions.

    Args:
        config: What is trained.
        action_features: Numbers in a block of actions.
        in_channels: Channels of the frames.
        dtype: Type in which it computes.
        axis_name: Mapped axis over which batches are sharded.

    Returns:
        A `WorldModel`.
    """
    make = functools.partial(
        WorldModel,
        config.sizes,
        action_features=action_features,
        image_size=config.image_size,
        in_channels=in_channels,
        inverse=config.inverse_weight > 0,
        dtype=dtype,
        axis_name=axis_name,
    )
    return network(lambda key: make(rngs=nnx.Rngs(key)))


def dynamics_of(config: WorldModelConfig, net: Network) -> Dynamics:
    """Make the functions of a network.

    Args:
        config: How it is trained.
        net: A `WorldModel` as pure functions.

    Returns:
        The functions, in evaluation: BatchNorm has its running statistics, nothing is dropped.
    """
    look = functools.partial(
        normalize_frames, image_size=config.image_size, mean=config.mean, std=config.std
    )
    history = config.sizes.history

    def encode(variables: Variables, frames: Array) -> Array:
        return net.merge(*variables).latents(look(frames))

    def predict(variables: Variables, latents: Array, actions: Array) -> Array:
        return net.merge(*variables).predictor(latents, actions)

    def roll(variables: Variables, latents: Array, past: Array, actions: Array) -> Array:
        # Made inside: a module must not be carried from one trace into another.
        step = functools.partial(predict, variables)
        return imagine(step, latents, past, actions, history=history)

    return Dynamics(encode, roll, predict, history)


def in_units(
    scale: ActionScale, block: int, actions: Float[Array, "*b ka"]
) -> Float[Array, "*b ka"]:
    """Z-score blocks of actions in the units of the environment.

    Args:
        scale: Mean and standard deviation of an action.
        block: Actions of a block.
        actions: The blocks.

    Returns:
        What the predictor wants.
    """
    mean, std = (jnp.tile(jnp.asarray(x, jnp.float32), block) for x in scale)
    shape = (1,) * (actions.ndim - 1) + mean.shape
    return (actions - mean.reshape(shape)) / std.reshape(shape)


def surprise(
    dynamics: Dynamics,
    variables: Variables,
    latents: Float[Array, "b t d"],
    actions: Float[Array, "b u a"],
) -> Float[Array, "b u"]:
    """Compute how far each latent is from what was expected one step before.

    Args:
        dynamics: The functions of the model.
        variables: Of its network.
        latents: Latents of paths.
        actions: What was done between them, one less.

    Returns:
        The squared error, mean over dimensions.

    References:
        LeWorldModel, arXiv 2603.19312, 2026 (violation of expectation).
    """
    found = []
    for step in range(actions.shape[1]):
        first = max(0, step + 1 - dynamics.history)
        window = slice(first, step + 1)
        ahead = dynamics.predict(variables, latents[:, window], actions[:, window])[:, -1]
        found.append(jnp.square(ahead - latents[:, step + 1]).mean(-1))
    return jnp.stack(found, 1)


def shuffled_plans(actions: Float[Array, "b u a"]) -> Float[Array, "b u a"]:
    """Give each window the actions of the one half a batch away."""
    return jnp.roll(actions, len(actions) // 2, axis=0)


def rollout_errors(
    dynamics: Dynamics,
    variables: Variables,
    latents: Float[Array, "b t d"],
    actions: Float[Array, "b u a"],
) -> Float[Array, "b u"]:
    """Compute the error of imagined paths from the first latent, by how far ahead it is.

    Args:
        dynamics: The functions of the model.
        variables: Of its network.
        latents: Latents of windows.
        actions: What is done.

    Returns:
        The squared error, mean over dimensions.
    """
    none = jnp.zeros((0, actions.shape[-1]), actions.dtype)

    def one(path: Array, plan: Array) -> Array:
        return dynamics.imagine(variables, path[:1], none, plan[None])[0]

    return jnp.square(jax.vmap(one)(latents, actions) - latents[:, 1:]).mean(-1)
