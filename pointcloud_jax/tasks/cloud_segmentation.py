"""Segmentation of clouds into parts, as a task of the training loop."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch
from lejepa_jax.evaluation.results import Picture, Results, by_score
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.networks import Variables
from lejepa_jax.training.task import Batch, Task
from pointcloud_jax.augment.views import PointViews
from pointcloud_jax.nn.heads import Segmenter
from pointcloud_jax.render import part_colors, render_clouds
from pointcloud_jax.tasks.rotation_protocols import (
    evaluation_view,
    map_few_rotated,
    map_rotated,
    protocols,
)
from pointcloud_jax.tasks.scores import call_parts, segmentation_scores
from pointcloud_jax.tasks.supervised import (
    SupervisedConfig,
    accuracy_metrics,
    check_float32,
    cloud_networks,
    encode_clouds,
    kept_encoder,
    named_accuracies,
    summed_loss,
    training_view,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 10  # clouds in the picture of the report


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationConfig(SupervisedConfig):
    """What to segment, and how.

    Attributes:
        tell_category: Whether networks get the category of each cloud.

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
        """Make the task; see `segmentation_task`."""
        part_class = splits.train.part_class
        task = segmentation_task(self, part_class=part_class, dtype=dtype, axis_name=axis_name)
        return task._replace(kept=kept_encoder(self))


def segmentation_task(
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
        dtype: Must be float32, as for `classification_task`.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

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
        >>> task = segmentation_task(config, part_class=np.array([0, 0, 1]))
        >>> batch = {"points": jnp.ones((2, 8, 3)), "label": jnp.arange(2), "index": jnp.arange(2),
        ...     "part": jnp.zeros((2, 8), jnp.int32)}
        >>> params, state = jax.eval_shape(task.init, jax.random.key(0))
        >>> outputs, _ = jax.eval_shape(task.encode, params, state, jax.random.key(1), batch)
        >>> outputs["plain"].per_point.shape
        (2, 6, 4)
    """
    check_float32(dtype)
    num_parts, num_categories = len(part_class), int(part_class.max()) + 1

    head = functools.partial(
        Segmenter,
        num_parts=num_parts,
        num_categories=num_categories if config.tell_category else 0,
    )
    net = cloud_networks(config, head, axis_name=axis_name)

    def category(batch: Batch, repeats: int = 1):
        return jnp.tile(batch["label"], repeats) if config.tell_category else None

    def loss(params: Any, state: Any, key: PRNGKeyArray, outputs: Any, batch: Batch):
        # Drawn again rather than handed over: outputs are what has a gradient.
        keys = example_keys(key, batch["index"])
        views, arguments = training_view(keys, batch, config.view)
        part = jnp.take_along_axis(batch["part"], views.index, axis=1)
        target = optax.smooth_labels(jax.nn.one_hot(part, num_parts), config.label_smoothing)
        models, scores = net.merge(params, state), {}
        for name, model in models.items():
            logits = model.segment(
                outputs[name],
                category=category(batch),
                mask=arguments["mask"],
                train=True,
                keys=keys,
            )
            right = (logits.argmax(-1) == part).astype(jnp.float32)
            scores[name] = optax.softmax_cross_entropy(logits, target), right
        known = views.mask & (part >= 0)
        total, metrics = summed_loss(scores, mask=known, axis_name=axis_name)
        return total, (net.state_of(models, but="encoder"), metrics)

    @jax.jit
    def forward(variables: Variables, views: PointViews, arguments: dict[str, Any], batch: Batch):
        """Logits of every stored point by network, summed over votes, and which were seen."""
        chosen = category(batch, views.index.shape[0])
        stored = batch["points"].shape[1]
        logits = {
            name: sum_votes(model(**arguments, category=chosen), views, stored)
            for name, model in net.merge(*variables).items()
        }
        rows = jnp.arange(views.index.shape[1])[None, :, None]
        seen = jnp.zeros((views.index.shape[1], stored), bool)
        return logits, seen.at[rows, views.index].max(views.mask)

    return Task(
        net.init,
        functools.partial(
            encode_clouds, config, net, lambda encoder, **given: encoder.describe(**given)
        ),
        loss,
        net.kinds,
        accuracy_metrics(tuple(config.makers())),
        {"protocols": functools.partial(evaluate_protocols, config, forward, part_class)},
        {"accuracy": functools.partial(watch_accuracy, config, forward, part_class)},
    )


def evaluate_protocols(
    config: SegmentationConfig,
    forward: Callable[..., Any],
    part_class: Int[np.ndarray, " q"],
    key: PRNGKeyArray,
    variables: Mapping[str, Variables],
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> Results:
    """Score the trained networks on held-out clouds under every protocol.

    Args:
        config: Which protocols.
        forward: Gives the logits of all stored points by network and which points were seen, from
            variables, views, arguments of an encoder, and the batch.
        part_class: The category that each part belongs to.
        key: Random key.
        variables: Variables by name.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        Those of `score_parts`.
    """
    rotation_key, _ = jax.random.split(key)

    def segment(how: tuple[str, int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        return map_rotated(
            rotation_key,
            functools.partial(forward, variables["encoder"]),
            splits.test,
            shard_batch,
            spec=evaluation_view(config),
            how=how,
            batch_size=config.eval_batch_size,
        ).outputs

    return score_parts(config, segment, splits, part_class)


def watch_accuracy(
    config: SegmentationConfig,
    forward: Callable[..., Any],
    part_class: Int[np.ndarray, " q"],
    key: PRNGKeyArray,
    variables: Variables,
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> dict[str, float]:
    """Measure which part of the points each network gets right, on a few clouds.

    Args:
        config: How many clouds; they are rotated as in training.
        forward: As for `evaluate_protocols`.
        part_class: The category that each part belongs to.
        key: Random key.
        variables: Of the networks.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        Accuracies by name.
    """

    def one(views: PointViews, arguments: dict[str, Any], batch: Batch):
        return *forward(variables, views, arguments, batch), batch["part"]

    found = map_few_rotated(key, one, splits.test, shard_batch, config)
    logits, seen, true = found.outputs
    known = seen & (true >= 0)
    return named_accuracies(
        {
            name: float((call_parts(values, found.label, part_class) == true)[known].mean())
            for name, values in logits.items()
        }
    )


def score_parts(
    config: SegmentationConfig,
    segment: Callable[[tuple[str, int]], tuple[dict[str, np.ndarray], np.ndarray]],
    splits: Splits,
    part_class: Int[np.ndarray, " q"],
) -> Results:
    """Score every network under every protocol, and measure how a rotation changes its logits.

    Args:
        config: Which protocols, and how often each is drawn.
        segment: Gives the logits of all stored points by network and which points were seen, under
            a rotation: its name, and the number of the draw.
        splits: The data.
        part_class: The category that each part belongs to.

    Returns:
        Mean IoUs and accuracies, changes, and pictures.
    """
    everything = splits.test.gather(np.arange(len(splits.test)))
    true, labels = everything["part"], everything["label"]
    suites: dict[str, dict[str, float]] = {name: {} for name in config.makers()}
    change: dict[str, dict[str, float]] = {name: {} for name in config.makers()}
    upright: dict[str, np.ndarray] = {}
    pictured = np.linspace(0, len(labels) - 1, min(len(labels), _SHOWN)).astype(int)
    shown: dict[str, np.ndarray] = {"true": true[pictured]}
    for protocol, (rotation, draws) in protocols(config).items():
        scores: dict[str, list] = {name: [] for name in config.makers()}
        for draw in range(draws):
            logits, seen = segment((rotation, draw))
            upright = upright or logits
            known = seen & (true >= 0)
            for name in config.makers():
                values = logits[name]
                called = call_parts(values, labels, part_class)
                scores[name].append(segmentation_scores(called, true, known, labels, part_class))
                moved = np.linalg.norm((values - upright[name])[known], axis=-1)
                length = np.linalg.norm(upright[name][known], axis=-1)
                change[name][f"change, {protocol}"] = float((moved / length).mean())
                if draw == 0:
                    shown[f"{name}, {protocol}"] = np.where(seen, called, -1)[pictured]
        for name, values in scores.items():
            titles = ("instance mIoU", "class mIoU", "points")
            for title, column in zip(titles, np.array(values).T, strict=True):
                suites[name][f"{protocol}, {title}"] = column.mean()
                if draws > 1:
                    suites[name][f"{protocol}, {title}_std"] = column.std()
    exists = everything["exists"][pictured] if "exists" in everything else None
    draw_parts = functools.partial(plot_parts, everything["points"][pictured], exists, shown)
    caption = "The truth, then each network under each protocol."
    return Results(by_score(suites), change, {}, [Picture("Parts", draw_parts, caption)])


def sum_votes(
    logits: Float[Array, "rows n q"], views: PointViews, stored: int
) -> Float[Array, "b {stored} q"]:
    """Sum the logits of the views of each cloud at the points that they chose.

    Args:
        logits: Logits of views times clouds.
        views: The views, axes (view, cloud) first.
        stored: Number of points of a cloud.

    Returns:
        Sums in float32, zero at points that no view has chosen.
    """
    count, size = views.index.shape[:2]
    values = logits.reshape(count, size, *logits.shape[1:])
    values = jnp.where(views.mask[..., None], values, 0)
    rows = jnp.arange(size)[None, :, None]
    sums = jnp.zeros((size, stored, logits.shape[-1]), jnp.float32)
    return sums.at[rows, views.index].add(values)


def plot_parts(
    points: Float[np.ndarray, "b n 3"],
    exists: Bool[np.ndarray, "b n"] | None,
    parts: Mapping[str, Int[np.ndarray, "b n"]],
) -> "Figure":
    """Plot clouds colored by part, a row for each assignment of parts.

    Args:
        points: The clouds.
        exists: True for points that exist.
        parts: Part of each point by the name of the assignment; -1 for none.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.4 * len(parts)), layout="constrained")
    axes = figure.subplots(len(parts), squeeze=False)[:, 0]
    for ax, (name, part) in zip(axes, parts.items(), strict=True):
        pictures = render_clouds(points, size=128, mask=exists, colors=part_colors(part))
        ax.imshow(np.concatenate(list(pictures), axis=1))
        ax.set_title(name, fontsize=9, loc="left")
        ax.set_axis_off()
    return figure
