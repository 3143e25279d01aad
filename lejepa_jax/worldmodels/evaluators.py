"""What is measured of a world model, during a run and at its end."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch, map_examples
from lejepa_jax.evaluation.quick import PREFIX, QuickEvaluator
from lejepa_jax.evaluation.results import Evaluator, Picture, Results
from lejepa_jax.report.metric import Metric
from lejepa_jax.training.networks import Network, Variables
from lejepa_jax.training.task import Batch
from lejepa_jax.worldmodels.acting import evaluate_acting
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.detectors import detector_metrics, episode_share
from lejepa_jax.worldmodels.dynamics import (
    Dynamics,
    dynamics_of,
    rollout_errors,
    shuffled_plans,
    surprise,
)
from lejepa_jax.worldmodels.environments.protocol import Environment
from lejepa_jax.worldmodels.pictures import draw_curves, draw_imagined, draw_map
from lejepa_jax.worldmodels.probes import r2_scores, ridge_predict
from lejepa_jax.worldmodels.trajectories.generated import environment_by_name, is_environment
from lejepa_jax.worldmodels.trajectories.windows import FrameRows, TrajectoryWindows

# Held-out episodes of the surprise curves, paths that are drawn, blocks that are imagined.
_EPISODES, _DRAWN, _AHEAD = 32, 4, 8
_MAX_PIXELS = 4096  # numbers of a frame to which a linear map is still fitted


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


def world_model_evaluators(
    config: WorldModelConfig, net: Network, splits: Splits
) -> tuple[dict[str, Evaluator], dict[str, QuickEvaluator], dict[str, Metric]]:
    """Make the evaluators of a world model.

    Args:
        config: What is trained.
        net: The network.
        splits: The data.

    Returns:
        Those of the end of a run and those during it, by name, and how the numbers of the second
        are shown.
    """
    measures = Measures(config, net)
    evaluators: dict[str, Evaluator] = {
        "states": functools.partial(evaluate_states, measures),
        "imagination": functools.partial(evaluate_imagination, measures),
    }
    environment = acts_in(config, splits)
    if environment is not None and config.plan_episodes:
        evaluators["acting"] = functools.partial(
            evaluate_acting, config, measures.dynamics, environment
        )
    shown = detector_metrics(prefix=PREFIX)
    del shown[f"{PREFIX}action_sensitivity"]
    if splits.train.state_features:
        shown[f"{PREFIX}state_r2"] = Metric(
            "Held-out linear probe of the state",
            "R2, mean",
            reference=1.0,
            reference_name="known",
            progress=True,
            higher_is_better=True,
        )
    return evaluators, {"world": functools.partial(watch_world, measures)}, shown


def acts_in(config: WorldModelConfig, splits: Splits) -> Environment | None:
    """Find the environment to act in: the one that is named, or that the data was made in.

    Args:
        config: What is trained.
        splits: The data.

    Returns:
        The environment, or None.
    """
    name = config.environment or splits.name
    return environment_by_name(name) if is_environment(name) else None


def watch_world(
    measures: Measures,
    key: PRNGKeyArray,
    variables: Variables,
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> dict[str, float]:
    """Measure the detectors of collapse on held-out episodes, and what a linear probe reads.

    Args:
        measures: What the evaluators share.
        key: Unused.
        variables: The trained variables.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        Numbers by name.
    """
    del key
    limit = measures.config.quick_examples
    test = measures.look(variables, splits.test, shard_batch, limit)
    found = {"within_episode": _share(test)}
    ahead = measures.config.sizes.history
    _, latents, actions = measures.paths(variables, splits.test, ahead, limit, shard_batch)
    errors = measures.errors(variables, latents, actions)
    found["shuffled_ratio"] = _ratio(errors)
    if test.states is not None:
        train = measures.look(variables, splits.train, shard_batch, 2 * limit)
        found["state_r2"] = float(_probe(train, test)[0].mean())
    return found


def evaluate_states(
    measures: Measures,
    key: PRNGKeyArray,
    variables: Mapping[str, Variables],
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> Results:
    """Read the states from the latents by a linear probe, and draw the map that was learned.

    Args:
        measures: What the evaluators share.
        key: Unused.
        variables: Variables by name.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        R2 of the trained and the untrained encoder, and of pixels where frames are small.
    """
    del key
    limit, names = measures.config.probe_frames, splits.train.trajectories.state_names
    scores: dict[str, dict[str, float]] = {}
    diagnostics: dict[str, Any] = {}
    pictures = []
    for name, own in variables.items():
        test = measures.look(own, splits.test, shard_batch, limit)
        diagnostics[name] = {"within_episode": _share(test)}
        if test.states is None:
            continue
        train = measures.look(own, splits.train, shard_batch, limit)
        values, _ = _probe(train, test)
        scores.setdefault("state_r2", {})[name] = float(values.mean())
        for column, value in enumerate(values):
            title = names[column] if names else f"state {column + 1}"
            diagnostics[name][f"R2 of {title}"] = float(value)
        if name != "encoder":
            continue
        scores |= _probe_pixels(train, test, splits, scores)
        pictures.append(
            Picture(
                "Learned map",
                functools.partial(draw_map, test.latents, test.states, tuple(names)),
                "Latents of held-out frames on their first two principal components.",
            )
        )
    return Results(scores, diagnostics, {}, pictures)


def evaluate_imagination(
    measures: Measures,
    key: PRNGKeyArray,
    variables: Mapping[str, Variables],
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> Results:
    """Compare imagined with true paths, with the actions of others, and with what cannot be.

    Args:
        measures: What the evaluators share.
        key: Unused.
        variables: Variables by name.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        Errors by how far ahead, surprise about a jump, and pictures.
    """
    del key
    own, limit = variables["encoder"], measures.config.quick_examples
    look = functools.partial(measures.paths, own, splits.test)
    rows, latents, actions = look(_AHEAD, limit, shard_batch)
    errors = jax.device_get(measures.errors(own, latents, actions))
    curves = {
        "true actions": errors["true"].mean(0),
        "actions of others": errors["shuffled"].mean(0),
    }
    # Nearest training frames stand for what was imagined: nothing here decodes latents.
    train = measures.look(own, splits.train, shard_batch, measures.config.probe_frames)
    picked = np.linspace(0, len(rows) - 1, _DRAWN).astype(int)
    nearest = nearest_rows(errors["imagined"][picked], train)
    frames = splits.train.trajectories.frames
    came = _pick(frames, rows[picked])
    thought = np.concatenate([came[:, :1], _pick(frames, nearest)], 1)
    blocks = splits.train.action_block
    unit = "blocks of actions ahead" if blocks > 1 else "actions ahead"
    pictures = [
        Picture(
            "Imagined paths",
            functools.partial(draw_imagined, came, thought),
            "Held-out frames above the training frames whose latents are nearest to the imagined "
            f"ones, from the first frame and {blocks * (rows.shape[1] - 1)} actions alone.",
        ),
        Picture(
            "Error of imagined paths",
            functools.partial(draw_curves, curves, xlabel=unit, ylabel="mean squared error"),
            "Where both are alike, predictions do not depend on the actions.",
            True,
        ),
    ]
    found = {
        "shuffled_ratio": float(errors["shuffled"].mean() / max(errors["true"].mean(), 1e-12)),
        "one_step_error": float(errors["true"][:, 0].mean()),
    }
    jumps = look(2 * _AHEAD, 2 * _EPISODES, shard_batch)
    scores, curve, middle = _surprise(measures, own, *jumps[1:])
    pictures.append(
        Picture(
            "Surprise",
            functools.partial(
                draw_curves, curve, xlabel=unit, ylabel="squared error of a step", mark=middle
            ),
            "Held-out episodes as they were, and cut over to another episode at the dashed line.",
            True,
        )
    )
    details = {"imagination": {name: values.tolist() for name, values in curves.items()}}
    details["surprise"] = {name: values.tolist() for name, values in curve.items()}
    return Results({}, {"encoder": found | scores}, details, pictures)


def nearest_rows(latents: Float[np.ndarray, "n h d"], frames: Frames) -> Int[np.ndarray, "n h"]:
    """Positions of the frames whose latents are nearest.

    Args:
        latents: What is looked for.
        frames: Where.

    Returns:
        Positions in the trajectories.
    """
    flat = latents.reshape(-1, latents.shape[-1])
    known = frames.latents
    squares = np.square(known).sum(1)[None] - 2 * flat @ known.T
    return frames.rows[squares.argmin(1)].reshape(latents.shape[:2])


def _pick(frames: Any, rows: np.ndarray) -> np.ndarray:
    found = frames[rows.ravel()]
    return found.reshape(*rows.shape, *found.shape[1:])


def _surprise(
    measures: Measures, variables: Variables, latents: np.ndarray, actions: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray], int]:
    """Measure the surprise about a jump in the middle of a path to where another one is."""
    middle = actions.shape[1] // 2 + 1
    others = np.roll(latents, len(latents) // 2, axis=0)
    jumped = np.concatenate([latents[:, :middle], others[:, middle:]], 1)
    usual, odd = (
        np.asarray(measures.surprises(variables, paths, actions)) for paths in (latents, jumped)
    )
    curve = {"as it was": usual.mean(0), "with a jump": odd.mean(0)}
    # Beyond the jump the actions are those of the other path: only the step of it counts.
    ratio = odd[:, middle - 1].mean() / max(usual[:, middle - 1].mean(), 1e-12)
    threshold = np.quantile(usual, 0.99)
    caught = float((odd[:, middle - 1] > threshold).mean())
    return {"surprise_ratio": float(ratio), "jumps_noticed": caught}, curve, middle


def _share(found: Frames) -> float:
    numbers = np.unique(found.episode, return_inverse=True)[1]
    return float(
        episode_share(jnp.asarray(found.latents), jnp.asarray(numbers), int(numbers.max()) + 1)
    )


def _ratio(errors: Mapping[str, Any]) -> float:
    true, shuffled = (float(np.asarray(errors[name]).mean()) for name in ("true", "shuffled"))
    return shuffled / max(true, 1e-12)


def _probe(train: Frames, test: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Fit a linear map from latents to states; gives R2 of each column, and what it says."""
    assert train.states is not None  # the caller has asked
    assert test.states is not None
    said = ridge_predict(train.latents, train.states, test.latents)
    return r2_scores(test.states, said), said


def _probe_pixels(
    train: Frames, test: Frames, splits: Splits, scores: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Fit the same map to pixels, where frames are small enough."""
    frames = splits.train.trajectories.frames
    if np.prod(frames.shape[1:]) > _MAX_PIXELS or train.states is None or test.states is None:
        return {}
    fitted, asked = (
        frames[part.rows].reshape(len(part.rows), -1).astype(np.float32) / 255
        for part in (train, test)
    )
    value = r2_scores(test.states, ridge_predict(fitted, train.states, asked)).mean()
    return {"state_r2": {**scores["state_r2"], "pixels": float(value)}}
