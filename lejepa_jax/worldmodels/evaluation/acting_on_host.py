"""Goals that are reached by planning in a simulator of the host, beside replays of recordings."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, PRNGKeyArray, UInt8

from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch
from lejepa_jax.evaluation.results import Picture, Results
from lejepa_jax.training.networks import Variables
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.dynamics import Dynamics
from lejepa_jax.worldmodels.environments.host import HostEnvironment
from lejepa_jax.worldmodels.evaluation.acting import model_agent, success_details, success_text
from lejepa_jax.worldmodels.evaluation.pictures import draw_ends
from lejepa_jax.worldmodels.planning.host import evaluate_on_host
from lejepa_jax.worldmodels.planning.success import Success
from lejepa_jax.worldmodels.trajectories.episodes import Trajectories
from lejepa_jax.worldmodels.trajectories.windows import TrajectoryWindows

# Simulators in step, and episodes that are drawn.
_BATCH, _DRAWN = 50, 6
# Share of the recorded actions that must be within the bounds of the environment.
_WITHIN = 0.9


def check_units(environment: HostEnvironment, trajectories: Trajectories) -> None:
    """Refuse recordings that cannot be of an environment, before anything is trained.

    Args:
        environment: Where plans are to be made.
        trajectories: The recordings.

    Raises:
        ValueError: If there are no states, they are too short, or the actions are in other units.
    """
    size = len(environment.vector())
    known = 0 if trajectories.states is None else trajectories.states.shape[1]
    if known < size:
        raise ValueError(
            f"states must hold the {size} numbers of a state of {environment.name}, got {known}; "
            "--task.plan-episodes 0 trains without planning"
        )
    actions = trajectories.actions[np.isfinite(trajectories.actions).all(1)]
    low, high = environment.action_low, environment.action_high
    if actions.shape[1] != len(low):
        raise ValueError(
            f"actions of {environment.name} must have {len(low)} numbers, got {actions.shape[1]}"
        )
    within = float(((low <= actions) & (actions <= high)).all(1).mean())
    # Targets in pixels may all be far outside of [-1, 1]; relative ones are half of them negative.
    if within < _WITHIN:
        raise ValueError(
            f"actions must be in the units of {environment.name}, from {low.tolist()} to "
            f"{high.tolist()}, but only {100 * within:.0f} % of the recorded ones are: for "
            "recorded target positions, give --task.action-unit, or an environment that takes them"
        )


def recorded_trials(
    source: TrajectoryWindows, *, steps: int, episodes: int
) -> tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"]]:
    """Choose starts and goals in the episodes of a source, evenly spread over all there are.

    Args:
        source: The recordings.
        steps: Steps from a start to its goal.
        episodes: How many, at most.

    Returns:
        Positions of the starts, and of the goals.

    Raises:
        ValueError: If no episode is long enough.
    """
    pairs = TrajectoryWindows(
        source.trajectories,
        source.episodes,
        num_frames=2,
        action_block=steps,
        scale=source.scale,
    ).starts
    starts = pairs[np.unique(np.linspace(0, len(pairs) - 1, episodes).astype(int))]
    return starts, starts + steps


def evaluate_acting_on_host(
    config: WorldModelConfig,
    dynamics: Dynamics,
    make: Callable[[], HostEnvironment],
    key: PRNGKeyArray,
    variables: Mapping[str, Variables],
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> Results:
    """Count how often a planner reaches what was recorded some steps later in held-out episodes.

    Beside it are acting at random, staying, and as the oracle a replay of the recorded actions,
    which also says whether actions are in the units of the environment.

    Args:
        config: How plans are searched for.
        dynamics: The functions of the model.
        make: Makes the environment, once for every episode in step.
        key: Random key of the planner and of the random policy.
        variables: Variables by name.
        splits: The data.
        shard_batch: Unused.

    Returns:
        Success by policy, with Wilson's intervals in the details, and a picture.
    """
    del shard_batch
    found, steps = splits.test.trajectories, config.goal_steps
    starts, goals = recorded_trials(splits.test, steps=steps, episodes=config.plan_episodes)
    environments = [make() for _ in range(min(_BATCH, len(starts)))]
    world, own = environments[0], variables["encoder"]
    size = len(world.vector())
    agent = model_agent(
        config, dynamics, own, splits.train.scale, low=world.action_low, high=world.action_high
    )
    success = evaluate_on_host(
        key,
        environments,
        [agent],
        functools.partial(dynamics.encode, own),
        found.states[starts, :size],
        found.states[goals, :size],
        budget=int(np.ceil(config.budget * steps)),
        goal_frames=found.frames[goals],
        replays={"oracle": found.actions[starts[:, None] + np.arange(steps)]},
    )
    kind = f"goal {steps} steps ahead"
    frames = {"start": found.frames[starts[:_DRAWN]], "goal": found.frames[goals[:_DRAWN]]}
    frames["end"] = end_frames(world, success, agent.name, _DRAWN)
    picture = Picture(
        f"Where plans end, {kind}", functools.partial(draw_ends, frames), success_text(success)
    )
    scores = {f"success, {kind}": {row.policy: row.rate for row in success.rows}}
    details: dict[str, Any] = {"success": {kind: success_details(success)}}
    return Results(scores, {}, details, [picture])


def end_frames(
    environment: HostEnvironment, found: Success, policy: str, count: int
) -> UInt8[np.ndarray, "e h w c"]:
    """Render where episodes end: where the goal was reached, or at the end of the budget.

    Args:
        environment: What renders.
        found: The paths.
        policy: Whose.
        count: How many, at most.

    Returns:
        The frames.
    """
    paths, frames = found.paths[policy], []
    for episode in range(min(count, len(found.goals))):
        solved = int(paths.solved_at[episode])
        state: Float[np.ndarray, " s"] = paths.vectors[episode, solved]  # -1 is the last one
        environment.set_state(state)
        frames.append(environment.render())
    return np.stack(frames)
