"""Paths that a world model imagines, beside what came, and what surprises it."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch
from lejepa_jax.evaluation.results import Picture, Results
from lejepa_jax.training.networks import Variables
from lejepa_jax.worldmodels.evaluation.measures import Frames, Measures
from lejepa_jax.worldmodels.evaluation.pictures import draw_curves, draw_imagined

# Held-out episodes of the surprise curves, paths that are drawn, blocks that are imagined.
_EPISODES, _DRAWN, _AHEAD = 32, 4, 8


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
