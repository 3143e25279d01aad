"""Environments as pure functions, policies that act in them, and episodes to learn from."""

from lejepa_jax.worldmodels.environments.gymnasium_adapter import GymnasiumEnvironment
from lejepa_jax.worldmodels.environments.host import HostEnvironment
from lejepa_jax.worldmodels.environments.mazes import MAZES, point_maze, random_maze
from lejepa_jax.worldmodels.environments.points import PointState, point_world
from lejepa_jax.worldmodels.environments.policies import (
    Policy,
    expert_policy,
    random_policy,
    smooth_random_policy,
    stay_policy,
)
from lejepa_jax.worldmodels.environments.protocol import Environment, episode_keys
from lejepa_jax.worldmodels.environments.pusht import PushT
from lejepa_jax.worldmodels.environments.rollouts import Collected, Rollout, collect, rollout
from lejepa_jax.worldmodels.environments.rooms import two_room

__all__ = [
    "MAZES",
    "Collected",
    "Environment",
    "GymnasiumEnvironment",
    "HostEnvironment",
    "PointState",
    "Policy",
    "PushT",
    "Rollout",
    "collect",
    "episode_keys",
    "expert_policy",
    "point_maze",
    "point_world",
    "random_maze",
    "random_policy",
    "rollout",
    "smooth_random_policy",
    "stay_policy",
    "two_room",
]
