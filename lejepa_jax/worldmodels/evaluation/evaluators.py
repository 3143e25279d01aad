"""What is measured of a world model, during a run and at its end."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch
from lejepa_jax.evaluation.quick import PREFIX, QuickEvaluator
from lejepa_jax.evaluation.results import Evaluator, Picture, Results
from lejepa_jax.report.metric import Metric
from lejepa_jax.training.networks import Network, Variables
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.detectors import detector_metrics
from lejepa_jax.worldmodels.dynamics import Dynamics
from lejepa_jax.worldmodels.environments.host import host_environment_by_name, is_host_environment
from lejepa_jax.worldmodels.evaluation.acting import evaluate_acting
from lejepa_jax.worldmodels.evaluation.acting_on_host import check_units, evaluate_acting_on_host
from lejepa_jax.worldmodels.evaluation.imagination import evaluate_imagination
from lejepa_jax.worldmodels.evaluation.measures import (
    Frames,
    Measures,
    probe_states,
    shuffled_ratio,
    within_episodes,
)
from lejepa_jax.worldmodels.evaluation.pictures import draw_map
from lejepa_jax.worldmodels.evaluation.probes import r2_scores, ridge_predict
from lejepa_jax.worldmodels.trajectories.generated import environment_by_name, is_environment

_MAX_PIXELS = 4096  # numbers of a frame to which a linear map is still fitted


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
    if config.plan_episodes:
        act = acting_evaluator(config, measures.dynamics, splits)
        evaluators |= {} if act is None else {"acting": act}
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


def acting_evaluator(
    config: WorldModelConfig, dynamics: Dynamics, splits: Splits
) -> Evaluator | None:
    """Find what acts at the end: in the environment that is named, or that the data was made in.

    Args:
        config: What is trained.
        dynamics: The functions of the model.
        splits: The data.

    Returns:
        The evaluator; None where there is no environment.

    Raises:
        ValueError: If recorded actions are not in the units of an environment of the host, or
            there are no recorded states to start it from.
        MissingExtra: If the package of the environment is not installed.
    """
    named = config.environment or splits.name
    if isinstance(named, str) and is_environment(named):
        world = environment_by_name(named)
        return functools.partial(evaluate_acting, config, dynamics, world)
    if isinstance(named, str) and not is_host_environment(named):
        return None  # data of unknown origin
    make = host_environment_by_name(named) if isinstance(named, str) else named
    check_units(make(), splits.train.trajectories)
    return functools.partial(evaluate_acting_on_host, config, dynamics, make)


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
    found = {"within_episode": within_episodes(test)}
    ahead = measures.config.sizes.history
    _, latents, actions = measures.paths(variables, splits.test, ahead, limit, shard_batch)
    errors = measures.errors(variables, latents, actions)
    found["shuffled_ratio"] = shuffled_ratio(errors)
    if test.states is not None:
        train = measures.look(variables, splits.train, shard_batch, 2 * limit)
        found["state_r2"] = float(probe_states(train, test).mean())
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
        diagnostics[name] = {"within_episode": within_episodes(test)}
        if test.states is None:
            continue
        train = measures.look(own, splits.train, shard_batch, limit)
        values = probe_states(train, test)
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
