"""Blocks of channels rotated by a matrix each."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from rope_jax.checks import check_channels, wider_dtype
from rope_jax.layout import Layout, merge_blocks, split_blocks


class BlockRotation(NamedTuple):
    """Rotation matrices of every block, component-major: ``matrix[..., i, j, f]``."""

    matrix: Float[Array, "*b n h s s f"]


def rotate_blocks(
    matrix: Float[Array, "*t n g s s f"],
    x: Float[Array, "*b n h d"],
    *,
    layout: Layout = "half_split",
) -> Float[Array, "*b n h d"]:
    """Multiply every block of ``s`` channels by its matrix.

    Args:
        matrix: Component-major matrices, ``matrix[..., i, j, f]``, for every head or (``g = 1``)
            for all; leading axes that ``x`` has in addition are broadcast over.
        x: Queries or keys; channels from ``s f`` on pass through.
        layout: Which channels make a block.

    Returns:
        Rotated array, shape and dtype of ``x``.

    Raises:
        ValueError: If the matrices rotate more channels than there are.

    Examples:
        >>> swap = jnp.array([[0.0, 1.0], [1.0, 0.0]])[None, None, :, :, None]
        >>> rotate_blocks(swap, jnp.array([[[1.0, 2.0, 3.0]]]))
        Array([[[2., 1., 3.]]], dtype=float32)
    """
    size, num = matrix.shape[-2], matrix.shape[-1]
    rotated = size * num
    check_channels(rotated, x)
    dtype = wider_dtype(x, matrix)
    matrix = _as_heads_are(matrix.astype(dtype), x)
    blocks = split_blocks(x[..., :rotated].astype(dtype), size, layout)
    # A contraction, although each matrix meets one vector an image: its two derivatives are
    # contractions again. Those of a sum over products are sums over arrays of the size of both.
    out = jnp.einsum("...ijf,...jf->...if", matrix, blocks, precision=lax.Precision.HIGHEST)
    out = merge_blocks(out, layout).astype(x.dtype)
    if rotated == x.shape[-1]:
        return out
    return jnp.concatenate([out, x[..., rotated:]], axis=-1)


def _as_heads_are(
    matrix: Float[Array, "*t n g s s f"], x: Float[Array, "*b n h d"]
) -> Float[Array, "*t n g s s f"]:
    """On a mesh with explicit axes, shard the matrices of heads as the heads: JAX 0.12 asks for it.

    Elsewhere the types of arrays name no axes, and nothing happens.
    """
    heads, where = jax.typeof(x).sharding.spec[x.ndim - 2], jax.typeof(matrix).sharding
    axis = matrix.ndim - 4
    if matrix.shape[axis] == 1 or where.spec[axis] == heads:
        return matrix
    spec = [heads if i == axis else name for i, name in enumerate(where.spec)]
    return jax.sharding.reshard(matrix, jax.sharding.NamedSharding(where.mesh, P(*spec)))
