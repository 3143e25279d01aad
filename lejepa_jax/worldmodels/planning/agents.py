"""Agents that see latents alone, and the same as policies of an environment.

An agent can act in an environment of JAX (:func:`agent_policy`), where whole episodes are one
program, and in one of the host (:mod:`lejepa_jax.worldmodels.planning.host`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive
from lejepa_jax.worldmodels.environments.policies import Policy
from lejepa_jax.worldmodels.environments.protocol import Environment
from lejepa_jax.worldmodels.planning.costs import path_cost
from lejepa_jax.worldmodels.planning.cross_entropy import cem
from lejepa_jax.worldmodels.planning.plans import Planner, shift_plan

#: `frames (b, h, w, c) -> (b, d)`.
Encode = Callable[[Any], Any]
#: `(context latents (t, d), context actions (t - 1, k a), actions (n, h, k a)) -> (n, h, d)`.
Imagine = Callable[[Any, Any, Any], Any]


class LatentAgent(NamedTuple):
    """An agent as pure functions of one episode; actions come in blocks of k, one a model step.

    Attributes:
        name: For tables.
        init: `(latent (d), goal (d)) -> memory`.
        act: `(key, memory) -> (actions (m, a), memory)`.
        observe: `(memory, actions (m, a), latents (m / k, d)) -> memory`, the latents after each
            block.
        block: k, actions of the environment a model step.
        steps: m, actions a decision, a multiple of k.
        growing: After how many decisions the shapes of the memory stay the same.
    """

    name: str
    init: Callable[[Any, Any], Any]
    act: Callable[[PRNGKeyArray, Any], tuple[Float[Array, "m a"], Any]]
    observe: Callable[[Any, Any, Any], Any]
    block: int
    steps: int
    growing: int = 0


class PlannerMemory(NamedTuple):
    """What a planner knows of its episode.

    Attributes:
        latents: Of the last frames, one a block, the newest last.
        actions: Blocks between them.
        goal: Latent of the goal.
        start: Where the next search starts.
    """

    latents: Float[Array, "t d"]
    actions: Float[Array, "_ ka"]
    goal: Float[Array, "d"]
    start: Float[Array, "h ka"]


def latent_planner(
    imagine: Imagine,
    *,
    action_low: Float[ArrayLike, "a"],
    action_high: Float[ArrayLike, "a"],
    planner: Planner = cem,
    cost: Callable[[Any, Any], Any] = path_cost,
    horizon: int = 5,
    block: int = 1,
    execute: int = 1,
    history: int = 1,
    warm_start: bool = True,
    name: str = "planner",
) -> LatentAgent:
    """Plan over a receding horizon: search, execute the first blocks, look, and search again.

    Args:
        imagine: `(context latents (t, d), context actions (t - 1, k a), actions (n, h, k a)) ->
            (n, h, d)`, the predicted latents after each block. Blocks are k actions of the
            environment one after the other, in its own units. t is at most `history`, and less at
            the start of an episode.
        action_low: Lower bounds of one action.
        action_high: Upper bounds of one action.
        planner: The search, with its hyper-parameters bound.
        cost: `(latents (n, h, d), goal (d)) -> (n)`. With `execute=1`, a cost of the last step
            alone may put off the way to the goal at every decision.
        horizon: Blocks h of a plan.
        block: Actions k of a block.
        execute: Blocks that are executed before the next search.
        history: Largest number of latents the model sees.
        warm_start: Start the search from what is left of the last plan, else from the middle of
            the bounds.
        name: For tables.

    Returns:
        The agent.

    Raises:
        ValueError: If a number is not positive, or more blocks are executed than planned.
    """
    numbers = {"block": block, "execute": execute, "history": history, "horizon": horizon}
    for label, value in numbers.items():
        check_positive(label, value)
    if execute > horizon:
        raise ValueError(f"execute must be at most the horizon {horizon}, got {execute}")
    low, high = (
        jnp.tile(jnp.asarray(bound, jnp.float32), block) for bound in (action_low, action_high)
    )
    size, middle = len(low), (low + high) / 2

    def init(latent, goal):
        start = jnp.broadcast_to(middle[None], (horizon, size))
        return PlannerMemory(latent[None], jnp.zeros((0, size)), goal, start)

    def act(key, memory):
        def cost_of(actions):
            return cost(imagine(memory.latents, memory.actions, actions), memory.goal)

        plan = planner(
            key,
            cost_of,
            horizon=horizon,
            action_size=size,
            low=low,
            high=high,
            start=memory.start,
        )
        if warm_start:
            memory = memory._replace(start=shift_plan(plan.actions, execute, fill=middle))
        return plan.actions[:execute].reshape(execute * block, -1), memory

    def observe(memory, actions, latents):
        latents = jnp.concatenate([memory.latents, latents])[-history:]
        actions = jnp.concatenate([memory.actions, actions.reshape(-1, size)])
        return memory._replace(latents=latents, actions=actions[len(actions) - len(latents) + 1 :])

    growing = -(-(history - 1) // execute)
    return LatentAgent(name, init, act, observe, block, execute * block, growing)


def inverse_dynamics_agent(
    inverse: Callable[[Any, Any], Any], *, block: int = 1, name: str = "inverse dynamics"
) -> LatentAgent:
    """Act by inverse dynamics towards the goal: one call of a network in place of a search.

    Args:
        inverse: `(latent (d), goal (d)) -> (k a)`, the block that leads towards the goal, such as
            a network trained on pairs of frames some steps apart.
        block: Actions k of a block.
        name: For tables.

    Returns:
        The agent.
    """
    check_positive("block", block)

    def act(key, memory):
        latent, goal = memory
        return inverse(latent, goal).reshape(block, -1), memory

    return LatentAgent(
        name,
        init=lambda latent, goal: (latent, goal),
        act=act,
        observe=lambda memory, actions, latents: (latents[-1], memory[1]),
        block=block,
        steps=block,
    )


def agent_policy(environment: Environment, encode: Encode, agent: LatentAgent) -> Policy:
    """Let an agent act in an environment of JAX: frames are rendered and encoded on the device.

    Args:
        environment: The environment.
        encode: `frames (b, h, w, c) uint8 -> (b, d)`.
        agent: Who acts.

    Returns:
        A policy for :func:`~lejepa_jax.worldmodels.environments.rollouts.rollout`.
    """

    def look(state):
        return encode(environment.render(state)[None])[0]

    def init(key, state, goal):
        return agent.init(look(state), look(goal))

    def act(key, memory, state, goal):
        return agent.act(key, memory)

    def observe(memory, actions, states):
        ends = jax.tree.map(lambda x: x[agent.block - 1 :: agent.block], states)
        latents = encode(jax.vmap(environment.render)(ends))
        return agent.observe(memory, actions, latents)

    return Policy(agent.name, init, act, observe, agent.steps, agent.growing)


def receding_horizon(
    environment: Environment, encode: Encode, imagine: Imagine, **options: Any
) -> Policy:
    """Plan with an encoder and a predictor in an environment of JAX.

    Args:
        environment: The environment.
        encode: `frames (b, h, w, c) uint8 -> (b, d)`.
        imagine: As for :func:`latent_planner`.
        **options: Those of :func:`latent_planner`; the bounds are the environment's.

    Returns:
        The policy.

    Examples:
        >>> from functools import partial
        >>> from lejepa_jax.worldmodels.environments.rooms import two_room
        >>> world = two_room(image_size=16)
        >>> def encode(frames):  # the disk is the only thing that is red
        ...     red = (frames[..., 0] > frames[..., 1] + 9).astype(jnp.float32)
        ...     grid = (jnp.arange(16.0) + 0.5) / 16
        ...     mass = red.sum((1, 2))
        ...     x, y = (red.sum(1) * grid).sum(1) / mass, (red.sum(2) * grid).sum(1) / mass
        ...     return jnp.stack([x, y], 1)
        >>> def imagine(latents, context, actions):
        ...     return latents[-1][None, None] + 0.05 * jnp.cumsum(actions, 1)
        >>> policy = receding_horizon(world, encode, imagine, planner=partial(cem, iterations=3))
        >>> policy.name, policy.steps
        ('planner', 1)
    """
    agent = latent_planner(
        imagine,
        action_low=environment.action_low,
        action_high=environment.action_high,
        **options,
    )
    return agent_policy(environment, encode, agent)
