"""A world model as a task of the training loop."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.data.splits import Splits
from lejepa_jax.diagnostics.spectrum import feature_std
from lejepa_jax.nn.projector import Projector
from lejepa_jax.objectives.regularizers.names import regularizer_null_mean
from lejepa_jax.objectives.regularizers.protocol import Regularizer, bound_options
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.report.metric import Metric
from lejepa_jax.statistics.reductions import AxisName, global_mean
from lejepa_jax.training.networks import Network
from lejepa_jax.training.task import Batch, Kept, Part, Task
from lejepa_jax.worldmodels.config import WorldModelConfig
from lejepa_jax.worldmodels.detectors import detector_metrics, swap_examples, within_share
from lejepa_jax.worldmodels.dynamics import world_model_network
from lejepa_jax.worldmodels.evaluation.evaluators import world_model_evaluators
from lejepa_jax.worldmodels.frames import normalize_frames
from lejepa_jax.worldmodels.networks.world_model import encoder_maker
from lejepa_jax.worldmodels.objective import (
    Predictions,
    TrainedPredict,
    path_curvature,
    prediction_error,
    regularize_latents,
    rolled_out,
    teacher_forced,
)

# What the encoder of a frame and the predictor draw is apart from the views of an example.
_DEPTH, _PREDICTOR, _ROLLOUT = 2**20, 2**21, 2**22
# Below this standard deviation in some direction, after warm-up, latents have collapsed.
_COLLAPSED = 0.1


def world_model_task(
    config: WorldModelConfig,
    splits: Splits,
    *,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    r"""Make the task of learning a world model from windows of trajectories.

    .. math:: L = \frac1{N d} \sum \| f(z_{\le i}, a_{\le i}) - z_{i + 1} \|^2
        + \lambda \, \mathrm{SIGReg}

    with :math:`z` the projected features of each frame, and what else the configuration asks for.
    Latents are of the whole batch: the projector and the predictor, whose heads normalize over
    it, belong to the loss. The loss does not depend on how the batch is sharded over devices.

    Args:
        config: What is trained, and how.
        splits: The data.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. Batches are those of `TrajectoryWindows`: `frames`, `actions` and `index`.

    References:
        LeWorldModel, arXiv 2603.19312, 2026.
    """
    source, sizes = splits.train, config.sizes
    channels = source.image_shape[-1]
    net = world_model_network(
        config,
        action_features=source.action_features,
        in_channels=channels,
        dtype=dtype,
        axis_name=axis_name,
    )
    regularizer = config.make_regularizer()
    is_sigreg = bound_options(regularizer)[0] is sigreg
    objective = _Objective(config, net, regularizer, is_sigreg, axis_name)
    null = regularizer_null_mean(regularizer, num_samples=1, dim=1) if is_sigreg else None
    evaluators, quick, shown = world_model_evaluators(config, net, splits)
    encoder = encoder_maker(sizes, image_size=config.image_size, in_channels=channels)
    parts = {
        "encoder": Part(encoder, ("encoder",)),
        "projector": Part(projector_maker(config, net.shape.encoder.features), ("projector",)),
    }
    kept = Kept(parts, config.preprocessing(channels))
    metrics = world_model_metrics(config, null, is_sigreg=is_sigreg) | shown
    return Task(
        net.init,
        functools.partial(_encode, objective),
        functools.partial(_loss, objective),
        net.kinds,
        metrics,
        evaluators,
        quick,
        kept,
    )


class _Objective(NamedTuple):
    """What the functions of the task share."""

    config: WorldModelConfig
    net: Network
    regularizer: Regularizer
    is_sigreg: bool
    axis_name: AxisName | None


def _encode(
    objective: _Objective, params: Any, state: Any, key: PRNGKeyArray, batch: Batch
) -> tuple[Array, dict[str, Any]]:
    """Encode the frames of each window."""
    config, net = objective.config, objective.net
    model, frames = net.merge(params, state), batch["frames"]
    size, count = frames.shape[:2]
    keys = example_keys(jax.random.split(key)[0], batch["index"])
    depth = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(
        keys, jnp.arange(count) + _DEPTH
    )
    seen = normalize_frames(
        frames.reshape(-1, *frames.shape[2:]),
        image_size=config.image_size,
        mean=config.mean,
        std=config.std,
    )
    features = model.encoder(seen, train=True, keys=depth.reshape(-1))
    return features.reshape(size, count, -1), net.state_of(model, "encoder")


def _loss(
    objective: _Objective,
    params: Any,
    state: Any,
    key: PRNGKeyArray,
    outputs: Array,
    batch: Batch,
) -> tuple[Array, tuple[dict[str, Any], dict[str, Array]]]:
    """Sum the terms that the configuration asks for."""
    config, net, regularizer, is_sigreg, axis_name = objective
    model, actions = net.merge(params, state), batch["actions"]
    view_key, own_key = jax.random.split(key)
    keys = example_keys(view_key, batch["index"])
    latents = model.project(outputs, train=True)
    history, steps = config.sizes.history, config.prediction_steps
    predict = _trained(model)
    forced = teacher_forced(
        predict, latents, actions, history=history, keys=_apart(keys, _PREDICTOR)
    )
    error = functools.partial(
        prediction_error, stop_gradient=config.stop_gradient, axis_name=axis_name
    )
    metrics = {"prediction": error(forced)}
    total = metrics["prediction"]
    if steps > 1:
        rolled = rolled_out(
            predict, latents, actions, steps=steps, history=history, keys=_apart(keys, _ROLLOUT)
        )
        # The first of them is a one-step prediction, which is there already.
        later = rolled._replace(predicted=rolled.predicted[:, 1:], target=rolled.target[:, 1:])
        metrics["rollout"] = error(later)
        total = (total + (steps - 1) * metrics["rollout"]) / steps
    value = regularize_latents(
        own_key, latents, regularizer, over=config.regularize_over, axis_name=axis_name
    )
    metrics["sigreg" if is_sigreg else "regularizer"] = value
    total = total + config.regularizer_weight * value
    if model.inverse is not None:
        found = model.inverse(latents[:, :-1], latents[:, 1:])
        metrics["inverse"] = global_mean(jnp.square(found - actions), axis_name=axis_name)
        total = total + config.inverse_weight * metrics["inverse"]
    if latents.shape[1] > 2:
        metrics["curvature"] = path_curvature(latents, axis_name=axis_name)
    if config.straightening_weight:
        total = total + config.straightening_weight * metrics["curvature"]
    new = net.state_of(model, but="encoder")
    metrics |= _detect(objective, params, state, keys, latents, actions, forced)
    return total, (new, metrics)


def _detect(
    objective: _Objective,
    params: Any,
    state: Any,
    keys: Array,
    latents: Array,
    actions: Array,
    forced: Predictions,
) -> dict[str, Array]:
    """Predict once more, with the actions of others; no gradient comes from here."""
    config, net, axis_name = objective.config, objective.net, objective.axis_name
    params, latents, forced = lax.stop_gradient((params, latents, forced))
    shuffled = teacher_forced(
        _trained(net.merge(params, state)),
        latents,
        swap_examples(actions, axis_name=axis_name),
        history=config.sizes.history,
        keys=_apart(keys, _PREDICTOR),
    )
    true = prediction_error(forced, axis_name=axis_name)
    moved = jnp.square(latents[:, 1:] - latents[:, :-1])
    changed = jnp.square(shuffled.predicted - forced.predicted)
    flat = latents.reshape(-1, latents.shape[-1])
    ratio = prediction_error(shuffled, axis_name=axis_name) / jnp.maximum(true, 1e-12)
    step = jnp.maximum(global_mean(moved, axis_name=axis_name), 1e-12)
    return {
        "shuffled_ratio": ratio,
        "within_episode": within_share(latents, axis_name=axis_name),
        "action_sensitivity": jnp.sqrt(global_mean(changed, axis_name=axis_name) / step),
        "latent_std": feature_std(flat, axis_name=axis_name).min(),
    }


def _trained(model: Any) -> TrainedPredict:
    """Give the predictor of a model as it is in training."""
    return lambda latents, actions, keys: model.predictor(latents, actions, train=True, keys=keys)


def projector_maker(config: WorldModelConfig, features: int) -> Any:
    """Bind what is known of the projector; `rngs` is still wanted."""
    return functools.partial(
        Projector,
        features,
        config.sizes.latent_features,
        hidden_features=config.sizes.hidden_features,
        num_layers=2,
        hidden_bias=True,
        activation="gelu",
    )


def world_model_metrics(
    config: WorldModelConfig, null_mean: float | None, *, is_sigreg: bool
) -> dict[str, Metric]:
    """Say how the metrics of a world model are shown.

    Args:
        config: What is trained.
        null_mean: Mean of SIGReg on exact normal samples, if it is known.
        is_sigreg: Whether that is the regularizer.

    Returns:
        How each is shown, by name.
    """
    found = {
        "prediction": Metric("Prediction", "mean squared error", log_scale=True, progress=True),
        "latent_std": Metric(
            "Smallest standard deviation",
            "of a dimension of the latents",
            reference=1.0,
            reference_name="N(0, I)",
            warn_below=_COLLAPSED,
            warning="latents collapse: where they vary this little, SIGReg has almost no gradient; "
            "raise --task.regularizer-weight or lower --learning-rate",
        ),
        **detector_metrics(),
    }
    if is_sigreg:
        found["sigreg"] = Metric(
            "SIGReg", "mean over slices", True, null_mean, "N(0, I)", progress=True
        )
    else:
        found["regularizer"] = Metric("Regularizer", "value", progress=True)
    if config.prediction_steps > 1:
        found["rollout"] = Metric("Rollout", "mean squared error", log_scale=True)
    if config.inverse_weight:
        found["inverse"] = Metric(
            "Inverse dynamics", "mean squared error", True, 1.0, "nothing is known of the action"
        )
    if config.num_frames > 2:
        found["curvature"] = Metric("Curvature of paths", "1 - cosine of steps")
    return found


def _apart(keys: Array, number: int) -> Array:
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)
