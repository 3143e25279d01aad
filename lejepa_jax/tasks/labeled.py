"""Supervised classification of examples of any kind, as a task of the training loop."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.checks import check_positive
from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits, few_labeled
from lejepa_jax.evaluation.features import ShardBatch, map_examples
from lejepa_jax.evaluation.quick import PREFIX, quick_subset
from lejepa_jax.evaluation.results import Results
from lejepa_jax.nn.depths import layer_decay_factors
from lejepa_jax.nn.encoder import WeighsTokens
from lejepa_jax.objectives.regularizers.names import regularizer_by_name
from lejepa_jax.objectives.supervised import cross_entropy, soft_targets
from lejepa_jax.report.embedding import embedding_pictures
from lejepa_jax.report.examples import examples_of_classes
from lejepa_jax.report.metric import Metric
from lejepa_jax.statistics.reductions import AxisName, global_mean
from lejepa_jax.tasks.images import patch_maps
from lejepa_jax.tasks.watching import quick_accuracy_metrics
from lejepa_jax.training.networks import Variables, network
from lejepa_jax.training.task import Batch, Kept, Part, Task

# Views of an example and its stochastic depth count up from 0.
_DEPTH = 2**20
_METRICS = {"accuracy": Metric("Accuracy", "of the batch", progress=True)}
_HELD_OUT_LOSS = Metric("Held-out loss", "of a subset", higher_is_better=False)
_REGULARIZED = {"regularizer": Metric("Regularizer", "of the features", progress=True)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledConfig:
    """What a classifier is trained by, whatever its examples are.

    Attributes:
        label_smoothing: Part of the target that is shared by all classes.
        regularizer: What the encoder's features are regularized by beside the classes, by name,
            alone or called with options: `sigreg`, `covariance(sketch=64, form='norm')`. None for
            nothing.
        regularizer_weight: Its weight; that of the cross-entropy is 1.
        eval_batch_size: Examples at a time in evaluation.
        eval_sizes: Further sides to test at. An encoder that can weigh its tokens by their measure
            (`ViT`) is tested with and without.
        labels_per_class: Train on so many labeled examples of each class alone, always the same
            ones.
        label_fraction: Train on this part of the labeled examples of each class alone.
        layer_decay: Factor of the learning rate from each layer to the one before it, see
            `layer_decay_factors`; None for none.
        frozen: Train the head alone, on the features of the encoder as it is.
        baselines: Accuracies of others, by what they are of, for the table of results.
        quick_examples: Held-out examples that are tested during training, see `evaluate_every`.

    Raises:
        ValueError: For a value out of range.

    References:
        C. Szegedy et al., "Rethinking the Inception Architecture", arXiv 1512.00567, 2015 (label
        smoothing). Weak-SIGReg, arXiv 2603.05924, 2026 (features regularized).
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {"eval_batch_size", "eval_sizes", "quick_examples", "baselines"}
    )

    label_smoothing: float = 0.0
    regularizer: str | Callable[..., Any] | None = None
    regularizer_weight: float = 0.1
    eval_batch_size: int = 500
    eval_sizes: tuple[int, ...] = ()
    quick_examples: int = 1000
    labels_per_class: int | None = None
    label_fraction: float | None = None
    layer_decay: float | None = None
    frozen: bool = False
    baselines: tuple[tuple[str, float], ...] = ()

    def check_labels(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: See above.
        """
        check_positive("quick_examples", self.quick_examples)
        check_positive("eval_batch_size", self.eval_batch_size)
        for size in self.eval_sizes:
            check_positive("eval_sizes", size)
        if isinstance(self.regularizer, str):
            regularizer_by_name(self.regularizer)
        if not self.regularizer_weight >= 0:
            raise ValueError(
                f"regularizer_weight must not be negative, got {self.regularizer_weight}"
            )
        if self.labels_per_class is not None and self.label_fraction is not None:
            raise ValueError("labels_per_class and label_fraction must not both be given")
        if self.labels_per_class is not None:
            check_positive("labels_per_class", self.labels_per_class)
        for name in ("label_fraction", "layer_decay"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")

    def train_inputs(
        self, keys: Key[Array, " b"], batch: Batch, targets: Float[Array, "b k"]
    ) -> tuple[Any, Float[Array, "b k"]]:
        """Make what the encoder sees in training, and the targets that go with it.

        Args:
            keys: One an example.
            batch: The examples.
            targets: Distributions over classes.
        """
        raise NotImplementedError

    def test_inputs(self, batch: Batch, size: int | None = None) -> Any:
        """Make what the encoder sees in evaluation, at its usual size or at another."""
        raise NotImplementedError

    def pictures(self, source: Source, index: np.ndarray) -> np.ndarray:
        """Draw examples for the report (n h w c)."""
        raise NotImplementedError


def few_of(splits: Splits, config: LabeledConfig) -> Splits:
    """Leave the labeled examples to train on that a configuration asks for.

    Args:
        splits: All there are.
        config: Says how many of each class, or which part.

    Returns:
        The splits; as they are where nothing is asked for.

    Raises:
        ValueError: If the labels are not known without reading all of the data.
    """
    if config.labels_per_class is None and config.label_fraction is None:
        return splits
    train = splits.train
    if train.labels is None:
        raise ValueError(f"labels of {splits.name} must be known without reading all of it")
    chosen = few_labeled(
        train.labels, per_class=config.labels_per_class, fraction=config.label_fraction
    )
    few = train.subset(chosen)
    info = {**splits.info, "labels": f"{len(few)} of {len(train)} training examples are used"}
    return splits._replace(train=few, info=info)


def check_classes(splits: Splits) -> None:
    """Refuse data that has no classes to tell apart.

    Raises:
        ValueError: If there are fewer than two.
    """
    if splits.train.num_classes < 2:
        raise ValueError(
            f"{splits.name} must have at least 2 classes to tell apart, "
            f"got {splits.train.num_classes}"
        )


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

    @functools.partial(jax.jit, static_argnames=("size", "weigh"))
    def scores(variables: Variables, batch: Batch, size: int | None, weigh: bool | None) -> Array:
        model = net.merge(*variables)
        options = {} if weigh is None else {"weigh_tokens": weigh}
        features = model.encoder(config.test_inputs(batch, size), **options)
        return jax.nn.log_softmax(model.head(features), -1)

    def score(
        variables: Variables,
        source: Source,
        shard_batch: ShardBatch,
        size: int | None = None,
        weigh: bool | None = None,
    ) -> dict[str, float]:
        """Accuracy and loss over all examples with a label, at some side."""
        found = map_examples(
            lambda batch: scores(variables, batch, size=size, weigh=weigh),
            source,
            shard_batch,
            batch_size=config.eval_batch_size,
        )
        logs, labels = found.outputs[found.label >= 0], found.label[found.label >= 0]
        own = np.take_along_axis(logs, labels[:, None], -1)[:, 0]
        return {
            "accuracy": float((logs.argmax(-1) == labels).mean()),
            "loss": float(-own.mean()),
            "images": len(labels),
        }

    def watch(
        key: PRNGKeyArray, variables: Variables, splits: Splits, shard_batch: ShardBatch, /
    ) -> dict[str, float]:
        del key
        few = quick_subset(splits.test, config.quick_examples)
        found = score(variables, few, shard_batch)
        return {"accuracy": found["accuracy"], "loss": found["loss"]}

    def evaluate(
        key: PRNGKeyArray,
        variables: Mapping[str, Variables],
        splits: Splits,
        shard_batch: ShardBatch,
        /,
    ) -> Results:
        _, report_key = jax.random.split(key)
        encoder = net.shape.encoder
        # With no token beside the patches all weights are equal, and change nothing.
        choices = (False, True) if isinstance(encoder, WeighsTokens) and encoder.num_prefix else ()
        found = {}
        for name, own in variables.items():
            found[name] = score(own, splits.test, shard_batch)
            for size in config.eval_sizes if name == "encoder" else ():
                for weigh in choices or (None,):
                    title = f"{name}, {size} px" + (", weighted" if weigh else "")
                    found[title] = score(own, splits.test, shard_batch, size, weigh)
        diagnostics = {
            "loss": {name: one["loss"] for name, one in found.items()},
            "parameters": sum(x.size for x in jax.tree.leaves(variables["encoder"].params)),
            "images": found["encoder"]["images"],
        }
        chosen = examples_of_classes(splits.test.labels, len(splits.test), 8)
        few, shown = splits.test.gather(chosen), config.pictures(splits.test, chosen)
        maps = patch_maps(net, config.test_inputs, variables["encoder"], few, shard_batch)
        pictures = embedding_pictures(report_key, images=shown, patch_features=maps)
        scores = {"accuracy": {name: one["accuracy"] for name, one in found.items()}}
        scores["accuracy"] |= dict(config.baselines)
        return Results(scores, diagnostics, {}, pictures)

    metrics = _METRICS | quick_accuracy_metrics() | {f"{PREFIX}loss": _HELD_OUT_LOSS}
    if regularizer is not None:
        metrics |= _REGULARIZED
    evaluators, quick = {"accuracy": evaluate}, {"accuracy": watch}
    return Task(net.init, encode, loss, net.kinds, metrics, evaluators, quick)


def keys_apart(keys: Key[Array, " b"], number: int) -> Key[Array, " b"]:
    """Make keys of something else about the same examples."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)
