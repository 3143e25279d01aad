"""Windows of episodes as examples: frames some steps apart, and the actions between them."""

import copy

import numpy as np
from jaxtyping import Int, Int32, Int64

from lejepa_jax.checks import check_positive
from lejepa_jax.data.source import Batch, Origin, Source
from lejepa_jax.worldmodels.trajectories.episodes import ActionScale, Trajectories, action_scale


class TrajectoryWindows(Source):
    r"""Random access to windows of episodes; none crosses from one episode into the next.

    With `action_block` :math:`k`, window :math:`s` has the frames :math:`o_s, o_{s+k}, \dots` and
    between two of them the :math:`k` actions taken there, as one row:
    :math:`(a_s, \dots, a_{s+k-1})`. The actions are z-scored.

    ``source[i]`` has ``frames`` (t h w c, uint8), ``actions`` (t - 1, k a), ``states`` (t s) where
    they are known, ``episode``, ``label`` (-1) and ``index``.

    Args:
        trajectories: All episodes.
        episodes: Numbers of those that windows are taken from; all by default.
        num_frames: Frames of a window.
        action_block: Steps from one frame to the next.
        window_step: Steps from the beginning of one window to that of the next.
        scale: Mean and standard deviation of the actions of the training episodes; by default
            those of `episodes`.

    Raises:
        ValueError: If a number is not positive, or no episode is long enough.

    Examples:
        >>> found = Trajectories(frames=np.zeros((12, 4, 4, 1), np.uint8),
        ...     actions=np.ones((12, 2), np.float32), episode_ends=np.array([7, 12]))
        >>> source = TrajectoryWindows(found, num_frames=3, action_block=2)
        >>> len(source), source[0]["frames"].shape, source[0]["actions"].shape
        (4, (3, 4, 4, 1), (2, 4))
    """

    labels: Int32[np.ndarray, " n"] | None
    origin: Origin | None

    def __init__(
        self,
        trajectories: Trajectories,
        episodes: Int[np.ndarray, " m"] | None = None,
        *,
        num_frames: int,
        action_block: int = 1,
        window_step: int = 1,
        scale: ActionScale | None = None,
    ):
        check_positive("action_block", action_block)
        check_positive("window_step", window_step)
        if num_frames < 2:
            raise ValueError(f"num_frames must be at least 2, got {num_frames}")
        if episodes is None:
            episodes = np.arange(trajectories.num_episodes)
        self.trajectories, self.episodes = trajectories, np.asarray(episodes, np.int64)
        self.num_frames, self.action_block = num_frames, action_block
        self.window_step = window_step
        self.scale = action_scale(trajectories, self.episodes) if scale is None else scale
        self._starts, self._episode = self._place()
        if not len(self._starts):
            longest = int(np.diff(trajectories.episode_ends, prepend=0).max())
            raise ValueError(
                f"num_frames={num_frames} frames {action_block} steps apart must fit in an "
                f"episode, the longest of which has {longest}"
            )
        self.class_names, self.labels = (), None
        self.origin = Origin(lambda i: f"window {i}", version=trajectories.version)

    def _place(self) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        span = (self.num_frames - 1) * self.action_block
        starts, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for episode in self.episodes.tolist():
            first, end = self.trajectories.bounds(episode)
            own = np.arange(first, end - span, self.window_step)
            starts.append(own)
            numbers.append(np.full(len(own), episode))
        return np.concatenate(starts), np.concatenate(numbers)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the frames."""
        height, width, channels = self.trajectories.frames.shape[1:]
        return height, width, channels

    @property
    def action_features(self) -> int:
        """Numbers in a block of actions."""
        return self.action_block * self.trajectories.actions.shape[1]

    @property
    def state_features(self) -> int:
        """Numbers in a state; 0 where states are not known."""
        return 0 if self.trajectories.states is None else self.trajectories.states.shape[1]

    @property
    def starts(self) -> Int64[np.ndarray, " n"]:
        """Position of the first frame of every window, in `trajectories`."""
        return self._starts

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the windows at `indices`, stacked."""
        indices = np.asarray(indices)
        first, found = self._starts[indices], self.trajectories
        frames = first[:, None] + self.action_block * np.arange(self.num_frames)
        pixels = found.frames[frames.reshape(-1)]
        steps = first[:, None] + np.arange((self.num_frames - 1) * self.action_block)
        actions = self.scale.normalize(found.actions[steps])
        batch = {
            "frames": pixels.reshape(*frames.shape, *pixels.shape[1:]),
            "actions": actions.reshape(len(first), self.num_frames - 1, -1),
            "episode": self._episode[indices].astype(np.int32),
            "label": np.full(len(first), -1, np.int32),
            "index": indices.astype(np.int32),
        }
        if found.states is not None:
            batch["states"] = found.states[frames].astype(np.float32)
        return batch

    def subset(self, indices: Int[np.ndarray, " b"]) -> "TrajectoryWindows":
        """Return a source of only the windows at `indices`, in that order."""
        part = copy.copy(self)
        part._starts, part._episode = self._starts[indices], self._episode[indices]
        return part


class FrameRows(Source):
    """Random access to single frames of trajectories.

    ``source[i]`` has ``frame`` (h w c, uint8), ``label`` (-1) and ``index``.

    Args:
        trajectories: All episodes.
        rows: Positions of the frames.

    Examples:
        >>> found = Trajectories(frames=np.zeros((3, 4, 4, 1), np.uint8),
        ...     actions=np.ones((3, 2), np.float32), episode_ends=np.array([3]))
        >>> len(FrameRows(found, np.array([0, 2])))
        2
    """

    labels: Int32[np.ndarray, " n"] | None

    def __init__(self, trajectories: Trajectories, rows: Int[np.ndarray, " n"]):
        self.trajectories, self.rows = trajectories, np.asarray(rows, np.int64)
        self.class_names, self.labels = (), None

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the frames at `indices`, stacked."""
        indices = np.asarray(indices)
        return {
            "frame": self.trajectories.frames[self.rows[indices]],
            "label": np.full(len(indices), -1, np.int32),
            "index": indices.astype(np.int32),
        }

    def subset(self, indices: Int[np.ndarray, " b"]) -> "FrameRows":
        """Return a source of only the frames at `indices`, in that order."""
        return FrameRows(self.trajectories, self.rows[np.asarray(indices)])
