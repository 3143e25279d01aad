"""What the evaluators of a world model share: compiled functions, and the frames they look at."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lejepa_jax.evaluation.features import ShardBatch, map_examples
from lejepa_jax.training.networks import Network, Variables
from lejepa_jax.training.task import Batch
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.detectors import episode_share
from lejepa_jax.worldmodels.dynamics import (
    Dynamics,
    dynamics_of,
    rollout_errors,
    shuffled_plans,
    surprise,
)
from lejepa_jax.worldmodels.evaluation.probes import r2_scores, ridge_predict
from lejepa_jax.worldmodels.trajectories.windows import FrameRows, TrajectoryWindows


class Frames(NamedTuple):
    """Frames as a model sees them, on the host."""

    latents: Float[np.ndarray, "n d"]
    states: Float[np.ndarray, "n s"] | None
    episode: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]


class Measures:
    """What the evaluators of a task share: compiled functions and the frames they look at.

    Args:
        config: What is trained.
        net: The network.
    """

    def __init__(self, config: WorldModelConfig, net: Network):
        self.config = config
        self.dynamics: Dynamics = dynamics_of(config, net)

        @jax.jit
        def embed(variables: Variables, batch: Batch) -> Array:
            return self.dynamics.encode(variables, batch["frame"])

        @jax.jit
        def errors(variables: Variables, latents: Array, actions: Array) -> dict[str, Array]:
            others = shuffled_plans(actions)
            none = jnp.zeros((0, actions.shape[-1]), actions.dtype)

            def ahead(path: Array, plan: Array) -> Array:
                return self.dynamics.imagine(variables, path[:1], none, plan[None])[0]

            return {
                "true": rollout_errors(self.dynamics, variables, latents, actions),
                "shuffled": rollout_errors(self.dynamics, variables, latents, others),
                "imagined": jax.vmap(ahead)(latents, actions),
            }

        @jax.jit
        def surprises(variables: Variables, latents: Array, actions: Array) -> Array:
            return surprise(self.dynamics, variables, latents, actions)

        self._embed, self.errors, self.surprises = embed, errors, surprises

    def look(
        self,
        variables: Variables,
        source: TrajectoryWindows,
        shard_batch: ShardBatch,
        limit: int,
    ) -> Frames:
        """Encode frames of the episodes of a source, evenly spread, so many at most."""
        found = source.trajectories
        rows = found.rows(source.episodes)
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int))]
        latents = self.latents(variables, source, rows, shard_batch)
        episode = np.searchsorted(found.episode_ends, rows, side="right")
        states = None if found.states is None else found.states[rows]
        return Frames(latents, states, episode, rows)

    def latents(
        self,
        variables: Variables,
        source: TrajectoryWindows,
        rows: Int[np.ndarray, " n"],
        shard_batch: ShardBatch,
    ) -> Float[np.ndarray, "n d"]:
        """Encode the frames at some positions; every process takes part."""
        return map_examples(
            functools.partial(self._embed, variables),
            FrameRows(source.trajectories, rows),
            shard_batch,
            batch_size=self.config.eval_batch_size,
        ).outputs

    def paths(
        self,
        variables: Variables,
        source: TrajectoryWindows,
        blocks: int,
        count: int,
        shard_batch: ShardBatch,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Encode windows with so many blocks of actions, evenly spread over the episodes.

        Returns positions of the frames, their latents, and the actions between them.
        """
        spans = np.diff(source.trajectories.episode_ends, prepend=0)[source.episodes]
        blocks = min(blocks, (int(spans.max()) - 1) // source.action_block)
        windows = TrajectoryWindows(
            source.trajectories,
            source.episodes,
            num_frames=blocks + 1,
            action_block=source.action_block,
            scale=source.scale,
        )
        # An even number, so that each has another one half a batch away.
        number = max(2, min(count, len(windows)) // 2 * 2)
        chosen = np.linspace(0, len(windows) - 1, number).astype(int)
        rows = windows.starts[chosen][:, None] + source.action_block * np.arange(blocks + 1)
        latents = self.latents(variables, source, rows.ravel(), shard_batch)
        actions = windows.gather(chosen)["actions"]
        return rows, latents.reshape(*rows.shape, -1), actions


def within_episodes(found: Frames) -> float:
    """Share of the variance of latents that is within episodes, see `episode_share`.

    Args:
        found: Frames of several episodes.

    Returns:
        The share.
    """
    numbers = np.unique(found.episode, return_inverse=True)[1]
    return float(
        episode_share(jnp.asarray(found.latents), jnp.asarray(numbers), int(numbers.max()) + 1)
    )


def shuffled_ratio(errors: Mapping[str, Any]) -> float:
    """Compute the error with the actions of others over that with the true ones.

    Args:
        errors: `true` and `shuffled`, arrays of errors.

    Returns:
        The ratio of the means.
    """
    true, shuffled = (float(np.asarray(errors[name]).mean()) for name in ("true", "shuffled"))
    return shuffled / max(true, 1e-12)


def probe_states(train: Frames, test: Frames) -> Float[np.ndarray, " s"]:
    """Fit a linear map from latents to states, which both must have.

    Args:
        train: What it is fitted to.
        test: What it is scored on.

    Returns:
        R2 of each number of the state.
    """
    assert train.states is not None  # the caller has asked
    assert test.states is not None
    return r2_scores(test.states, ridge_predict(train.latents, train.states, test.latents))
