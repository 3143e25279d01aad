"""A trained world model as something to use: encode, imagine, plan, in the units of its world."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, UInt8

from lejepa_jax.training.networks import Network, Variables
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.dynamics import dynamics_of, in_units
from lejepa_jax.worldmodels.environments.policies import Policy
from lejepa_jax.worldmodels.environments.protocol import Environment
from lejepa_jax.worldmodels.evaluation.acting import model_agent, model_policy
from lejepa_jax.worldmodels.planning.agents import LatentAgent
from lejepa_jax.worldmodels.trajectories.episodes import ActionScale


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedWorldModel:
    """A world model with its variables; `encode` and `imagine` are pure: jit them, map them.

    Actions are those of the environment, in its own units; k of them, one after the other, are a
    block.

    Attributes:
        config: How it was trained, and how it plans by default.
        net: The network as pure functions.
        variables: Its parameters and state.
        scale: Mean and standard deviation of the actions it was trained on.
        provenance: Where it is from.
    """

    config: WorldModelConfig
    net: Network
    variables: Variables
    scale: ActionScale
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def block(self) -> int:
        """Actions k of a block."""
        return self.config.action_block

    def encode(self, frames: UInt8[ArrayLike, "b h w c"]) -> Float[Array, "b d"]:
        """Encode frames; those of another size are resized.

        Args:
            frames: Pixels from 0 to 255.

        Returns:
            Their latents.
        """
        return dynamics_of(self.config, self.net).encode(self.variables, jnp.asarray(frames))

    def imagine(
        self,
        latents: Float[ArrayLike, "t d"],
        actions: Float[ArrayLike, "n h ka"],
        *,
        past: Float[ArrayLike, "u ka"] | None = None,
    ) -> Float[Array, "n h d"]:
        """Imagine where plans lead.

        Args:
            latents: What was seen, the newest last; one is enough.
            actions: n plans of h blocks.
            past: Blocks that were done between what was seen, one less; needed for more than one.

        Returns:
            The latent after each block.

        Raises:
            ValueError: If there is not one block between every two latents.
        """
        seen, plans = jnp.asarray(latents), jnp.asarray(actions)
        done = jnp.zeros((0, plans.shape[-1])) if past is None else jnp.asarray(past)
        units = functools.partial(in_units, self.scale, self.block)
        dynamics = dynamics_of(self.config, self.net)
        return dynamics.imagine(self.variables, seen, units(done), units(plans))

    def agent(
        self,
        *,
        low: Float[ArrayLike, "a"] | float = -np.inf,
        high: Float[ArrayLike, "a"] | float = np.inf,
        **options: Any,
    ) -> LatentAgent:
        """Make an agent that plans in the latents, see `LatentAgent`.

        Args:
            low: Lower bounds of an action; plans also stay within three standard deviations of the
                training actions.
            high: Upper bounds.
            **options: Fields of the configuration of the run to replace: `planner`, `horizon`,
                `execute`, `plan_cost`.

        Returns:
            The agent.
        """
        config = dataclasses.replace(self.config, **options)
        bounds = {
            name: np.broadcast_to(np.asarray(bound, np.float32), self.scale.mean.shape)
            for name, bound in {"low": low, "high": high}.items()
        }
        dynamics = dynamics_of(self.config, self.net)
        return model_agent(config, dynamics, self.variables, self.scale, **bounds)

    def policy(self, environment: Environment, **options: Any) -> Policy:
        """Make the policy that plans in an environment of JAX.

        Args:
            environment: The environment.
            **options: As for `agent`.

        Returns:
            The policy, for `evaluate_success`.
        """
        config = dataclasses.replace(self.config, **options)
        dynamics = dynamics_of(self.config, self.net)
        return model_policy(config, dynamics, self.variables, environment, self.scale)
