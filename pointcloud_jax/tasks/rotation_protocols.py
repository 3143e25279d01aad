"""Held-out clouds under rotation: how they are rotated, and a pass of networks over them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.data.source import Source
from lejepa_jax.evaluation.features import Mapped, ShardBatch, map_examples
from lejepa_jax.evaluation.quick import quick_subset
from lejepa_jax.training.task import Batch
from pointcloud_jax.augment.views import PointViews, PointViewSpec, make_point_views
from pointcloud_jax.geometry import rotations
from pointcloud_jax.tasks.supervised import SupervisedConfig, encoder_arguments

#: How rotations are called in the names of protocols, training first: "z/SO(3)".
PROTOCOL_NAMES = {"none": "I", "axis": "z", "so3": "SO(3)"}

#: What networks make of views and the arguments of an encoder, and of the batch; compiled.
Forward = Callable[[PointViews, dict[str, Any], Batch], Any]


def apply_protocol(
    key: PRNGKeyArray, batch: Batch, draw: Array, spec: PointViewSpec, rotation: str
) -> tuple[PointViews, dict[str, Any]]:
    """Rotate held-out clouds as a protocol says, then take views of them.

    Args:
        key: Key of the evaluation; draws are folded into it for the rotations alone, so that each
            has the same points.
        batch: As for `training_view`.
        draw: Number of the rotation.
        spec: Views to take of the rotated clouds, without a rotation of their own.
        rotation: "none", "axis" or "so3".

    Returns:
        The views, and the same as arguments of an encoder, views times clouds in one axis.
    """
    views_key, rotation_key = jax.random.split(key)
    rotated = dict(batch)
    if rotation != "none":
        keys = example_keys(jax.random.fold_in(rotation_key, draw), batch["index"])
        if rotation == "axis":
            up = jnp.array(spec.up)
            matrices = jax.vmap(lambda key: rotations.random_rotation_about(key, up))(keys)
        else:
            matrices = jax.vmap(rotations.random_rotation)(keys)
        for name in ("points", "normals"):
            if name in batch:
                rotated[name] = rotations.rotate(batch[name], matrices)
    (views,) = make_point_views(
        example_keys(views_key, batch["index"]),
        rotated["points"],
        (dataclasses.replace(spec, rotation="none"),),
        normals=rotated.get("normals"),
        mask=batch.get("exists"),
    )
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), views)
    return views, encoder_arguments(flat)


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


_rotate = jax.jit(apply_protocol, static_argnames=("spec", "rotation"))


def map_rotated(
    key: PRNGKeyArray,
    forward: Forward,
    source: Source,
    shard_batch: ShardBatch,
    *,
    spec: PointViewSpec,
    how: tuple[str, int],
    batch_size: int,
) -> Mapped:
    """Apply networks to every cloud of a source, rotated as a protocol says.

    Args:
        key: Key of the evaluation.
        forward: The networks.
        source: The clouds.
        shard_batch: Puts a batch on the devices.
        spec: Views to take of the rotated clouds.
        how: Name of the rotation, and the number of its draw.
        batch_size: Clouds at a time.

    Returns:
        Host arrays, as `map_examples` gives them.
    """
    rotation, draw = how

    def one(batch: Batch) -> Any:
        views, arguments = _rotate(key, batch, jnp.int32(draw), spec=spec, rotation=rotation)
        return forward(views, arguments, batch)

    return map_examples(one, source, shard_batch, batch_size=batch_size)


def map_few_rotated(
    key: PRNGKeyArray,
    forward: Forward,
    source: Source,
    shard_batch: ShardBatch,
    config: SupervisedConfig,
) -> Mapped:
    """Apply networks to a few held-out clouds, one view of each, rotated as in training.

    Args:
        key: Random key.
        forward: The networks.
        source: The held-out clouds.
        shard_batch: Puts a batch on the devices.
        config: How many, and the rotation.

    Returns:
        Host arrays, as `map_examples` gives them.
    """
    return map_rotated(
        key,
        forward,
        quick_subset(source, config.quick_examples),
        shard_batch,
        spec=dataclasses.replace(evaluation_view(config), count=1),
        how=(config.view.rotation, 0),
        batch_size=config.eval_batch_size,
    )
