"""Segmentation of clouds into parts, as a task of the training loop."""

import dataclasses
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
from pointcloud_jax.nn.heads import Segmenter
from pointcloud_jax.render import part_colors, render_clouds
from pointcloud_jax.tasks.cloud_classification import check_float32
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

_SHOWN = 10  # clouds in the picture of the report


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationConfig(SupervisedConfig):
    """What to segment, and how.

    Attributes:
        tell_category: Whether networks are told to which category a cloud belongs.

    Raises:
        ValueError: For a value out of range.
    """

    wants_parts: ClassVar[bool] = True

    hidden: tuple[int, ...] = (256, 256, 128)
    dropout_rate: float = 0.4
    tell_category: bool = True

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `segmentation`."""
        part_class = splits.train.part_class
        return segmentation(self, part_class=part_class, dtype=dtype, axis_name=axis_name)


def segmentation(
    config: SegmentationConfig,
    *,
    part_class: Int[np.ndarray, " q"],
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of assigning the points of clouds to parts.

    The loss is the mean over all known points of the global batch. In evaluation a point is given
    the likeliest part of its cloud's category, as is usual. The logits of several votes are summed
    point by point; points that no view has chosen do not count.

    Args:
        config: What to segment.
        part_class: The category that each part belongs to.
        dtype: Must be float32, as for `classification`.
        axis_name: Mapped axis over which batches are spread; None where the compiler spreads them.

    Returns:
        The task. Batches are those of `CloudSource`, with `part`.

    Raises:
        ValueError: For another `dtype`.

    Examples:
        >>> from functools import partial
        >>> from pointcloud_jax.augment.views import PointViewSpec
        >>> from pointcloud_jax.nn.dgcnn import DGCNN
        >>> tiny = partial(DGCNN, (4,), embedding=4, k=3)
        >>> config = SegmentationConfig(
        ...     networks={"plain": tiny}, view=PointViewSpec(1, 6), stored_points=8, hidden=(4,)
        ... )
        >>> task = segmentation(config, part_class=np.array([0, 0, 1]))
        >>> batch = {"points": jnp.ones((2, 8, 3)), "label": jnp.arange(2), "index": jnp.arange(2),
        ...     "part": jnp.zeros((2, 8), jnp.int32)}
        >>> params, state = jax.eval_shape(task.init, jax.random.key(0))
        >>> outputs, _ = jax.eval_shape(task.encode, params, state, jax.random.key(1), batch)
        >>> outputs["plain"].per_point.shape
        (2, 6, 4)
    """
    check_float32(dtype)
    num_parts, num_categories = len(part_class), int(part_class.max()) + 1

    def maker(encoder: Any):
        def make(rngs: nnx.Rngs) -> Segmenter:
            return Segmenter(
                encoder(axis_name=axis_name, rngs=rngs),
                num_parts,
                num_categories=num_categories if config.tell_category else 0,
                hidden=config.hidden,
                dropout_rate=config.dropout_rate,
                axis_name=axis_name,
                rngs=rngs,
            )

        return make

    networks = side_by_side({name: maker(encoder) for name, encoder in config.networks.items()})

    def category(batch: Batch, repeats: int = 1):
        return jnp.tile(batch["label"], repeats) if config.tell_category else None

    def encode(params: Any, state: Any, key: PRNGKeyArray, batch: Batch):
        keys = example_keys(key, batch["index"])
        _, arguments = training_view(keys, batch, config.view)
        outputs, after = {}, {}
        for name in networks.names:
            after[name] = networks.merge(name, params, state)
            outputs[name] = after[name].encoder.describe(**arguments, train=True, keys=keys)
        return outputs, networks.changed(after, "encoders")

    def loss(params: Any, state: Any, key: PRNGKeyArray, outputs: Any, batch: Batch):
        # Drawn again rather than handed over: outputs are what has a gradient.
        keys = example_keys(key, batch["index"])
        views, arguments = training_view(keys, batch, config.view)
        part = jnp.take_along_axis(batch["part"], views.index, axis=1)
        known = (views.mask & (part >= 0)).astype(jnp.float32)
        target = optax.smooth_labels(jax.nn.one_hot(part, num_parts), config.label_smoothing)
        total, metrics, after = jnp.float32(0), {}, {}
        for name in networks.names:
            after[name] = networks.merge(name, params, state)
            logits = after[name].segment(
                outputs[name],
                category=category(batch),
                mask=arguments["mask"],
                train=True,
                keys=keys,
            )
            entropy = optax.softmax_cross_entropy(logits, target)
            right = (logits.argmax(-1) == part).astype(jnp.float32)
            value = global_mean(entropy, known, axis_name)
            total = total + value
            metrics[name] = {"accuracy": global_mean(right, known, axis_name)}
            if len(networks.names) > 1:
                metrics[name]["loss"] = value
        return total, (networks.changed(after, "heads"), named(metrics, networks.names))

    show = jax.jit(see, static_argnames=("spec", "rotation"))

    @jax.jit
    def forward(variables: Variables, arguments: dict[str, Any], batch: Batch) -> dict[str, Array]:
        repeats = arguments["points"].shape[0] // batch["label"].shape[0]
        told = category(batch, repeats)
        return {
            name: networks.merge(name, *variables)(**arguments, category=told)
            for name in networks.names
        }

    def segment(
        key: PRNGKeyArray, variables: Variables, source: Any, place: Any, how: tuple
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Summed logits of all stored points by network, and which of them were seen."""
        rotation, draw = how
        spec = evaluation_view(config)
        sums: dict[str, list[np.ndarray]] = {name: [] for name in networks.names}
        seen = []
        for batch in eval_batches(source, batch_size=config.eval_batch_size):
            keep = batch.pop("mask")
            placed = place(batch)
            views, arguments = show(key, placed, jnp.int32(draw), spec=spec, rotation=rotation)
            logits = forward(variables, arguments, placed)
            index, mask = np.asarray(views.index), np.asarray(views.mask)
            rows = np.broadcast_to(np.arange(len(keep))[None, :, None], index.shape)
            shape = (len(keep), source.num_points)
            times = np.zeros(shape, np.int32)
            np.add.at(times, (rows[mask], index[mask]), 1)
            seen.append((times > 0)[keep])
            for name, values in logits.items():
                total = np.zeros((*shape, num_parts), np.float32)
                values = np.asarray(values).reshape(*index.shape, num_parts)
                np.add.at(total, (rows[mask], index[mask]), values[mask])
                sums[name].append(total[keep])
        return {name: np.concatenate(v) for name, v in sums.items()}, np.concatenate(seen)

    def evaluate(
        key: PRNGKeyArray, trained: Variables, untrained: Variables, splits: Splits, place: Any
    ) -> Evaluation:
        del untrained
        see_key, report_key = jax.random.split(key)
        source = splits.test
        everything = source.gather(np.arange(len(source)))
        true, labels = everything["part"], everything["label"]
        suites: dict[str, dict[str, float]] = {name: {} for name in networks.names}
        change: dict[str, dict[str, float]] = {name: {} for name in networks.names}
        upright: dict[str, np.ndarray] = {}
        shown: dict[str, np.ndarray] = {}
        pictured = np.linspace(0, len(labels) - 1, min(len(labels), _SHOWN)).astype(int)
        for protocol, (rotation, draws) in protocols(config).items():
            scores: dict[str, list] = {name: [] for name in networks.names}
            for draw in range(draws):
                logits, seen = segment(see_key, trained, source, place, (rotation, draw))
                upright = upright or logits
                known = seen & (true >= 0)
                for name, values in logits.items():
                    called = call_parts(values, labels, part_class)
                    scores[name].append(_scores(called, true, known, labels, part_class))
                    moved = np.linalg.norm((values - upright[name])[known], axis=-1)
                    length = np.linalg.norm(upright[name][known], axis=-1)
                    change[name][f"change, {protocol}"] = float((moved / length).mean())
                    if draw == 0:
                        shown[f"{name}, {protocol}"] = np.where(seen, called, -1)[pictured]
            for name, values in scores.items():
                for title, column in zip(
                    ("instance mIoU", "class mIoU", "points"), np.array(values).T, strict=True
                ):
                    suites[name][f"{protocol}, {title}"] = column.mean()
                    if draws > 1:
                        suites[name][f"{protocol}, {title}_std"] = column.std()
        results = assemble_results(suites, diagnostics=change)

        def report(path: Path, title: str, recipe: dict, metrics: list[dict]) -> Path:
            from matplotlib.figure import Figure

            clouds = everything["points"][pictured]
            exists = everything["exists"][pictured] if "exists" in everything else None
            rows = {"true": true[pictured], **shown}
            pictures = [
                np.concatenate(
                    list(render_clouds(clouds, size=128, mask=exists, colors=part_colors(part))),
                    axis=1,
                )
                for part in rows.values()
            ]
            figure = Figure(figsize=(10, 1.4 * len(rows)), layout="constrained")
            axes = figure.subplots(len(rows), squeeze=False)[:, 0]
            for ax, name, picture in zip(axes, rows, pictures, strict=True):
                ax.imshow(picture)
                ax.set_title(name, fontsize=9, loc="left")
                ax.set_axis_off()
            caption = "The truth, then each network under each protocol."
            return write_report(
                report_key,
                path,
                title=title,
                config=recipe,
                metrics=metrics,
                results=results,
                figures=[("Parts", figure, caption)],
            )

        return Evaluation(results, results_table(results), report)

    return Task(networks.init, encode, loss, evaluate)


def call_parts(
    logits: np.ndarray, labels: Int[np.ndarray, " b"], part_class: Int[np.ndarray, " q"]
) -> Int[np.ndarray, "b n"]:
    """Give each point the likeliest of the parts that its cloud's category has.

    Args:
        logits: Scores (b, n, q).
        labels: Category of each cloud.
        part_class: The category that each part belongs to.

    Returns:
        Numbers of parts.

    Examples:
        >>> call_parts(np.array([[[9.0, 1.0, 2.0]]]), np.array([1]), np.array([0, 1, 1]))
        array([[2]])
    """
    allowed = labels[:, None] == part_class[None]
    return np.where(allowed[:, None, :], logits, -np.inf).argmax(-1)


def part_iou(
    called: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"], parts: Int[np.ndarray, " p"]
) -> float:
    """Mean over parts of intersection over union; a part in neither counts as 1.

    Args:
        called: Part each point was given.
        true: Part it has.
        parts: Parts of the category.

    Returns:
        The mean, in [0, 1].

    Examples:
        >>> part_iou(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0, 1, 2]))
        0.6666666666666666

    References:
        L. Yi et al., "A Scalable Active Framework for Region Annotation in 3D Shape Collections",
        ACM Transactions on Graphics 35, 2016.
    """
    scores = []
    for part in parts:
        both, either = (called == part) & (true == part), (called == part) | (true == part)
        scores.append(both.sum() / either.sum() if either.any() else 1.0)
    return float(np.mean(scores))


def _scores(called, true, known, labels, part_class) -> tuple[float, float, float]:
    """Mean IoU over clouds, its mean over categories, and how many of the points are right."""
    every = np.array(
        [
            part_iou(one[kept], other[kept], np.flatnonzero(part_class == label))
            for one, other, kept, label in zip(called, true, known, labels, strict=True)
        ]
    )
    by_class = [every[labels == label].mean() for label in np.unique(labels)]
    right = (called == true)[known].mean()
    return float(every.mean()), float(np.mean(by_class)), float(right)
