"""Blocks of equal shapes as one loop: stacked parameters, and what the backward pass keeps."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lejepa_jax.checks import check_choice

#: What the backward pass keeps of a block, by the names that JAX has for it.
REMAT_POLICIES = (
    "nothing_saveable",
    "dots_with_no_batch_dims_saveable",
    "dots_saveable",
)


def recompute(
    function: Callable[..., Any], remat: bool | str, *, in_loop: bool = False
) -> Callable[..., Any]:
    """Let the backward pass compute a function again, but for what a policy keeps.

    Args:
        function: Takes and returns pytrees of arrays.
        remat: False for no recomputation, True to keep the arguments alone, or one of
            `REMAT_POLICIES`: "nothing_saveable" does the same as True,
            "dots_with_no_batch_dims_saveable" keeps the results of linear maps, "dots_saveable"
            those of all matrix products.
        in_loop: Whether the function is the body of a loop, where nothing has to keep the compiler
            from sharing the two computations.

    Returns:
        The function.

    Raises:
        ValueError: If there is no such policy.

    Examples:
        >>> float(jax.grad(recompute(jnp.sin, "dots_saveable"))(0.0))
        1.0
    """
    if isinstance(remat, bool):
        return jax.checkpoint(function, prevent_cse=not in_loop) if remat else function
    check_choice("remat", remat, REMAT_POLICIES)
    policy = getattr(jax.checkpoint_policies, remat)
    return jax.checkpoint(function, prevent_cse=not in_loop, policy=policy)


def stack_blocks(blocks: Sequence[PyTree]) -> PyTree:
    """Stack the arrays of equal blocks, the blocks being the first axis of each.

    Args:
        blocks: Pytrees of one structure and of equal shapes.

    Returns:
        One pytree of that structure.

    Raises:
        ValueError: If the blocks differ in structure.

    Examples:
        >>> stack_blocks([{"kernel": jnp.ones((2, 3))}] * 4)["kernel"].shape
        (4, 2, 3)
    """
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)


def unstack_blocks(stacked: PyTree) -> list[PyTree]:
    """Take stacked blocks apart, the inverse of `stack_blocks`.

    Args:
        stacked: A pytree of arrays whose first axis is that of the blocks.

    Returns:
        One pytree a block.

    Examples:
        >>> [float(block["bias"]) for block in unstack_blocks({"bias": jnp.arange(3.0)})]
        [0.0, 1.0, 2.0]
    """
    count = len(jax.tree.leaves(stacked)[0])
    return [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(count)]


def all_gather_block(block: PyTree, shapes: Sequence[tuple[int, ...]], axis: str | None) -> PyTree:
    """All-gather what a mapped axis shards of a block; its cotangents are reduce-scattered.

    Args:
        block: Arrays of the block, or this device's part of each along one of its axes.
        shapes: Shapes of the whole arrays, in the order of the leaves.
        axis: Mapped axis that shards them; None where nothing is sharded.

    Returns:
        The whole arrays.

    Examples:
        >>> all_gather_block({"kernel": jnp.ones((2, 3))}, [(2, 3)], None)["kernel"].shape
        (2, 3)
    """
    leaves, structure = jax.tree.flatten(block)
    return structure.unflatten(
        [_whole(part, shape, axis) for part, shape in zip(leaves, shapes, strict=True)]
    )


def _whole(part: Array, shape: tuple[int, ...], axis: str | None) -> Array:
    sharded = [i for i, (a, b) in enumerate(zip(part.shape, shape, strict=True)) if a != b]
    if axis is None or not sharded:
        return part
    return jax.lax.all_gather(part, axis, axis=sharded[0], tiled=True)


def scan_blocks(
    apply: Callable[[PyTree, Array], Array],
    blocks: Sequence[PyTree],
    x: Array,
    *,
    remat: bool | str = False,
) -> Array:
    r"""Apply equal blocks one after another, :math:`x_{i+1} = f(p_i, x_i)`, as one loop.

    The compiler sees one block, whatever their number. What it costs is one copy of the parameters
    of all blocks, which are stacked, in this device's parts where they are sharded.

    Args:
        apply: The function of a block, of what is its own (parameters, multipliers of its branches)
            and of the tokens.
        blocks: What is their own, one pytree a block, see `stack_blocks`.
        x: Tokens.
        remat: See `recompute`.

    Returns:
        The tokens after the last block.

    Raises:
        ValueError: If the blocks differ in structure.

    Examples:
        >>> scan_blocks(lambda p, x: p * x, [jnp.float32(2.0)] * 3, jnp.ones(1))
        Array([8.], dtype=float32)
    """
    body = recompute(apply, remat, in_loop=True)
    x, _ = jax.lax.scan(lambda x, block: (body(block, x), None), x, stack_blocks(blocks))
    return x
