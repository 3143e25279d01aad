"""Sums over the points of clouds in blocks, so that no intermediate array is large."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

#: Numbers in the largest intermediate array: 64 MiB in float32.
BLOCK_ELEMENTS = 2**24


def num_blocks(elements: int, most: int) -> int:
    """Count blocks of work, so that none holds more than `BLOCK_ELEMENTS` numbers.

    Args:
        elements: Numbers of all blocks together.
        most: Largest number of blocks there can be.

    Returns:
        The number of blocks, from 1 to `most`.

    Examples:
        >>> num_blocks(2**26, 1000)
        4
    """
    return min(most, -(-elements // BLOCK_ELEMENTS))


def sum_over_rows(
    function: Callable[[tuple[jax.Array, jax.Array]], jax.Array],
    operands: tuple[Float[Array, "*batch n 3"], Float[Array, "*batch n"]],
    blocks: int,
) -> Float[Array, "..."]:
    """Sum `function((points, weights))` over blocks of points; the last one is filled by zeros.

    Args:
        function: Takes some of the points of every cloud, and their weights.
        operands: Points and weights.
        blocks: In how many blocks, from `num_blocks`.

    Returns:
        The sum.

    Examples:
        >>> points, weights = jnp.ones((5, 3)), jnp.ones(5)
        >>> print(sum_over_rows(lambda block: block[1].sum(), (points, weights), 2))
        5.0
    """
    if blocks == 1:
        return function(operands)
    points, weights = operands
    num = points.shape[-2]
    size = -(-num // blocks)
    blocks = -(-num // size)
    padding = [(0, 0)] * (points.ndim - 2) + [(0, size * blocks - num)]
    points = jnp.pad(points, [*padding, (0, 0)])
    weights = jnp.pad(weights, padding)
    lead = points.shape[:-2]
    axis = len(lead)
    pieces = (
        jnp.moveaxis(points.reshape(*lead, blocks, size, 3), axis, 0),
        jnp.moveaxis(weights.reshape(*lead, blocks, size), axis, 0),
    )
    return lax.map(function, pieces).sum(0)
