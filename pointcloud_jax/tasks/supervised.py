"""What supervised tasks on clouds share: views to train on, networks, the loss.

Several networks may be trained at once, see `lejepa_jax.training.networks.network_ensemble`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.checks import check_positive
from lejepa_jax.data.splits import Splits
from lejepa_jax.report.metric import Metric
from lejepa_jax.statistics.reductions import AxisName, global_mean
from lejepa_jax.tasks.watching import quick_accuracy_metrics
from lejepa_jax.training.networks import Network, network_ensemble
from lejepa_jax.training.task import Batch, Kept, Part
from pointcloud_jax.augment.views import PointViews, PointViewSpec, make_point_views
from pointcloud_jax.data import loading as data
from pointcloud_jax.nn.names import cloud_encoders_by_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupervisedConfig:
    """What to learn from labeled clouds, and how.

    Attributes:
        networks: Encoders by name, each made from `axis_name` and `rngs`; or the names of some as
            `cloud_encoders_by_name` reads them, such as `hierarchical, dipvnet-tiny`.
        view: The one random view of a cloud to train on; its `count` must be 1. Its `rotation` is
            that of the protocol, and its `up` the axis of "z", training and test alike.
        stored_points: Points kept of each cloud, of which every view chooses `view.num_points`.
        normals: Whether networks get normals.
        memory_limit: Bytes that the clouds may take; more is refused before it is read.
        hidden: Widths of the hidden layers of the head.
        dropout_rate: In the head.
        label_smoothing: Part of the target that is spread over all classes.
        eval_rotations: Random rotations of every held-out cloud, about the axis and of any kind;
            the results are means and standard deviations over them.
        eval_batch_size: Clouds at a time in evaluation.
        votes: Views of a held-out cloud whose logits are averaged. One is what is usually called
            "without voting"; of several, each chooses other points and a scale in [0.8, 1.25].
        quick_examples: Held-out clouds that are tested during training, rotated as in training;
            see `evaluate_every`.

    Raises:
        ValueError: For a value out of range.
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {"eval_rotations", "eval_batch_size", "votes", "quick_examples"}
    )
    #: Whether the clouds must come with the parts of their points.
    wants_parts: ClassVar[bool] = False

    networks: str | Mapping[str, Callable[..., Any]]
    view: PointViewSpec
    stored_points: int
    normals: bool = False
    memory_limit: int = 2**31
    hidden: tuple[int, ...] = (512, 256)
    dropout_rate: float = 0.5
    label_smoothing: float = 0.2
    eval_rotations: int = 3
    eval_batch_size: int = 32
    votes: int = 1
    quick_examples: int = 200

    def __post_init__(self):
        if not self.networks:
            raise ValueError("networks must name at least one encoder, got none")
        self.makers()
        positive = ("stored_points", "eval_rotations", "eval_batch_size", "votes")
        for name in (*positive, "quick_examples"):
            check_positive(name, getattr(self, name))
        if self.view.count != 1:
            raise ValueError(f"view must draw 1 view of a cloud, got count={self.view.count}")
        for name in ("label_smoothing", "dropout_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    def makers(self) -> Mapping[str, Callable[..., Any]]:
        """Give what makes each network, by its name."""
        if isinstance(self.networks, str):
            return cloud_encoders_by_name(
                self.networks, normals=self.normals, parts=self.wants_parts
            )
        return self.networks

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load clouds that have a class; see `pointcloud_jax.data.loading.load`."""
        splits = data.load(
            name,
            num_points=self.stored_points,
            normals=self.normals,
            parts=self.wants_parts,
            data_dir=data_dir,
            holdout=holdout,
            max_bad_records=max_bad_records,
            memory_limit=self.memory_limit,
        )
        if splits.train.num_classes < 2:
            raise ValueError(f"{name} must have at least 2 classes, got {splits.train.num_classes}")
        # Clouds without a class have nothing to teach here.
        train, test = (
            source
            if (source.labels >= 0).all()
            else source.subset(np.flatnonzero(source.labels >= 0))
            for source in (splits.train, splits.test)
        )
        return splits._replace(train=train, test=test)


def kept_encoder(config: SupervisedConfig) -> Kept:
    """Say what a run leaves behind: the encoder of the first network.

    Args:
        config: What is learned.

    Returns:
        What is kept.
    """
    name, make = next(iter(config.makers().items()))
    preprocessing = {
        "kind": "clouds",
        "num_points": config.view.num_points,
        "normals": config.normals,
        "batch_size": config.eval_batch_size,
    }
    return Kept({"encoder": Part(make, (name, "encoder"))}, preprocessing)


def training_view(
    keys: Key[Array, " b"], batch: Batch, spec: PointViewSpec
) -> tuple[PointViews, dict[str, Any]]:
    """Draw the view of each cloud to train on.

    Args:
        keys: One a cloud, from its index in the data set.
        batch: `points`, and where there are any `normals` and `exists`.
        spec: What to draw.

    Returns:
        The views, without an axis of views; and the same as arguments of an encoder, where the mask
        is left out if every point is sure to exist.
    """
    (views,) = make_point_views(
        keys, batch["points"], (spec,), normals=batch.get("normals"), mask=batch.get("exists")
    )
    views = jax.tree.map(lambda x: x[0], views)
    plain = PointViewSpec(
        1,
        spec.num_points,
        rotation=spec.rotation,
        up=spec.up,
        tilt=spec.tilt,
        scale=spec.scale,
        shift=spec.shift,
        jitter=spec.jitter,
    )
    sure = spec == plain and "exists" not in batch and spec.num_points <= batch["points"].shape[1]
    return views, encoder_arguments(views, sure=sure)


def encoder_arguments(views: PointViews, *, sure: bool = False) -> dict[str, Any]:
    """Make the arguments of an encoder from views.

    Args:
        views: The views, one axis in front.
        sure: Whether every point is sure to exist, so that no mask is needed.

    Returns:
        The arguments by name.
    """
    return {
        "points": views.points,
        "normals": views.normals,
        "mask": None if sure else views.mask,
    }


def cloud_networks(
    config: SupervisedConfig, head: Callable[..., Any], *, axis_name: AxisName | None = None
) -> Network:
    """Make pure functions of all networks, each an encoder with a head on it.

    Args:
        config: Which encoders, and the sizes of the head.
        head: Makes a module with the attribute `encoder` from an encoder, `hidden`, `dropout_rate`,
            `axis_name` and `rngs`.
        axis_name: Mapped axis over which batches are sharded.

    Returns:
        The functions, for dictionaries by name of networks, parameters and states.
    """

    def make(key: PRNGKeyArray, *, encoder: Callable[..., Any]) -> Any:
        rngs = nnx.Rngs(key)
        return head(
            encoder(axis_name=axis_name, rngs=rngs),
            hidden=config.hidden,
            dropout_rate=config.dropout_rate,
            axis_name=axis_name,
            rngs=rngs,
        )

    return network_ensemble(
        {name: functools.partial(make, encoder=own) for name, own in config.makers().items()}
    )


def encode_clouds(
    config: SupervisedConfig,
    net: Network,
    apply: Callable[..., Any],
    params: Any,
    state: Any,
    key: PRNGKeyArray,
    batch: Batch,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Encode a random view of each cloud in training, by every network.

    Args:
        config: What view.
        net: The networks, as `cloud_networks` makes them.
        apply: Calls an encoder with the arguments of `training_view`, `train` and `keys`.
        params: Parameters.
        state: State.
        key: Random key of the step.
        batch: As for `training_view`, with `index`.

    Returns:
        What each encoder gave, by the name of its network, and the changed state of the encoders.
    """
    keys = example_keys(key, batch["index"])
    _, arguments = training_view(keys, batch, config.view)
    models = net.merge(params, state)
    outputs = {
        name: apply(model.encoder, **arguments, train=True, keys=keys)
        for name, model in models.items()
    }
    return outputs, net.state_of(models, "encoder")


def summed_loss(
    scores: Mapping[str, tuple[Float[Array, "..."], Float[Array, "..."]]],
    *,
    mask: Bool[Array, "..."],
    axis_name: AxisName | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Sum the mean losses of networks, and say how often each is right.

    Args:
        scores: Loss and whether it is right (1 or 0) of each example or point, by network.
        mask: True for what counts.
        axis_name: Mapped axis over which the batch is sharded.

    Returns:
        The loss, and metrics: `accuracy`, or with several networks `accuracy_NAME` and `loss_NAME`.

    Examples:
        >>> both = jnp.array([1.0, 3.0]), jnp.array([1.0, 0.0])
        >>> loss, metrics = summed_loss({"one": both}, mask=jnp.array([True, True]))
        >>> float(loss), float(metrics["accuracy"])
        (2.0, 0.5)
    """
    total, metrics = jnp.float32(0), {}
    for name, (loss, right) in scores.items():
        value = global_mean(loss, mask=mask, axis_name=axis_name)
        total = total + value
        own = {"accuracy": global_mean(right, mask=mask, axis_name=axis_name)}
        if len(scores) > 1:
            own = {f"accuracy_{name}": own["accuracy"], f"loss_{name}": value}
        metrics |= own
    return total, metrics


def named_accuracies(right: Mapping[str, float]) -> dict[str, float]:
    """Name the accuracies of networks as `accuracy_metrics` does.

    Args:
        right: Accuracy by network.

    Returns:
        `accuracy_NAME` of each, or `accuracy` of the only one.

    Examples:
        >>> named_accuracies({"DGCNN": 0.5}), named_accuracies({"a": 0.5, "b": 1.0})
        ({'accuracy': 0.5}, {'accuracy_a': 0.5, 'accuracy_b': 1.0})
    """
    if len(right) == 1:
        return {"accuracy": next(iter(right.values()))}
    return {f"accuracy_{name}": value for name, value in right.items()}


def accuracy_metrics(names: Sequence[str]) -> dict[str, Metric]:
    """Say how the metrics of `summed_loss`, and accuracies on held-out clouds, are shown."""
    quick = quick_accuracy_metrics(names)
    if len(names) == 1:
        return {"accuracy": Metric("Accuracy", "of the batch", progress=True), **quick}
    found = {f"accuracy_{n}": Metric(f"Accuracy, {n}", "of the batch") for n in names}
    return found | {f"loss_{n}": Metric(f"Loss, {n}") for n in names} | quick


def regularizer_metrics(names: Sequence[str]) -> dict[str, Metric]:
    """Say how the regularizer of the features of each network is shown."""
    if len(names) == 1:
        return {"regularizer": Metric("Regularizer", "of the features", progress=True)}
    return {f"regularizer_{n}": Metric(f"Regularizer, {n}", "of the features") for n in names}


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
