"""What a world model is for: goals that are reached by planning in its latents."""

import functools
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lejepa_jax.choices import choose
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch
from lejepa_jax.evaluation.results import Picture, Results
from lejepa_jax.training.networks import Variables
from lejepa_jax.worldmodels.config import PLANNERS, WorldModelConfig
from lejepa_jax.worldmodels.dynamics import Dynamics, in_units
from lejepa_jax.worldmodels.environments.policies import (
    Policy,
    expert_policy,
    random_policy,
    stay_policy,
)
from lejepa_jax.worldmodels.environments.protocol import Environment
from lejepa_jax.worldmodels.planning.agents import LatentAgent, agent_policy, latent_planner
from lejepa_jax.worldmodels.planning.costs import last_step_cost, path_cost
from lejepa_jax.worldmodels.planning.drawing import draw_paths
from lejepa_jax.worldmodels.planning.success import Success, evaluate_success
from lejepa_jax.worldmodels.trajectories.episodes import ActionScale

#: Costs of imagined paths by name.
COSTS = MappingProxyType({"path": path_cost, "last": last_step_cost})
_BATCH = 50  # episodes at once
_SEEN = 3.0  # standard deviations of the training actions within which plans stay


def model_agent(
    config: WorldModelConfig,
    dynamics: Dynamics,
    variables: Variables,
    scale: ActionScale,
    *,
    low: Float[ArrayLike, "a"],
    high: Float[ArrayLike, "a"],
) -> LatentAgent:
    """Make the agent that plans in the latents of a trained model.

    Plans stay where actions were seen: within the bounds of the environment, and within three
    standard deviations of the mean of the training actions.

    Args:
        config: How plans are searched for, and how the model was trained.
        dynamics: The functions of the model.
        variables: Of its network.
        scale: Mean and standard deviation of the actions it was trained on.
        low: Lower bounds of the environment.
        high: Upper bounds.

    Returns:
        The agent.
    """
    units = functools.partial(in_units, scale, config.action_block)

    def imagined(latents: Array, past: Array, actions: Array) -> Array:
        return dynamics.imagine(variables, latents, units(past), units(actions))

    return latent_planner(
        imagined,
        action_low=np.maximum(low, scale.mean - _SEEN * scale.std),
        action_high=np.minimum(high, scale.mean + _SEEN * scale.std),
        planner=choose("planner", config.planner, PLANNERS),
        cost=COSTS[config.plan_cost],
        horizon=config.horizon,
        block=config.action_block,
        execute=config.execute,
        history=dynamics.history,
    )


def model_policy(
    config: WorldModelConfig,
    dynamics: Dynamics,
    variables: Variables,
    environment: Environment,
    scale: ActionScale,
) -> Policy:
    """Make the policy that plans in the latents of a trained model, see :func:`model_agent`.

    Args:
        config: How plans are searched for, and how the model was trained.
        dynamics: The functions of the model.
        variables: Of its network.
        environment: Where it acts.
        scale: Mean and standard deviation of the actions it was trained on.

    Returns:
        The policy.
    """
    bounds = {"low": environment.action_low, "high": environment.action_high}
    agent = model_agent(config, dynamics, variables, scale, **bounds)
    return agent_policy(environment, functools.partial(dynamics.encode, variables), agent)


def evaluate_acting(
    config: WorldModelConfig,
    dynamics: Dynamics,
    environment: Environment,
    key: PRNGKeyArray,
    variables: Mapping[str, Variables],
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> Results:
    """Count how often goals are reached, beside policies that say how hard that is.

    Args:
        config: How plans are searched for.
        dynamics: The functions of the model.
        environment: Where it acts.
        key: Draws starts and goals, the same for every policy.
        variables: Variables by name.
        splits: The data.
        shard_batch: Unused.

    Returns:
        Success by policy and kind of goal, with Wilson's intervals in the details, and the paths.
    """
    del shard_batch
    planner = model_policy(config, dynamics, variables["encoder"], environment, splits.train.scale)
    policies = [planner, random_policy(environment)]
    if environment.stay is not None:
        policies.append(stay_policy(environment))
    if environment.oracle is not None:
        policies.append(expert_policy(environment))
    scores, rows, pictures = {}, {}, []
    for kind, options in goal_kinds(environment).items():
        found = evaluate_success(
            key,
            environment,
            policies,
            episodes=config.plan_episodes,
            factor=config.budget,
            batch_size=_BATCH,
            **options,
        )
        scores[f"success, {kind}"] = {row.policy: row.rate for row in found.rows}
        rows[kind] = success_details(found)
        pictures.append(path_picture(kind, environment, found))
    return Results(scores, {}, {"success": rows}, pictures)


def goal_kinds(environment: Environment) -> dict[str, dict[str, Any]]:
    """Say what kinds of goals there are: where there are rooms, in the same and in another one.

    Args:
        environment: The environment.

    Returns:
        Options of `sample_goal` by name.

    Examples:
        >>> from lejepa_jax.worldmodels.environments.rooms import two_room
        >>> goal_kinds(two_room(image_size=16))
        {'same room': {'where': 'same'}, 'other room': {'where': 'other'}}
    """
    if "where" in inspect.signature(environment.sample_goal).parameters:
        return {"same room": {"where": "same"}, "other room": {"where": "other"}}
    return {"any goal": {}}


def path_picture(kind: str, environment: Environment, found: Success) -> Picture:
    """Draw where the planner went in a few episodes.

    Args:
        kind: Kind of the goals.
        environment: The environment.
        found: The paths.

    Returns:
        The picture.
    """
    draw = functools.partial(
        draw_paths,
        found,
        found.rows[0].policy,
        outline=None if environment.outline is None else np.asarray(environment.outline),
        extent=environment.extent,
    )
    return Picture(f"Paths of the planner, {kind}", draw, success_text(found))


def success_details(found: Success) -> dict[str, Any]:
    """Say what was counted, as JSON can hold it.

    Args:
        found: What was counted.

    Returns:
        Rows of the table, and what was excluded.
    """
    return {
        "already_solved": found.already_solved,
        "unreachable": found.unreachable,
        "policies": [_finite(row._asdict()) for row in found.rows],
    }


def success_text(found: Success) -> str:
    """Say what was counted, in a sentence.

    Args:
        found: What was counted.

    Returns:
        The rates, their intervals, and how many starts were excluded.
    """
    rates = ", ".join(
        f"{row.policy} {100 * row.rate:.0f} % ({100 * row.low:.0f} to {100 * row.high:.0f})"
        for row in found.rows
    )
    return (
        f"Of {found.rows[0].episodes} episodes: {rates}. {found.already_solved} more are left out, "
        "whose start solves the goal."
    )


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
