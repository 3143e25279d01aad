"""Recorded episodes as a source of examples: windows, readers by name, hold-out by episode."""

from lejepa_jax.worldmodels.trajectories.episodes import (
    ActionScale,
    Frames,
    Trajectories,
    action_scale,
    digest_of,
    relative_actions,
)
from lejepa_jax.worldmodels.trajectories.generated import (
    ENVIRONMENTS,
    environment_by_name,
    generate_trajectories,
    is_environment,
)
from lejepa_jax.worldmodels.trajectories.loading import (
    READERS,
    TrajectoryReader,
    read_trajectories,
    split_episodes,
    split_windows,
)
from lejepa_jax.worldmodels.trajectories.replays import replay_with_noise
from lejepa_jax.worldmodels.trajectories.windows import FrameRows, TrajectoryWindows

__all__ = [
    "ENVIRONMENTS",
    "READERS",
    "ActionScale",
    "FrameRows",
    "Frames",
    "Trajectories",
    "TrajectoryReader",
    "TrajectoryWindows",
    "action_scale",
    "digest_of",
    "environment_by_name",
    "generate_trajectories",
    "is_environment",
    "read_trajectories",
    "relative_actions",
    "replay_with_noise",
    "split_episodes",
    "split_windows",
]
