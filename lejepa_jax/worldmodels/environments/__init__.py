"""Environments as pure functions: two rooms, and what one of your own must have."""

from lejepa_jax.worldmodels.environments.points import PointState, point_world
from lejepa_jax.worldmodels.environments.protocol import Environment, episode_keys
from lejepa_jax.worldmodels.environments.rooms import two_room

__all__ = ["Environment", "PointState", "episode_keys", "point_world", "two_room"]
