"""Supervised classification of examples of any kind, as a task of the training loop."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Key, PRNGKeyArray, PyTree

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.nn.depths import layer_decay_factors
from lejepa_jax.objectives.regularizers.names import regularizer_by_name
from lejepa_jax.objectives.supervised import cross_entropy, soft_targets
from lejepa_jax.report.metric import Metric
from lejepa_jax.statistics.reductions import AxisName, global_mean
from lejepa_jax.tasks.labeled.accuracy import accuracy_evaluators, held_out_metrics
from lejepa_jax.tasks.labeled.config import LabeledConfig
from lejepa_jax.training.networks import Variables, network
from lejepa_jax.training.task import Batch, Kept, Part, Task

# Views of an example and its stochastic depth count up from 0.
_DEPTH = 2**20
_METRICS = {"accuracy": Metric("Accuracy", "of the batch", progress=True)}
_REGULARIZED = {"regularizer": Metric("Regularizer", "of the features", progress=True)}


class Classifier(nnx.Module):
    """An encoder and a linear map to a score for each class, which starts at zero."""

    def __init__(self, encoder: Any, num_classes: int, *, rngs: nnx.Rngs):
        self.encoder = encoder
        self.head = nnx.Linear(
            encoder.features, num_classes, kernel_init=nnx.initializers.zeros, rngs=rngs
        )


def labeled_task(
    config: LabeledConfig,
    make_encoder: Callable[..., Any],
    *,
    num_classes: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of supervised classification.

    What is random of an example is keyed by its `index` in the data set and the loss is a mean over
    the global batch: it does not depend on how the batch is sharded over devices.

    Args:
        config: Makes the inputs, and says how to train.
        make_encoder: Makes the encoder from `dtype`, `axis_name` and `rngs`.
        num_classes: Number of classes.
        dtype: Type in which the encoder computes; parameters, scores and the loss are float32.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. Examples whose label is -1 do not count.
    """

    def make(key: PRNGKeyArray) -> Classifier:
        rngs = nnx.Rngs(key)
        encoder = make_encoder(dtype=dtype, axis_name=axis_name, rngs=rngs)
        return Classifier(encoder, num_classes, rngs=rngs)

    net = network(make)
    regularizer = config.regularizer
    if isinstance(regularizer, str):
        regularizer = regularizer_by_name(regularizer)

    def encode(params: Any, state: Any, key: PRNGKeyArray, batch: Batch):
        model = net.merge(params, state)
        keys = example_keys(key, batch["index"])
        targets = soft_targets(batch["label"], num_classes, smoothing=config.label_smoothing)
        inputs, targets = config.train_inputs(keys, batch, targets)
        if config.frozen:
            features = lax.stop_gradient(model.encoder(inputs))
        else:
            features = model.encoder(inputs, train=True, keys=keys_apart(keys, _DEPTH))
        outputs = {"logits": model.head(features), "targets": lax.stop_gradient(targets)}
        if regularizer is not None:
            outputs["features"] = features
        return outputs, net.state_of(model)

    def loss(params: Any, state: Any, key: PRNGKeyArray, outputs: dict[str, Array], batch: Batch):
        del params, state
        logits, labels = outputs["logits"], batch["label"]
        right = (logits.argmax(-1) == labels).astype(jnp.float32)
        metrics = {"accuracy": global_mean(right, mask=labels >= 0, axis_name=axis_name)}
        total = cross_entropy(logits, outputs["targets"], axis_name=axis_name)
        if regularizer is not None:
            _, own_key = jax.random.split(key)
            value = regularizer(own_key, outputs["features"], mask=labels >= 0, axis_name=axis_name)
            total, metrics["regularizer"] = total + config.regularizer_weight * value, value
        return total, ({}, metrics)

    metrics = _METRICS | held_out_metrics()
    if regularizer is not None:
        metrics |= _REGULARIZED
    evaluators, quick = accuracy_evaluators(config, net)
    return Task(net.init, encode, loss, net.kinds, metrics, evaluators, quick)


def keys_apart(keys: Key[Array, " b"], number: int) -> Key[Array, " b"]:
    """Make keys of something else about the same examples."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def kept_classifier(
    task: Task, config: LabeledConfig, encoder: Callable[..., Any], preprocessing: dict[str, Any]
) -> Task:
    """Say what a run of a classifier leaves behind, and how fast each part of it learns.

    Args:
        task: The task.
        config: What is trained.
        encoder: Makes the encoder from `dtype`, `axis_name` and `rngs`.
        preprocessing: What its inputs go through, as JSON can hold it.

    Returns:
        The task with both.
    """
    kept = Kept({"encoder": Part(encoder, ("encoder",))}, preprocessing)
    return task._replace(kept=kept, rate_factors=rate_factors(config, task.init, encoder))


def rate_factors(
    config: LabeledConfig,
    init: Callable[[PRNGKeyArray], Variables],
    make_encoder: Callable[..., Any],
) -> PyTree | None:
    """Make the factors of the learning rate: falling towards the input, or 0 of a frozen encoder.

    Args:
        config: What is trained.
        init: Makes the variables.
        make_encoder: Makes the encoder from `rngs`.

    Returns:
        A number for each parameter; None if all learn alike.
    """
    if config.layer_decay is None and not config.frozen:
        return None
    params = jax.eval_shape(init, jax.random.key(0)).params
    factors = jax.tree.map(lambda _: 1.0, params)
    encoder = nnx.eval_shape(
        lambda: make_encoder(dtype=jnp.float32, axis_name=None, rngs=nnx.Rngs(0))
    )
    if config.frozen:
        own = jax.tree.map(lambda _: 0.0, params["encoder"])
    else:
        own = layer_decay_factors(encoder, params["encoder"], config.layer_decay or 1.0)
    return {**factors, "encoder": own}
