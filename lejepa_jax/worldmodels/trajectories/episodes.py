"""Recorded episodes, one after the other: what a robot or a game saw, and what was done."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Int64, UInt8


@runtime_checkable
class Frames(Protocol):
    """Frames by position, in memory (a NumPy array) or read when they are asked for.

    Attributes:
        shape: Number of frames, height, width, channels.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of frames, height, width, channels."""
        ...

    def __getitem__(self, indices: Any, /) -> UInt8[np.ndarray, "n h w c"]:
        """Return the frames at an array of positions, in its order."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trajectories:
    """Episodes laid end to end, as one array of each kind.

    Action `i` is what was done at frame `i` and leads to frame `i + 1`. That of the last frame of
    an episode leads to none that was recorded, and is never used: it may be NaN.

    Attributes:
        frames: The frames (n, h, w, c), uint8, gray or RGB.
        actions: The actions (n, a).
        episode_ends: Where each episode ends, exclusive and ascending.
        states: What is known of the world beside the frames (n, s), for probes; or None.
        state_names: A name for each of its columns.
        groups: Number of what each episode is of, where some are replays of others: episodes of one
            group are trained on, or held out, together. By default each is of its own.
        version: What identifies the data, by which a resumed run finds that they have changed.

    Raises:
        ValueError: If shapes, ends and names do not fit together.

    Examples:
        >>> found = Trajectories(frames=np.zeros((5, 4, 4, 1), np.uint8),
        ...     actions=np.zeros((5, 2), np.float32), episode_ends=np.array([3, 5]))
        >>> found.num_episodes, found.bounds(1)
        (2, (3, 5))
    """

    frames: Any
    actions: Float[np.ndarray, "n a"]
    episode_ends: Int[np.ndarray, " e"]
    states: Float[np.ndarray, "n s"] | None = None
    state_names: Sequence[str] = ()
    groups: Int[np.ndarray, " e"] | None = None
    version: str = ""

    def __post_init__(self):
        shape, count = self.frames.shape, len(self.actions)
        if len(shape) != 4 or shape[-1] not in (1, 3):
            raise ValueError(f"frames must be (n, h, w, c) with 1 or 3 channels, got {shape}")
        if isinstance(self.frames, np.ndarray) and self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8, from 0 to 255, got {self.frames.dtype}")
        if shape[0] != count:
            raise ValueError(f"actions must be one a frame ({shape[0]}), got {count}")
        if self.actions.shape[1] < 1:
            raise ValueError("actions must have at least one number, got 0")
        ends = np.asarray(self.episode_ends)
        if not len(ends) or ends[-1] != count or (np.diff(ends, prepend=0) < 1).any():
            raise ValueError(
                f"episode_ends must ascend to the number of frames ({count}), none empty, got "
                f"{ends[:3].tolist()} ... {ends[-1:].tolist()}"
            )
        if self.states is not None and len(self.states) != count:
            raise ValueError(f"states must be one a frame ({count}), got {len(self.states)}")
        if self.groups is not None and len(self.groups) != len(ends):
            raise ValueError(f"groups must be one an episode ({len(ends)}), got {len(self.groups)}")
        columns = 0 if self.states is None else self.states.shape[1]
        if self.state_names and len(self.state_names) != columns:
            raise ValueError(
                f"state_names must name the {columns} columns of states, "
                f"got {len(self.state_names)}"
            )

    @property
    def num_episodes(self) -> int:
        """How many episodes there are."""
        return len(self.episode_ends)

    @property
    def episode_groups(self) -> Int64[np.ndarray, " e"]:
        """The group of each episode."""
        if self.groups is None:
            return np.arange(self.num_episodes)
        return np.asarray(self.groups, np.int64)

    def bounds(self, episode: int) -> tuple[int, int]:
        """Position of the first frame of an episode, and of the one after its last."""
        start = int(self.episode_ends[episode - 1]) if episode else 0
        return start, int(self.episode_ends[episode])

    def rows(self, episodes: Int[np.ndarray, " m"]) -> Int64[np.ndarray, " n"]:
        """Positions of all frames of some episodes."""
        spans = [np.arange(*self.bounds(int(episode))) for episode in episodes]
        return np.concatenate(spans) if spans else np.zeros(0, np.int64)


class ActionScale(NamedTuple):
    """Mean and standard deviation of each number of an action, over the training episodes.

    Attributes:
        mean: Mean.
        std: Standard deviation, 1 where an action never changes.
    """

    mean: Float[np.ndarray, " a"]
    std: Float[np.ndarray, " a"]

    def normalize(self, actions: Float[np.ndarray, "*b a"]) -> Float[np.ndarray, "*b a"]:
        """Subtract the mean and divide; what is not finite becomes 0, the mean action."""
        scaled = (actions - self.mean) / self.std
        return np.where(np.isfinite(scaled), scaled, 0).astype(np.float32)

    def restore(self, actions: Float[np.ndarray, "*b a"]) -> Float[np.ndarray, "*b a"]:
        """Undo `normalize`."""
        return (actions * self.std + self.mean).astype(np.float32)


def action_scale(
    trajectories: Trajectories, episodes: Int[np.ndarray, " m"] | None = None
) -> ActionScale:
    """Measure the actions of some episodes.

    Args:
        trajectories: All episodes.
        episodes: Numbers of those that count, the training episodes; all by default.

    Returns:
        The scale; rows with NaN or Inf do not count.

    Raises:
        ValueError: If there is no finite action.

    Examples:
        >>> found = Trajectories(frames=np.zeros((3, 1, 1, 1), np.uint8),
        ...     actions=np.array([[0.0], [2.0], [np.nan]], np.float32), episode_ends=np.array([3]))
        >>> action_scale(found)
        ActionScale(mean=array([1.], dtype=float32), std=array([1.], dtype=float32))
    """
    rows = slice(None) if episodes is None else trajectories.rows(episodes)
    actions = trajectories.actions[rows].astype(np.float64)
    actions = actions[np.isfinite(actions).all(1)]
    if not len(actions):
        raise ValueError("actions must have a finite row, got none")
    std = actions.std(0)
    return ActionScale(
        actions.mean(0).astype(np.float32), np.where(std > 1e-8, std, 1.0).astype(np.float32)
    )


def relative_actions(trajectories: Trajectories, *, unit: float) -> Trajectories:
    """Make recorded target positions relative to where the agent was, which states begin with.

    Args:
        trajectories: The recordings.
        unit: What counts as 1, in the units of the states.

    Returns:
        The same with actions `(target - position) / unit`.

    Raises:
        ValueError: If states are missing, or have fewer numbers than an action.

    Examples:
        >>> found = Trajectories(frames=np.zeros((1, 1, 1, 1), np.uint8),
        ...     actions=np.array([[300.0]], np.float32), episode_ends=np.array([1]),
        ...     states=np.array([[250.0, 1.0]], np.float32))
        >>> relative_actions(found, unit=100.0).actions.tolist()
        [[0.5]]
    """
    states, size = trajectories.states, trajectories.actions.shape[1]
    if states is None or states.shape[1] < size:
        known = 0 if states is None else states.shape[1]
        raise ValueError(
            f"states must begin with the {size} numbers that actions are targets of, got {known}"
        )
    actions = ((trajectories.actions - states[:, :size]) / unit).astype(np.float32)
    found = dataclasses.replace(trajectories, actions=actions)
    return dataclasses.replace(found, version=digest_of(found))


def digest_of(trajectories: Trajectories) -> str:
    """Identify trajectories by all actions, the ends, and a few frames.

    Args:
        trajectories: The episodes.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256(str(trajectories.frames.shape).encode())
    some = np.unique(np.linspace(0, trajectories.frames.shape[0] - 1, 16).astype(np.int64))
    for array in (
        np.asarray(trajectories.episode_ends, np.int64),
        trajectories.actions,
        trajectories.frames[some],
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]
