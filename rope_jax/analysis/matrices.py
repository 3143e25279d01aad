"""An encoding as matrices and scores."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from rope_jax.encodings.encoding import Encoding, Params, Rotation

# Not in TF32 or bfloat16, on no device: these are measurements.
exact_einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)


def count_parameters(encoding: Encoding) -> int:
    """Numbers that one layer of the encoding learns.

    Examples:
        >>> import rope_jax
        >>> count_parameters(rope_jax.mixed(64, 6))
        384
    """
    shapes = jax.eval_shape(encoding.init, jax.random.key(0))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))


def rotation_matrices(
    encoding: Encoding, rotation: Rotation, num_tokens: int, head_dim: int, num_heads: int
) -> Float[Array, "n h d d"]:
    """The map that every token's queries and keys go through, one matrix for each head.

    Args:
        encoding: Any encoding.
        rotation: What ``prepare`` returned for ``num_tokens`` positions.
        num_tokens: Tokens.
        head_dim: Channels of one head.
        num_heads: Heads.

    Returns:
        Matrices whose column ``j`` is the image of channel ``j``.

    Examples:
        >>> import rope_jax
        >>> encoding = rope_jax.rope_1d(2, 1)
        >>> rotation = encoding.prepare({}, jnp.array([[jnp.pi / 2]]))
        >>> np.asarray(rotation_matrices(encoding, rotation, 1, 2, 1)[0, 0]).round(3) + 0.0
        array([[ 0., -1.],
               [ 1.,  0.]], dtype=float32)
    """
    basis = jnp.broadcast_to(
        jnp.eye(head_dim, dtype=jnp.float32)[:, None, None, :],
        (head_dim, num_tokens, num_heads, head_dim),
    )
    # The channel put in is a leading axis of x: tables of shape (n, h, ..) broadcast over it.
    return jnp.moveaxis(encoding.rotate(rotation, basis), 0, -1)


def scores(
    encoding: Encoding,
    params: Params,
    positions: Float[Array, "n m"],
    q: Float[Array, "n h d"],
    k: Float[Array, "n h d"],
) -> Float[Array, "h n n"]:
    r"""Attention scores :math:`\langle R(p_i) q_i, R(p_j) k_j \rangle / \sqrt N`.

    Examples:
        >>> import rope_jax
        >>> q = jnp.ones((3, 2, 8))
        >>> scores(rope_jax.axial(8, 2), {}, jnp.zeros((3, 2)), q, q).shape
        (2, 3, 3)
    """
    rotation = encoding.prepare(params, positions)
    q, k = q.astype(jnp.float32), k.astype(jnp.float32)
    q, k = encoding.rotate(rotation, q), encoding.rotate(rotation, k)
    return exact_einsum("ihd,jhd->hij", q, k) / q.shape[-1] ** 0.5
