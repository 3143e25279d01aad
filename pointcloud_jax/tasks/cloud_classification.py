"""Supervised classification of clouds, as a task of the training loop."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch
from lejepa_jax.evaluation.results import Picture, Results, by_score
from lejepa_jax.objectives.regularizers.names import regularizer_by_name
from lejepa_jax.report.embedding import embedding_pictures
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.networks import Variables
from lejepa_jax.training.task import Batch, Task
from pointcloud_jax.augment.views import PointViews, PointViewSpec
from pointcloud_jax.nn.heads import Classifier
from pointcloud_jax.render import plot_confusion, plot_lines, render_clouds
from pointcloud_jax.tasks.rotation_protocols import (
    PROTOCOL_NAMES,
    evaluation_view,
    map_few_rotated,
    map_rotated,
    protocols,
)
from pointcloud_jax.tasks.scores import accuracies, confusion_matrix
from pointcloud_jax.tasks.supervised import (
    SupervisedConfig,
    accuracy_metrics,
    check_float32,
    cloud_networks,
    encode_clouds,
    kept_encoder,
    named_accuracies,
    regularizer_metrics,
    summed_loss,
)

# Damage of held-out clouds: the attribute of `PointViewSpec`, and how much.
_DAMAGE: dict[str, tuple[str, tuple[float, ...]]] = {
    "noise, standard deviation": ("jitter", (0.0, 0.01, 0.02, 0.03, 0.05)),
    "points dropped": ("dropout", (0.0, 0.25, 0.5, 0.75, 0.9)),
    "points cut off by a plane": ("cut", (0.0, 0.1, 0.2, 0.3, 0.5)),
}
_MAX_REPORT_CLOUDS = 2000

#: Logits of all clouds of a source by network, and descriptors of the first network, under a
#: rotation (its name and the number of the draw).
Classify = Callable[[PointViewSpec, tuple[str, int]], tuple[dict[str, np.ndarray], np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig(SupervisedConfig):
    """What to classify, and how.

    Attributes:
        regularizer: What the features of each network are regularized by beside the classes, by
            name, alone or called with options: `sigreg`, `covariance(form='norm')`. None for
            nothing.
        regularizer_weight: Its weight; that of the cross-entropy is 1.
        eval_densities: Further numbers of points at which held-out clouds are tested under random
            rotation; `stored_points` must be as many.
        robustness: Also test with noise, with points dropped, and with a side cut off, under random
            rotation.

    Raises:
        ValueError: For a value out of range.
    """

    evaluation_only: ClassVar[frozenset[str]] = SupervisedConfig.evaluation_only | {
        "robustness",
        "eval_densities",
    }

    regularizer: str | Callable[..., Any] | None = None
    regularizer_weight: float = 0.1
    eval_densities: tuple[int, ...] = ()
    robustness: bool = False

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.regularizer, str):
            regularizer_by_name(self.regularizer)
        for number in self.eval_densities:
            if not 1 <= number <= self.stored_points:
                raise ValueError(
                    f"eval_densities must be between 1 and the {self.stored_points} stored points, "
                    f"got {number}"
                )
        if not self.regularizer_weight >= 0:
            raise ValueError(
                f"regularizer_weight must not be negative, got {self.regularizer_weight}"
            )

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `classification_task`."""
        task = classification_task(
            self, num_classes=splits.train.num_classes, dtype=dtype, axis_name=axis_name
        )
        return task._replace(kept=kept_encoder(self))


def classification_task(
    config: ClassificationConfig,
    *,
    num_classes: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of classifying clouds.

    Views and dropout are keyed by the example's `index` in the data set: the loss does not depend
    on how the batch is sharded over devices. Rotations of held-out clouds depend on the seed
    and on their index; a cloud keeps its points under rotation, so `change` is what the
    rotation alone does to the logits, in parts of their length.

    Args:
        config: What to classify.
        num_classes: How many classes there are.
        dtype: Must be float32: in bfloat16 no network here is invariant beyond its third digit.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. Batches are those of `CloudSource`.

    Raises:
        ValueError: For another `dtype`.

    Examples:
        >>> from functools import partial
        >>> from pointcloud_jax.augment.views import PointViews, PointViewSpec
        >>> from pointcloud_jax.nn.dgcnn import DGCNN
        >>> tiny = partial(DGCNN, (4,), embedding=4, k=3)
        >>> config = ClassificationConfig(
        ...     networks={"plain": tiny}, view=PointViewSpec(1, 6), stored_points=8, hidden=(4,)
        ... )
        >>> task = classification_task(config, num_classes=3)
        >>> batch = {"points": jnp.ones((2, 8, 3)), "label": jnp.arange(2), "index": jnp.arange(2)}
        >>> params, state = jax.eval_shape(task.init, jax.random.key(0))
        >>> outputs, _ = jax.eval_shape(task.encode, params, state, jax.random.key(1), batch)
        >>> outputs["plain"].shape
        (2, 8)
    """
    check_float32(dtype)

    net = cloud_networks(
        config, functools.partial(Classifier, num_classes=num_classes), axis_name=axis_name
    )
    regularizer = config.regularizer
    if isinstance(regularizer, str):
        regularizer = regularizer_by_name(regularizer)

    def loss(params: Any, state: Any, key: PRNGKeyArray, outputs: Any, batch: Batch):
        keys, label = example_keys(key, batch["index"]), batch["label"]
        target = optax.smooth_labels(jax.nn.one_hot(label, num_classes), config.label_smoothing)
        models, scores = net.merge(params, state), {}
        for name, model in models.items():
            logits = model.classify(outputs[name], train=True, keys=keys)
            right = (logits.argmax(-1) == label).astype(jnp.float32)
            scores[name] = optax.softmax_cross_entropy(logits, target), right
        total, metrics = summed_loss(scores, mask=label >= 0, axis_name=axis_name)
        if regularizer is not None:
            _, own_key = jax.random.split(key)
            for name, features in outputs.items():
                value = regularizer(own_key, features, mask=label >= 0, axis_name=axis_name)
                total += config.regularizer_weight * value
                metrics["regularizer" if len(outputs) == 1 else f"regularizer_{name}"] = value
        return total, (net.state_of(models, but="encoder"), metrics)

    @functools.partial(jax.jit, static_argnames="votes")
    def forward(variables: Variables, arguments: dict[str, Any], votes: int):
        """Logits of all networks, averaged over votes, and descriptors of the first network."""
        descriptors, logits = None, {}
        for name, model in net.merge(*variables).items():
            described = model.encoder(**arguments)
            first = described.reshape(votes, -1, described.shape[-1])[0]
            descriptors = first if descriptors is None else descriptors
            every = model.classify(described)
            logits[name] = every.reshape(votes, -1, num_classes).mean(0)
        return logits, descriptors

    metrics = accuracy_metrics(tuple(config.makers()))
    if regularizer is not None:
        metrics |= regularizer_metrics(tuple(config.makers()))
    return Task(
        net.init,
        functools.partial(encode_clouds, config, net, lambda encoder, **given: encoder(**given)),
        loss,
        net.kinds,
        metrics,
        {"protocols": functools.partial(evaluate_protocols, config, forward, num_classes)},
        {"accuracy": functools.partial(watch_accuracy, config, forward)},
    )


def evaluate_protocols(
    config: ClassificationConfig,
    forward: Callable[..., Any],
    num_classes: int,
    key: PRNGKeyArray,
    variables: Mapping[str, Variables],
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> Results:
    """Score the trained networks on held-out clouds under every protocol, and on damaged ones.

    Args:
        config: Which protocols.
        forward: Gives logits of all networks and descriptors of the first one, from variables,
            arguments of an encoder, and the number of votes.
        num_classes: How many classes there are.
        key: Random key.
        variables: Variables by name.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        Those of `score_protocols`, with curves of damage and pictures of the descriptors.
    """
    rotation_key, report_key = jax.random.split(key)

    def classify(spec: PointViewSpec, how: tuple[str, int]):
        def one(views: PointViews, arguments: dict[str, Any], batch: Batch):
            del views, batch
            return forward(variables["encoder"], arguments, spec.count)

        size = config.eval_batch_size
        return map_rotated(
            rotation_key, one, splits.test, shard_batch, spec=spec, how=how, batch_size=size
        ).outputs

    results, described = score_protocols(config, classify, splits, num_classes)
    curves = score_damage(config, classify, splits) if config.robustness else {}
    pictures = [*class_pictures(report_key, splits, described), *results.pictures]
    if curves:
        draw = functools.partial(plot_lines, curves, ylabel="accuracy under random rotation")
        caption = "Clouds damaged in evaluation alone."
        pictures.append(Picture("Robustness", draw, caption, vector=True))
        results = results._replace(details={**results.details, "robustness": curves})
    return results._replace(pictures=pictures)


def watch_accuracy(
    config: ClassificationConfig,
    forward: Callable[..., Any],
    key: PRNGKeyArray,
    variables: Variables,
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> dict[str, float]:
    """Score each network, or the only one, on a few clouds rotated as in training.

    Args:
        config: How many clouds.
        forward: As for `evaluate_protocols`.
        key: Random key.
        variables: Of the networks.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        Accuracies by name.
    """

    def one(views: PointViews, arguments: dict[str, Any], batch: Batch):
        del views, batch
        return forward(variables, arguments, 1)[0]

    found = map_few_rotated(key, one, splits.test, shard_batch, config)
    return named_accuracies(
        {
            name: float((logits.argmax(1) == found.label).mean())
            for name, logits in found.outputs.items()
        }
    )


def score_protocols(
    config: ClassificationConfig, classify: Classify, splits: Splits, num_classes: int
) -> tuple[Results, np.ndarray]:
    """Score every network under every protocol, and measure how a rotation changes its logits.

    Args:
        config: Which protocols, and how often each is drawn.
        classify: Gives logits and descriptors under a rotation.
        splits: The data.
        num_classes: How many classes there are.

    Returns:
        Accuracies, changes and confusion, and the descriptors of upright clouds.
    """
    true, spec = np.asarray(splits.test.labels), evaluation_view(config)
    suites: dict[str, dict[str, float]] = {name: {} for name in config.makers()}
    change: dict[str, dict[str, float]] = {name: {} for name in config.makers()}
    upright, described, confusion = {}, np.zeros((0, 0)), {}
    for protocol, (rotation, draws) in protocols(config).items():
        scores: dict[str, list] = {name: [] for name in config.makers()}
        for draw in range(draws):
            logits, features = classify(spec, (rotation, draw))
            if rotation == "none":
                upright, described = logits, features
            for name in config.makers():
                values = logits[name]
                matrix = confusion_matrix(true, values.argmax(1), num_classes)
                scores[name].append(accuracies(matrix))
                if rotation == "so3" and draw == 0:
                    confusion[f"{name}, {protocol}"] = matrix
                moved = np.linalg.norm(values - upright[name], axis=1)
                length = np.linalg.norm(upright[name], axis=1)
                change[name][f"change, {protocol}"] = float((moved / length).mean())
        for name, values in scores.items():
            mean, deviation = np.mean(values, 0), np.std(values, 0)
            suites[name][protocol] = mean[0]
            change[name][f"class mean, {protocol}"] = float(mean[1])
            if draws > 1:
                suites[name][f"{protocol}_std"] = deviation[0]
    for number in config.eval_densities:
        logits, _ = classify(dataclasses.replace(spec, num_points=number), ("so3", 0))
        for name in config.makers():
            title = f"{PROTOCOL_NAMES[config.view.rotation]}/SO(3), {number} points"
            suites[name][title] = float((logits[name].argmax(1) == true).mean())
    draw = functools.partial(plot_confusion, confusion, splits.test.class_names)
    caption = "Rows are true classes, columns what the network says."
    details = {
        "confusion": {title: matrix.tolist() for title, matrix in confusion.items()},
        "class_names": list(splits.test.class_names),
    }
    picture = Picture("Confusion", draw, caption, vector=True)
    return Results(by_score(suites), change, details, [picture]), described


def score_damage(
    config: ClassificationConfig, classify: Classify, splits: Splits
) -> dict[str, dict[str, dict[float, float]]]:
    """Return the accuracies under random rotation of damaged clouds: damage, network, amount."""
    true, spec = np.asarray(splits.test.labels), evaluation_view(config)
    curves: dict[str, dict[str, dict[float, float]]] = {}
    for title, (field, amounts) in _DAMAGE.items():
        curves[title] = {name: {} for name in config.makers()}
        for amount in amounts:
            value = amount if field == "jitter" else (amount, amount)
            logits, _ = classify(dataclasses.replace(spec, **{field: value}), ("so3", 0))
            for name in config.makers():
                curves[title][name][amount] = float((logits[name].argmax(1) == true).mean())
    return curves


def class_pictures(key: PRNGKeyArray, splits: Splits, described: np.ndarray) -> list[Picture]:
    """List the pictures of descriptors of a sample of the held-out clouds."""
    true = np.asarray(splits.test.labels)
    shown = np.linspace(0, len(true) - 1, min(len(true), _MAX_REPORT_CLOUDS)).astype(int)
    clouds = splits.test.gather(shown)
    return embedding_pictures(
        key,
        features=described[shown],
        labels=true[shown],
        images=render_clouds(clouds["points"], mask=clouds.get("exists")),
        class_names=splits.test.class_names,
    )
