"""Is it relative, does it commute, does it separate?"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rope_jax.analysis.matrices import exact_einsum, rotation_matrices, scores
from rope_jax.encodings.encoding import Encoding, Params


def shift_error(
    key: PRNGKeyArray,
    encoding: Encoding,
    params: Params,
    positions: Float[Array, "n m"],
    shift: Float[Array, " m"],
    *,
    head_dim: int,
    num_heads: int,
) -> Float[Array, ""]:
    r"""How much scores of random queries and keys change when all positions shift.

    .. math:: E(\delta) = \mathrm{rms}_{ij}\,|S_{ij}(p + \delta) - S_{ij}(p)| \,/\, \mathrm{std}(S)

    Zero for a relative encoding. Between patches only: a class token has no position to shift.

    Args:
        key: For queries and keys.
        encoding: Any encoding.
        params: Its parameters.
        positions: Positions of the patches.
        shift: The shift :math:`\delta`.
        head_dim: Channels of one head.
        num_heads: Heads.

    Returns:
        The relative error.

    Examples:
        >>> import rope_jax
        >>> where, shift = rope_jax.patch_grid((2, 2)).positions, jnp.array([0.3, 0.7])
        >>> encoding = rope_jax.axial(4, 1)
        >>> key = jax.random.key(0)
        >>> error = shift_error(key, encoding, {}, where, shift, head_dim=4, num_heads=1)
        >>> bool(error < 1e-5)
        True
    """
    q, k = jax.random.normal(key, (2, positions.shape[0], num_heads, head_dim), jnp.float32)
    positions, shift = positions.astype(jnp.float32), shift.astype(jnp.float32)
    before = scores(encoding, params, positions, q, k)
    after = scores(encoding, params, positions + shift[None, :], q, k)
    return jnp.sqrt(jnp.mean(jnp.square(after - before))) / jnp.std(before)


def group_law_error(
    encoding: Encoding,
    params: Params,
    positions: Float[Array, "n m"],
    *,
    head_dim: int,
    num_heads: int,
) -> Float[Array, ""]:
    r"""Mean of :math:`\|R(p)^\top R(p') - R(p' - p)\|_F / \sqrt N` over pairs of positions.

    Needs no queries and keys: zero if and only if the encoding is relative on these positions.
    :math:`R(0)` is divided out, so that an encoding without its left basis change passes.

    Args:
        encoding: Any encoding.
        params: Its parameters.
        positions: Positions.
        head_dim: Channels of one head.
        num_heads: Heads.

    Returns:
        The mean error.

    Examples:
        >>> import rope_jax
        >>> positions = rope_jax.patch_grid((2, 2)).positions
        >>> law = group_law_error(
        ...     rope_jax.uniform(4, 1), {}, positions, head_dim=4, num_heads=1
        ... )
        >>> bool(law < 1e-6)
        True
    """
    positions = positions.astype(jnp.float32)
    num, axes = positions.shape
    differences = (positions[None, :, :] - positions[:, None, :]).reshape(-1, axes)
    everything = jnp.concatenate([positions, differences, jnp.zeros((1, axes), positions.dtype)])
    rotation = encoding.prepare(params, everything)
    r = rotation_matrices(encoding, rotation, len(everything), head_dim, num_heads)
    one, two, origin = r[:num], r[num:-1], r[-1]
    product = exact_einsum("nhdi,mhdj->nmhij", one, one)
    expected = exact_einsum("hdi,nhdj->nhij", origin, two).reshape(product.shape)
    norms = jnp.sqrt(jnp.sum(jnp.square(product - expected), axis=(-1, -2)))
    return jnp.mean(norms) / head_dim**0.5


def commutator_norm(a: Float[Array, "*b d d"], b: Float[Array, "*b d d"]) -> Float[Array, "*b"]:
    r"""Commutator :math:`\|AB - BA\|_F / (\|A\|_F \|B\|_F)`: zero if they commute.

    Args:
        a: Matrices.
        b: Matrices.

    Returns:
        Between 0 and :math:`\sqrt 2`; 0 too if one of them is zero.

    Examples:
        >>> yaw = jnp.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
        >>> roll = jnp.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])
        >>> commutator_norm(yaw, roll).round(5)
        Array(0.70711, dtype=float32)
    """
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    defect = exact_einsum("...ij,...jk->...ik", a, b) - exact_einsum("...ij,...jk->...ik", b, a)

    def square(x: Array) -> Array:
        return jnp.sum(jnp.square(x), axis=(-1, -2))

    scale = square(a) * square(b)
    ratio = square(defect) / jnp.where(scale > 0, scale, 1.0)
    # The square root has no gradient at zero, which is where commuting matrices are.
    return jnp.where(ratio > 0, jnp.sqrt(jnp.where(ratio > 0, ratio, 1.0)), 0.0)


def mixed_difference(
    key: PRNGKeyArray,
    encoding: Encoding,
    params: Params,
    displacements: Float[Array, "n 2"],
    *,
    head_dim: int,
    num_heads: int,
    num_axes: int = 2,
    axes: tuple[int, int] = (0, 1),
) -> Float[Array, ""]:
    r"""Mixed second difference of the score: zero if and only if it separates into two axes.

    .. math:: S(a,b) - S(a,0) - S(0,b) + S(0,0),\quad S(\delta) = \langle R(0) q, R(\delta) k\rangle

    Args:
        key: For queries and keys.
        encoding: Any encoding.
        params: Its parameters.
        displacements: Pairs :math:`(a, b)`.
        head_dim: Channels of one head.
        num_heads: Heads.
        num_axes: Width of the positions.
        axes: The two axes; the others stay at zero.

    Returns:
        Root mean square of the difference over the standard deviation of the scores.

    Examples:
        >>> import rope_jax
        >>> encoding, key = rope_jax.axial(4, 1), jax.random.key(0)
        >>> e = mixed_difference(key, encoding, {}, jnp.ones((4, 2)), head_dim=4, num_heads=1)
        >>> bool(e < 1e-6)
        True
    """
    displacements = displacements.astype(jnp.float32)
    num = len(displacements)
    a = jnp.zeros((num, num_axes), displacements.dtype).at[:, axes[0]].set(displacements[:, 0])
    b = jnp.zeros((num, num_axes), displacements.dtype).at[:, axes[1]].set(displacements[:, 1])
    places = jnp.concatenate([a + b, a, b, jnp.zeros((num, num_axes), displacements.dtype)])
    rotation = encoding.prepare(params, places)
    draws = jax.random.normal(key, (2, 16, 1, num_heads, head_dim), jnp.float32)
    q, k = jnp.broadcast_to(draws, (2, 16, len(places), num_heads, head_dim))
    # The query sits at the origin, which is where the last block of places is.
    q = encoding.rotate(rotation, q)[:, -1:, :, :]
    s = exact_einsum("rihd,rnhd->rnh", q, encoding.rotate(rotation, k))
    ab, a0, b0, zero = jnp.split(s, 4, axis=1)
    return jnp.sqrt(jnp.mean(jnp.square(ab - a0 - b0 + zero))) / jnp.std(s)
