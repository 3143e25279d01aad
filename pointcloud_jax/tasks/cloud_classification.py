"""Supervised classification of clouds, as a task of the training loop."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Int, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.data.batches import eval_batches
from lejepa_jax.data.splits import Splits
from lejepa_jax.report.page import assemble_results, results_table, write_report
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.task import Batch, Evaluation, Task, Variables
from pointcloud_jax.nn.heads import Classifier
from pointcloud_jax.render import plot_confusion, plot_lines, render_clouds
from pointcloud_jax.tasks.supervised import (
    SupervisedConfig,
    evaluation_view,
    global_mean,
    named,
    protocols,
    see,
    side_by_side,
    training_view,
)

# Damage of held-out clouds: the attribute of `PointViewSpec`, and how much.
_DAMAGE: dict[str, tuple[str, tuple[float, ...]]] = {
    "noise, standard deviation": ("jitter", (0.0, 0.01, 0.02, 0.03, 0.05)),
    "points dropped": ("dropout", (0.0, 0.25, 0.5, 0.75, 0.9)),
    "points cut off by a plane": ("cut", (0.0, 0.1, 0.2, 0.3, 0.5)),
}
_MAX_REPORT_CLOUDS = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig(SupervisedConfig):
    """What to classify, and how.

    Attributes:
        robustness: Also test with noise, with points dropped, and with a side cut off, under random
            rotation.

    Raises:
        ValueError: For a value out of range.
    """

    evaluation_only: ClassVar[frozenset[str]] = SupervisedConfig.evaluation_only | {"robustness"}

    robustness: bool = False

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `classification`."""
        return classification(
            self, num_classes=splits.train.num_classes, dtype=dtype, axis_name=axis_name
        )


def classification(
    config: ClassificationConfig,
    *,
    num_classes: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of classifying clouds.

    Views and dropout are keyed by the example's `index` in the data set: the loss does not depend
    on how the batch is spread over devices. Held-out clouds are turned by rotations that depend on
    the seed and on their index; a cloud keeps its points when it turns, so `change` is what the
    rotation alone does to the logits, in parts of their length.

    Args:
        config: What to classify.
        num_classes: How many classes there are.
        dtype: Must be float32: in bfloat16 no network here is invariant beyond its third digit.
        axis_name: Mapped axis over which batches are spread; None where the compiler spreads them.

    Returns:
        The task. Batches are those of `CloudSource`.

    Raises:
        ValueError: For another `dtype`.

    Examples:
        >>> from functools import partial
        >>> from pointcloud_jax.augment.views import PointViewSpec
        >>> from pointcloud_jax.nn.dgcnn import DGCNN
        >>> tiny = partial(DGCNN, (4,), embedding=4, k=3)
        >>> config = ClassificationConfig(
        ...     networks={"plain": tiny}, view=PointViewSpec(1, 6), stored_points=8, hidden=(4,)
        ... )
        >>> task = classification(config, num_classes=3)
        >>> batch = {"points": jnp.ones((2, 8, 3)), "label": jnp.arange(2), "index": jnp.arange(2)}
        >>> params, state = jax.eval_shape(task.init, jax.random.key(0))
        >>> outputs, _ = jax.eval_shape(task.encode, params, state, jax.random.key(1), batch)
        >>> outputs["plain"].shape
        (2, 8)
    """
    check_float32(dtype)

    def maker(encoder: Any):
        def make(rngs: nnx.Rngs) -> Classifier:
            return Classifier(
                encoder(axis_name=axis_name, rngs=rngs),
                num_classes,
                hidden=config.hidden,
                dropout_rate=config.dropout_rate,
                axis_name=axis_name,
                rngs=rngs,
            )

        return make

    networks = side_by_side({name: maker(encoder) for name, encoder in config.networks.items()})

    def encode(params: Any, state: Any, key: PRNGKeyArray, batch: Batch):
        keys = example_keys(key, batch["index"])
        _, arguments = training_view(keys, batch, config.view)
        outputs, after = {}, {}
        for name in networks.names:
            after[name] = networks.merge(name, params, state)
            outputs[name] = after[name].encoder(**arguments, train=True, keys=keys)
        return outputs, networks.changed(after, "encoders")

    def loss(params: Any, state: Any, key: PRNGKeyArray, outputs: Any, batch: Batch):
        keys = example_keys(key, batch["index"])
        label = batch["label"]
        known = (label >= 0).astype(jnp.float32)
        hot = jax.nn.one_hot(label, num_classes)
        target = optax.smooth_labels(hot, config.label_smoothing)
        total, metrics, after = jnp.float32(0), {}, {}
        for name in networks.names:
            after[name] = networks.merge(name, params, state)
            logits = after[name].classify(outputs[name], train=True, keys=keys)
            entropy = optax.softmax_cross_entropy(logits, target)
            right = (logits.argmax(-1) == label).astype(jnp.float32)
            value = global_mean(entropy, known, axis_name)
            total = total + value
            metrics[name] = {"accuracy": global_mean(right, known, axis_name)}
            if len(networks.names) > 1:
                metrics[name]["loss"] = value
        return total, (networks.changed(after, "heads"), named(metrics, networks.names))

    show = jax.jit(see, static_argnames=("spec", "rotation"))

    @jax.jit
    def forward(variables: Variables, arguments: dict[str, Any], votes: Array):
        """Descriptors of the first network, and logits of all, averaged over the votes."""
        descriptors, logits = None, {}
        for name in networks.names:
            network = networks.merge(name, *variables)
            described = network.encoder(**arguments)
            descriptors = described if descriptors is None else descriptors
            every = network.classify(described)
            logits[name] = every.reshape(votes.shape[0], -1, num_classes).mean(0)
        return descriptors, logits

    def classify(
        key: PRNGKeyArray, variables: Variables, source: Any, place: Any, spec: Any, how: tuple
    ):
        """Logits by network, and descriptors, of all clouds under one rotation."""
        rotation, draw = how
        rows: list[list[np.ndarray]] = []
        for batch in eval_batches(source, batch_size=config.eval_batch_size):
            keep = batch.pop("mask")
            _, arguments = show(key, place(batch), jnp.int32(draw), spec=spec, rotation=rotation)
            described, logits = forward(variables, arguments, jnp.zeros(spec.count))
            # By name: a compiled function returns dictionaries in the order of their keys.
            outputs = [described[: len(keep)], *(logits[name] for name in networks.names)]
            rows.append([np.asarray(array)[keep] for array in outputs])
        described, *logits = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return dict(zip(networks.names, logits, strict=True)), described

    def evaluate(
        key: PRNGKeyArray, trained: Variables, untrained: Variables, splits: Splits, place: Any
    ) -> Evaluation:
        del untrained
        see_key, report_key = jax.random.split(key)
        source, true = splits.test, np.asarray(splits.test.labels)
        spec = evaluation_view(config)
        suites: dict[str, dict[str, float]] = {name: {} for name in networks.names}
        change: dict[str, dict[str, float]] = {name: {} for name in networks.names}
        upright, described, confusion = {}, np.zeros((0, 0)), {}
        for protocol, (rotation, draws) in protocols(config).items():
            scores: dict[str, list] = {name: [] for name in networks.names}
            for draw in range(draws):
                logits, features = classify(see_key, trained, source, place, spec, (rotation, draw))
                if rotation == "none":
                    upright, described = logits, features
                for name, values in logits.items():
                    matrix = confusion_matrix(true, values.argmax(1), num_classes)
                    scores[name].append(_accuracies(matrix))
                    if rotation == "so3" and draw == 0:
                        confusion[f"{name}, {protocol}"] = matrix
                    moved = np.linalg.norm(values - upright[name], axis=1)
                    length = np.linalg.norm(upright[name], axis=1)
                    change[name][f"change, {protocol}"] = float((moved / length).mean())
            for name, values in scores.items():
                mean, spread = np.mean(values, 0), np.std(values, 0)
                suites[name][protocol] = mean[0]
                change[name][f"class mean, {protocol}"] = float(mean[1])
                if draws > 1:
                    suites[name][f"{protocol}_std"] = spread[0]
        results = assemble_results(suites, diagnostics=change)
        results["confusion"] = {title: matrix.tolist() for title, matrix in confusion.items()}
        curves = {}
        if config.robustness:
            for title, (field, amounts) in _DAMAGE.items():
                curves[title] = {name: {} for name in networks.names}
                for amount in amounts:
                    value = amount if field == "jitter" else (amount, amount)
                    damaged = dataclasses.replace(spec, **{field: value})
                    logits, _ = classify(see_key, trained, source, place, damaged, ("so3", 0))
                    for name, values in logits.items():
                        curves[title][name][amount] = float((values.argmax(1) == true).mean())
            results["robustness"] = curves

        def report(path: Path, title: str, recipe: dict, metrics: list[dict]) -> Path:
            shown = np.linspace(0, len(true) - 1, min(len(true), _MAX_REPORT_CLOUDS)).astype(int)
            clouds = source.gather(shown)
            figures = [
                (
                    "Confusion",
                    plot_confusion(confusion, source.class_names),
                    "Rows are true classes, columns what the network says.",
                )
            ]
            if curves:
                figure = plot_lines(curves, ylabel="accuracy under random rotation")
                figures.append(("Robustness", figure, "Clouds damaged in evaluation alone."))
            return write_report(
                report_key,
                path,
                title=title,
                config=recipe,
                metrics=metrics,
                results=_tables(results),
                features=described[shown],
                labels=true[shown],
                images=render_clouds(clouds["points"], mask=clouds.get("exists")),
                class_names=source.class_names,
                figures=figures,
            )

        return Evaluation(results, results_table(_tables(results)), report)

    return Task(networks.init, encode, loss, evaluate)


def check_float32(dtype: DTypeLike) -> None:
    """Require float32.

    Raises:
        ValueError: For another type.
    """
    if jnp.dtype(dtype) != jnp.float32:
        raise ValueError(
            f"precision must be float32 for networks on clouds, got {jnp.dtype(dtype)}: in fewer "
            "digits none is invariant"
        )


def confusion_matrix(
    true: Int[np.ndarray, " n"], called: Int[np.ndarray, " n"], num_classes: int
) -> Int[np.ndarray, "{num_classes} {num_classes}"]:
    """Count how often each class (row) was called each class (column).

    Args:
        true: True classes.
        called: What they were taken for.
        num_classes: Number of classes.

    Returns:
        The counts.

    Examples:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
        array([[1, 0],
               [1, 1]])
    """
    counts = np.bincount(true * num_classes + called, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def _accuracies(matrix: np.ndarray) -> tuple[float, float]:
    """Part of all that is right, and its mean over the classes that occur."""
    total, right = matrix.sum(1), np.diag(matrix)
    return float(right.sum() / total.sum()), float((right / np.maximum(total, 1))[total > 0].mean())


def _tables(results: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is no table of accuracies."""
    return {k: v for k, v in results.items() if k not in ("confusion", "robustness")}
