"""A step parallelized over devices: under shard_map, pmap, or as one program."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PRNGKeyArray

from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.training.networks import Variables
from lejepa_jax.training.recipe import Recipe
from lejepa_jax.training.sharding import (
    AXES,
    all_gather_params,
    optimizer_shardings,
    parameter_shardings,
    shard_rows,
)
from lejepa_jax.training.step import TrainState, make_gradient, make_step
from lejepa_jax.training.task import Batch, Task


class ParallelStep(NamedTuple):
    """A step over all devices, and what puts batches and the state there.

    Attributes:
        step: Maps the state and a sharded batch to the new state and the metrics; compiled by
            `jax.jit` or `jax.pmap` at its first call, or before it by `compile_together`.
        shard_batch: Puts this process's rows of a global batch on its devices.
        shard_eval_batch: Puts a batch that every process holds on the devices.
        shardings: A sharding for each array of the state, in its place.
    """

    step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
    shard_batch: Callable[[Mapping[str, np.ndarray]], Batch]
    shard_eval_batch: Callable[[Mapping[str, np.ndarray]], Batch]
    shardings: Any


def axis_name_of(recipe: Recipe) -> AxisName | None:
    """Name the mapped axes that a batch is sharded over; None where the compiler shards it."""
    return {"shard_map": AXES, "pmap": AXES[0], "jit": None}[recipe.strategy]


def state_shardings(
    like: TrainState, task: Task, optimizer: optax.GradientTransformation, mesh: jax.sharding.Mesh
) -> Any:
    """Choose where each array of the state is: large weights, their moments and averages sharded.

    Args:
        like: The state, or the shapes of it.
        task: What is trained.
        optimizer: Made by `make_optimizer`.
        mesh: The devices.

    Returns:
        A sharding for each array.
    """
    everywhere = NamedSharding(mesh, P())
    params = parameter_shardings(like.variables.params, task.kinds, mesh)
    state = jax.tree.map(lambda _: everywhere, like.variables.state)
    variables = Variables(params, state)
    moments = optimizer_shardings(optimizer, like.opt_state, params)
    places: Any = TrainState  # with shardings in place of arrays
    return places(everywhere, variables, moments, None if like.ema is None else variables)


def parallelize(
    recipe: Recipe,
    mesh: jax.sharding.Mesh,
    task: Task,
    optimizer: optax.GradientTransformation,
    key: PRNGKeyArray,
    like: TrainState,
    num_microbatches: int = 1,
) -> ParallelStep:
    """Run the step under shard_map, pmap, or as one program that the compiler partitions.

    Args:
        recipe: The run; its `strategy` says how.
        mesh: The devices.
        task: What is trained, built for `axis_name_of(recipe)`.
        optimizer: Made by `make_optimizer`.
        key: Random key of the steps.
        like: The state, or the shapes of it.
        num_microbatches: Parts in which a device encodes its share of a batch.

    Returns:
        The step.
    """
    rows, everywhere = NamedSharding(mesh, P(AXES)), NamedSharding(mesh, P())
    where = state_shardings(like, task, optimizer, mesh)
    axis_name = axis_name_of(recipe)
    make = functools.partial(make_gradient, recipe, task, key, num_microbatches, axis_name)

    shard_eval_batch = functools.partial(shard_rows, mesh=mesh)
    if recipe.strategy == "pmap":
        return ParallelStep(*_pmap(recipe, mesh, optimizer, make()), shard_eval_batch, where)

    def shard_batch(batch: Mapping[str, np.ndarray]) -> Batch:
        return {
            name: jax.make_array_from_process_local_data(rows, np.asarray(array))
            for name, array in batch.items()
        }

    loss_and_gradient = make()  # of the whole batch, if the compiler partitions it
    if recipe.strategy == "shard_map":
        specs = jax.tree.map(lambda sharding: sharding.spec, where.variables)
        loss_and_gradient = jax.shard_map(
            make(gather=functools.partial(all_gather_params, specs=specs.params, kinds=task.kinds)),
            mesh=mesh,
            in_specs=(specs, P(), P(AXES)),
            out_specs=(P(), specs.params, specs.state, P()),
        )
    step = jax.jit(
        make_step(recipe, optimizer, loss_and_gradient),
        in_shardings=(where, rows),
        out_shardings=(where, everywhere),
        donate_argnums=0,
    )
    return ParallelStep(step, shard_batch, shard_eval_batch, where)


def _pmap(
    recipe: Recipe,
    mesh: jax.sharding.Mesh,
    optimizer: optax.GradientTransformation,
    loss_and_gradient: Callable[..., Any],
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the step under `jax.pmap`, and what puts a batch on its devices."""
    devices = list(mesh.devices.flat)
    step = jax.pmap(
        make_step(recipe, optimizer, loss_and_gradient),
        axis_name=AXES[0],
        in_axes=(None, 0),
        out_axes=None,
        devices=devices,
    )
    along = NamedSharding(jax.sharding.Mesh(np.array(devices), AXES[:1]), P(AXES[0]))

    def shard_batch(batch: Mapping[str, np.ndarray]) -> Batch:
        return {
            name: jax.device_put(np.reshape(array, (mesh.size, -1, *np.shape(array)[1:])), along)
            for name, array in batch.items()
        }

    return step, shard_batch
