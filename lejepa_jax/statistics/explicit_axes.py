"""Meshes with explicit axes, the default of `jax.make_mesh`, under plain `jax.jit`."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Function = TypeVar("Function", bound=Callable[..., Any])


def accept_explicit_axes(function: Function) -> Function:
    """Let the compiler shard what a function does inside, also where axes are explicit.

    Sorting, pairs and factorizations need the whole sample; with explicit axes JAX asks the caller
    how each step is to be sharded. Here the axes are automatic while the function runs, and its
    results are the same on every device. Where nothing is sharded explicitly, nothing changes.
    Gradients outside of `jax.jit` want a `jax.set_mesh` around them, which JAX itself asks for.

    Args:
        function: Function of arrays, and of options that are no arrays.

    Returns:
        The same function.

    Examples:
        >>> accept_explicit_axes(lambda x: x.sum())(jax.numpy.ones(3))
        Array(3., dtype=float32)
    """

    @functools.wraps(function)
    def call(*args, **options):
        leaves, tree = jax.tree.flatten((args, options))
        here = [index for index, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]
        meshes = [jax.typeof(leaves[index]).sharding.mesh for index in here]
        mesh = next((mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types), None)
        if mesh is None:
            return function(*args, **options)

        def run(*arrays):
            whole = list(leaves)
            for index, array in zip(here, arrays, strict=True):
                whole[index] = array
            args, options = jax.tree.unflatten(tree, whole)
            return function(*args, **options)

        same = NamedSharding(mesh, PartitionSpec())
        return jax.sharding.auto_axes(run, out_sharding=same)(*(leaves[index] for index in here))

    return cast(Function, call)
