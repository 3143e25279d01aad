"""The objective of a world model: predict latents, and keep them from collapsing."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key, PRNGKeyArray

from lejepa_jax.checks import check_choice
from lejepa_jax.objectives.regularizers.protocol import Regularizer
from lejepa_jax.statistics.reductions import AxisName, global_mean

#: Which latents are one sample of the regularizer.
Samples = Literal["per_step", "pooled", "within_episode", "both"]

#: Maps latents (b, n, d), actions (b, n, a) and keys (b) or None to predictions (b, n, d).
TrainedPredict = Callable[[Array, Array, Any], Array]


class Predictions(NamedTuple):
    """What was predicted, and what came.

    Attributes:
        predicted: Predictions.
        target: The latents that they are of.
    """

    predicted: Float[Array, "b n d"]
    target: Float[Array, "b n d"]


def teacher_forced(
    predict: TrainedPredict,
    latents: Float[Array, "b t d"],
    actions: Float[Array, "b u a"],
    *,
    history: int,
    keys: Key[Array, " b"] | None = None,
) -> Predictions:
    """Predict every latent of a window from true ones before it, at most `history` of them.

    A window longer than the history is cut into pieces of its length that go through the predictor
    side by side; the last one may overlap the one before, and what is predicted twice counts twice.

    Args:
        predict: The predictor.
        latents: Latents of windows.
        actions: What was done between them, one less.
        history: Latents that the predictor looks back at most.
        keys: One key an example, for dropout.

    Returns:
        Predictions and targets.

    Examples:
        >>> latents = jnp.arange(6.0).reshape(1, 6, 1)
        >>> found = teacher_forced(lambda z, a, k: z + a, latents, jnp.ones((1, 5, 1)), history=3)
        >>> found.predicted[0, :, 0].tolist(), found.target[0, :, 0].tolist()
        ([1.0, 2.0, 3.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 3.0, 4.0, 5.0])
    """
    batch, count = actions.shape[:2]
    piece = min(history, count)
    starts = [*range(0, count - piece + 1, piece)]
    if count % piece:
        starts.append(count - piece)

    def cut(x: Array) -> Array:
        pieces = jnp.stack([x[:, start : start + piece] for start in starts], 1)
        return pieces.reshape(batch * len(starts), piece, x.shape[-1])

    if keys is not None and len(starts) > 1:
        fold = jnp.arange(len(starts))
        keys = _fold_each(keys, fold)
    predicted = predict(cut(latents[:, :-1]), cut(actions), keys)
    shape = batch, len(starts) * piece, predicted.shape[-1]
    return Predictions(predicted.reshape(shape), cut(latents[:, 1:]).reshape(shape))


def _fold_each(keys: Array, numbers: Array) -> Array:
    folded = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(keys, numbers)
    return folded.reshape(-1)


def rolled_out(
    predict: TrainedPredict,
    latents: Float[Array, "b t d"],
    actions: Float[Array, "b u a"],
    *,
    steps: int,
    history: int,
    keys: Key[Array, " b"] | None = None,
) -> Predictions:
    """Predict the latents behind the first `history` ones step by step, from predictions.

    Args:
        predict: The predictor.
        latents: Latents of windows, `history + steps` of them at least.
        actions: What was done between them, one less.
        steps: How far.
        history: Latents of the context.
        keys: One key an example, for dropout.

    Returns:
        Predictions and targets, `steps` of each.

    Examples:
        >>> found = rolled_out(lambda z, a, k: 2 * z, jnp.ones((1, 4, 1)), jnp.ones((1, 3, 1)),
        ...     steps=3, history=1)
        >>> found.predicted[0, :, 0].tolist()
        [2.0, 4.0, 8.0]
    """
    known = latents[:, :history]
    for step in range(steps):
        ahead = predict(known[:, step:], actions[:, step : step + history], keys)[:, -1:]
        known = jnp.concatenate([known, ahead], 1)
    return Predictions(known[:, history:], latents[:, history : history + steps])


def prediction_error(
    found: Predictions, *, stop_gradient: bool = False, axis_name: AxisName | None = None
) -> Float[Array, ""]:
    """Mean squared error over windows, times and dimensions of the global batch.

    Args:
        found: Predictions and targets.
        stop_gradient: Whether no gradient flows into the targets. The published model lets it flow.
        axis_name: Mapped axis over which the batch is sharded.

    Returns:
        The mean, the same on every device.

    Examples:
        >>> print(prediction_error(Predictions(jnp.zeros((1, 1, 2)), 2 * jnp.ones((1, 1, 2)))))
        4.0
    """
    target = lax.stop_gradient(found.target) if stop_gradient else found.target
    return global_mean(jnp.square(found.predicted - target), axis_name=axis_name)


def regularize_latents(
    key: PRNGKeyArray,
    latents: Float[Array, "b t d"],
    regularizer: Regularizer,
    *,
    over: Samples = "per_step",
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    """Regularize the latents of windows.

    Args:
        key: Random key, the same on every device.
        latents: The latents.
        regularizer: What they are regularized by.
        over: Which latents are one sample. `per_step`: those of the batch at one time, as
            published, averaged over times. `pooled`: those of all times. `within_episode`: those of
            one window, averaged over windows, for windows of eight frames or more. `both`: the mean
            of the first and the third.
        axis_name: Mapped axis over which the batch is sharded.

    Returns:
        The mean, the same on every device.

    Raises:
        ValueError: For an unknown choice.

    Examples:
        >>> from lejepa_jax.objectives.slicing import sigreg
        >>> cloud = jnp.zeros((64, 3, 2))
        >>> print(f"{regularize_latents(jax.random.key(0), cloud, sigreg) / 64:.3f}")
        0.402

    References:
        LeWorldModel, arXiv 2603.19312, 2026 (per step).
    """
    check_choice("over", over, ("per_step", "pooled", "within_episode", "both"))
    if over == "pooled":
        return regularizer(key, latents.reshape(-1, latents.shape[-1]), axis_name=axis_name)
    values = []
    if over != "within_episode":
        values.append(regularizer(key, jnp.swapaxes(latents, 0, 1), axis_name=axis_name))
    if over != "per_step":
        # A window is whole on its device.
        values.append(global_mean(regularizer(key, latents), axis_name=axis_name))
    return sum(values[1:], values[0]) / len(values)


def path_curvature(
    latents: Float[Array, "b t d"], *, axis_name: AxisName | None = None
) -> Float[Array, ""]:
    r"""Measure how far paths bend: :math:`1 - \cos(z_{t+1} - z_t, z_{t+2} - z_{t+1})`.

    Args:
        latents: Latents of windows of three frames or more.
        axis_name: Mapped axis over which the batch is sharded.

    Returns:
        The mean, 0 for straight paths.

    Examples:
        >>> print(path_curvature(jnp.array([[[0.0], [1.0], [3.0]]])).round(3))
        0.0

    References:
        Temporal straightening, arXiv 2603.12231, 2026.
    """
    steps = latents[:, 1:] - latents[:, :-1]
    before, after = steps[:, :-1], steps[:, 1:]
    # A norm has no derivative at 0, where nothing moves.
    squares = jnp.square(before).sum(-1) * jnp.square(after).sum(-1)
    cosine = (before * after).sum(-1) * lax.rsqrt(squares + 1e-12)
    return global_mean(1 - cosine, axis_name=axis_name)
