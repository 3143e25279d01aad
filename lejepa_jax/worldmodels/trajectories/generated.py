"""Trajectories that are made here, in an environment of JAX: no files are needed."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import numpy as np

from lejepa_jax.choices import choose
from lejepa_jax.worldmodels.environments.mazes import point_maze
from lejepa_jax.worldmodels.environments.policies import expert_policy, smooth_random_policy
from lejepa_jax.worldmodels.environments.protocol import Environment
from lejepa_jax.worldmodels.environments.rollouts import collect
from lejepa_jax.worldmodels.environments.rooms import two_room
from lejepa_jax.worldmodels.trajectories.episodes import Trajectories, digest_of

#: Environments by name, with hyphens for underscores in what a person writes.
ENVIRONMENTS: Mapping[str, Callable[..., Environment]] = MappingProxyType(
    {"two_room": two_room, "point_maze": point_maze}
)
_KEY = 2603  # the same episodes on every machine and in every run


def environment_by_name(text: str) -> Environment:
    """Find the environment that a line of text asks for.

    Args:
        text: `two-room` or `point-maze`, alone or called with options that are literals:
            `two-room(background='episode')`.

    Returns:
        The environment.

    Raises:
        ValueError: If there is no such name or option.

    Examples:
        >>> environment_by_name("two-room(image_size=32)").name
        'two-room'
    """
    head, bracket, rest = text.partition("(")
    return choose("environment", head.replace("-", "_") + bracket + rest, ENVIRONMENTS)()


def is_environment(name: str) -> bool:
    """Say whether the name of a data set is that of an environment.

    Examples:
        >>> is_environment("two-room(image_size=32)"), is_environment("npz:two-room")
        (True, False)
    """
    return name.partition("(")[0].replace("-", "_") in ENVIRONMENTS


def generate_trajectories(
    environment: Environment, *, episodes: int, steps: int, noise: float = 0.5
) -> Trajectories:
    """Collect episodes, the same on every call.

    In half of them an expert wanders from goal to goal, with noise in its actions; half of them are
    smooth random walks.

    Args:
        environment: The environment.
        episodes: How many.
        steps: Frames of each.
        noise: Standard deviation of the expert's noise, in units of half the range of the actions.

    Returns:
        The trajectories. The action behind the last frame of an episode is NaN.

    Raises:
        ValueError: If there are fewer than two episodes or frames.
    """
    if episodes < 2:
        raise ValueError(f"episodes must be at least 2, got {episodes}")
    policies = (
        smooth_random_policy(environment),
        expert_policy(environment, noise=noise, wander=True),
    )
    counts = episodes // 2, episodes - episodes // 2
    parts = [
        collect(
            jax.random.fold_in(jax.random.key(_KEY), number),
            environment,
            policy,
            episodes=count,
            steps=steps,
        )
        for number, (policy, count) in enumerate(zip(policies, counts, strict=True))
    ]
    frames, actions, vectors = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    end = np.full((episodes, 1, actions.shape[-1]), np.nan, np.float32)
    found = Trajectories(
        frames=frames.reshape(-1, *frames.shape[2:]),
        actions=np.concatenate([actions, end], 1).reshape(-1, actions.shape[-1]),
        episode_ends=steps * np.arange(1, episodes + 1),
        states=vectors.reshape(-1, vectors.shape[-1]).astype(np.float32),
        state_names=environment.vector_names,
    )
    return dataclasses.replace(found, version=digest_of(found))
