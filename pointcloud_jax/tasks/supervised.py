"""What supervised tasks on clouds share: networks side by side, views to train on, protocols.

Several networks may be trained at once. They see the same batches and share nothing else: the loss
is the sum of theirs, and AdamW treats each parameter by itself, so each ends as it would alone.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Key, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.checks import check_positive
from lejepa_jax.data.splits import Splits
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.task import Batch, Variables
from pointcloud_jax.augment.views import PointViews, PointViewSpec, make_point_views
from pointcloud_jax.data import loading as data
from pointcloud_jax.geometry import rotations

#: How rotations are called in the names of protocols, training first: "z/SO(3)".
PROTOCOL_NAMES = {"none": "I", "axis": "z", "so3": "SO(3)"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupervisedConfig:
    """What to learn from labeled clouds, and how.

    Attributes:
        networks: Encoders by name, each made from `axis_name` and `rngs`.
        view: The one random view of a cloud to train on; its `count` must be 1. Its `rotation` is
            that of the protocol, and its `up` the axis of "z", training and test alike.
        stored_points: Points kept of each cloud, of which every view chooses `view.num_points`.
        normals: Whether networks get normals.
        hidden: Widths of the hidden layers of the head.
        dropout_rate: In the head.
        label_smoothing: Part of the target that is spread over all classes.
        eval_rotations: Random rotations of every held-out cloud, about the axis and of any kind;
            the results are means and standard deviations over them.
        eval_batch_size: Clouds at a time in evaluation.
        votes: Views of a held-out cloud whose logits are averaged. One is what is usually called
            "without voting"; of several, each chooses other points and a scale in [0.8, 1.25].

    Raises:
        ValueError: For a value out of range.
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {"eval_rotations", "eval_batch_size", "votes"}
    )
    #: Whether the clouds must come with the parts of their points.
    wants_parts: ClassVar[bool] = False

    networks: Mapping[str, Callable[..., Any]]
    view: PointViewSpec
    stored_points: int
    normals: bool = False
    hidden: tuple[int, ...] = (512, 256)
    dropout_rate: float = 0.5
    label_smoothing: float = 0.2
    eval_rotations: int = 3
    eval_batch_size: int = 32
    votes: int = 1

    def __post_init__(self):
        if not self.networks:
            raise ValueError("networks must name at least one encoder, got none")
        for name in ("stored_points", "eval_rotations", "eval_batch_size", "votes"):
            check_positive(name, getattr(self, name))
        if self.view.count != 1:
            raise ValueError(f"view must draw 1 view of a cloud, got count={self.view.count}")
        for name in ("label_smoothing", "dropout_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")

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


class Networks(NamedTuple):
    """Networks side by side as pure functions.

    Attributes:
        init: Makes the variables of all of them from a key. Their state is `{"encoders": ...,
            "heads": ...}`, each by name, since a step changes the two one after the other.
        merge: Makes the network of a name from `(name, params, state)`.
        changed: Gives the entry `part` of the state, of networks by name after a forward pass.
        names: Their names.
    """

    init: Callable[[PRNGKeyArray], Variables]
    merge: Callable[[str, Any, Any], Any]
    changed: Callable[[Mapping[str, Any], str], dict[str, Any]]
    names: tuple[str, ...]


def side_by_side(makes: Mapping[str, Callable[[nnx.Rngs], Any]]) -> Networks:
    """Hold networks with an `encoder` as pure functions.

    Args:
        makes: Makes each from its random numbers.

    Returns:
        The functions.
    """

    def split(module: Any):
        graph, params, state = nnx.split(module, nnx.Param, ...)
        return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(state)

    graphs = {
        name: split(nnx.eval_shape(lambda make=make: make(nnx.Rngs(0))))[0]
        for name, make in makes.items()
    }

    def parts(state: dict[str, Any], part: str) -> dict[str, Any]:
        return {key: v for key, v in state.items() if (key == "encoder") == (part == "encoders")}

    def init(key: PRNGKeyArray) -> Variables:
        made = {name: split(make(nnx.Rngs(key))) for name, make in makes.items()}
        state = {
            part: {name: parts(one[2], part) for name, one in made.items()}
            for part in ("encoders", "heads")
        }
        return Variables({name: one[1] for name, one in made.items()}, state)

    def merge(name: str, params: Any, state: Any) -> Any:
        whole = {**state["encoders"][name], **state["heads"][name]}
        # Without the copy, BatchNorm would write into arrays of an outer trace.
        return nnx.merge(graphs[name], params[name], whole, copy=True)

    def changed(networks: Mapping[str, Any], part: str) -> dict[str, Any]:
        return {part: {name: parts(split(n)[2], part) for name, n in networks.items()}}

    return Networks(init, merge, changed, tuple(makes))


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
    return views, _arguments(views, sure=sure)


def _arguments(views: PointViews, *, sure: bool = False) -> dict[str, Any]:
    return {
        "points": views.points,
        "normals": views.normals,
        "mask": None if sure else views.mask,
    }


def see(
    key: PRNGKeyArray, batch: Batch, draw: Array, spec: PointViewSpec, rotation: str
) -> tuple[PointViews, dict[str, Any]]:
    """Show held-out clouds under a protocol: turn them, then take views.

    Args:
        key: Key of the evaluation; draws are folded into it for the rotations alone, so that each
            shows the same points.
        batch: As for `training_view`.
        draw: Number of the rotation.
        spec: Views to take of the turned clouds, without a rotation of their own.
        rotation: "none", "axis" or "so3".

    Returns:
        The views, and the same as arguments of an encoder, views times clouds in one axis.
    """
    views_key, turn_key = jax.random.split(key)
    turned = dict(batch)
    if rotation != "none":
        keys = example_keys(jax.random.fold_in(turn_key, draw), batch["index"])
        if rotation == "axis":
            up = jnp.array(spec.up)
            turns = jax.vmap(lambda key: rotations.random_rotation_about(key, up))(keys)
        else:
            turns = jax.vmap(rotations.random_rotation)(keys)
        for name in ("points", "normals"):
            if name in batch:
                turned[name] = rotations.rotate(batch[name], turns)
    (views,) = make_point_views(
        example_keys(views_key, batch["index"]),
        turned["points"],
        (dataclasses.replace(spec, rotation="none"),),
        normals=turned.get("normals"),
        mask=batch.get("exists"),
    )
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), views)
    return views, _arguments(flat)


def evaluation_view(config: SupervisedConfig) -> PointViewSpec:
    """Make the views of held-out clouds: random points, and with several votes a random scale."""
    return PointViewSpec(
        config.votes,
        config.view.num_points,
        up=config.view.up,
        scale=(1.0, 1.0) if config.votes == 1 else (0.8, 1.25),
    )


def protocols(config: SupervisedConfig) -> dict[str, tuple[str, int]]:
    """Name the protocols: the rotation in training, the rotation in the test, how often drawn."""
    train = PROTOCOL_NAMES[config.view.rotation]
    draws = {"none": 1, "axis": config.eval_rotations, "so3": config.eval_rotations}
    return {f"{train}/{PROTOCOL_NAMES[test]}": (test, number) for test, number in draws.items()}


def global_mean(
    values: Float[Array, "..."], weights: Float[Array, "..."], axis_name: AxisName | None
) -> Float[Array, ""]:
    """Average over all devices: the sum of the values over the sum of the weights.

    Args:
        values: What to average.
        weights: Of the same shape, 1 for what counts and 0 for what does not.
        axis_name: Mapped axis over which the batch is spread.

    Returns:
        The mean, 0 without any weight.

    Examples:
        >>> print(global_mean(jnp.array([1.0, 5.0]), jnp.array([1.0, 0.0]), None))
        1.0
    """
    sums = jnp.stack([jnp.where(weights > 0, values, 0).sum(), weights.sum()])
    if axis_name is not None:
        sums = lax.psum(sums, axis_name)
    return sums[0] / jnp.maximum(sums[1], 1)


def named(
    metrics: Mapping[str, Mapping[str, jax.Array]], names: Sequence[str]
) -> dict[str, jax.Array]:
    """Flatten metrics by network: their own names if there is one, with its name if more."""
    if len(names) == 1:
        return dict(metrics[names[0]])
    return {
        f"{metric}_{n}": value for n, values in metrics.items() for metric, value in values.items()
    }
