r"""Rotations that are exponentials of learned skew-symmetric blocks: LieRE and ComRoPE.

:math:`R(p) = \exp(\sum_m p_m A_m)` is orthogonal for any skew-symmetric :math:`A_m`, and relative
exactly when they commute. LieRE leaves them free; ComRoPE makes them commute by construction.
"""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from rope_jax.checks import check_choice, check_multiple, check_positions, expand_to
from rope_jax.encodings.blocks import BlockRotation, rotate_blocks
from rope_jax.encodings.encoding import Encoding, Params
from rope_jax.encodings.skew_matrices import Derivatives, exp_skew, skew
from rope_jax.layout import Layout, check_layout


def _block_rotation(
    positions: Float[Array, "*b n m"],
    generators: Float[Array, "m h f s s"],
    derivatives: Derivatives,
) -> BlockRotation:
    """Exp of the sum of position times generator, for every token, head and block."""
    terms = [
        positions[..., axis, None, None, None, None]
        * expand_to(generators[axis], positions.ndim + 3)
        for axis in range(generators.shape[0])
    ]
    total = sum(terms[1:], start=terms[0])
    # Component-major, so that applying it in the half-split layout needs no transpose.
    return BlockRotation(jnp.moveaxis(exp_skew(total, derivatives=derivatives), -3, -1))


def _rotate_blocks(
    rotation: BlockRotation, x: Float[Array, "*b n h d"], *, layout: Layout
) -> Float[Array, "*b n h d"]:
    return rotate_blocks(rotation.matrix, x, layout=layout)


def liere(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    block_size: int = 8,
    init_scale: float = 1.0,
    derivatives: Derivatives = "reverse",
    layout: Layout = "half_split",
) -> Encoding:
    r"""LieRE: :math:`R(p) = \exp(\sum_m p_m A_m)` with learned skew blocks.

    Only the strict upper triangles are parameters, :math:`M N (b-1)/2` a head; the released code
    stores full squares. Blocks of 2 are :func:`rope_jax.mixed` from another start; one block of
    ``head_dim`` is dense. (The released code reads layer 0's generators in every layer whatever its
    flag says. Here one set of parameters is one rotation: use :func:`rope_jax.init_layers` for one
    a layer, or a single one for all.)

    Args:
        head_dim: Channels of one head, a multiple of ``block_size``.
        num_heads: Heads.
        num_axes: Number :math:`M` of coordinates.
        block_size: Rows :math:`b` of a block.
        init_scale: Entries start uniform in ``[0, init_scale)``. The paper's :math:`2\pi` belongs
            to positions on [0, 1]; on :math:`[-\pi, \pi]`, :math:`2\pi` times as long, it is 1.
        derivatives: See :func:`rope_jax.exp_skew`; ``"all"`` for ``jax.jvp`` and ``jax.jacfwd``.
        layout: Which channels make a block.

    Returns:
        The encoding: relative only for ``num_axes = 1`` or while the generators commute.

    Raises:
        ValueError: If the channels do not fit.

    Examples:
        >>> encoding = liere(8, 2, block_size=4)
        >>> params = encoding.init(jax.random.key(0))
        >>> params["generators"].shape
        (2, 2, 2, 6)

    References:
        Ostmeier et al., "LieRE: Lie rotational positional encodings", arXiv 2406.10322, ICML 2025.
    """
    check_layout(layout)
    check_choice("derivatives", derivatives, get_args(Derivatives))
    if block_size < 2:
        raise ValueError(f"block_size must be at least 2, got {block_size}")
    check_multiple("head_dim", head_dim, block_size)
    shape = (num_axes, num_heads, head_dim // block_size, block_size * (block_size - 1) // 2)

    def init(key: PRNGKeyArray) -> Params:
        return {"generators": jax.random.uniform(key, shape, jnp.float32, maxval=init_scale)}

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> BlockRotation:
        generators = skew(params["generators"].astype(jnp.float32), block_size)
        return _block_rotation(check_positions(positions, num_axes), generators, derivatives)

    return Encoding(init=init, prepare=prepare, rotate=partial(_rotate_blocks, layout=layout))


def comrope(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    variant: Literal["linear", "axial"] = "linear",
    block_size: int = 8,
    init_scale: float = 0.16,
    derivatives: Derivatives = "reverse",
    layout: Layout = "half_split",
) -> Encoding:
    r"""ComRoPE: exponentials of learned blocks that commute by construction.

    * ``"axial"`` (AP): block :math:`j` is rotated by axis :math:`j \bmod M` alone.
    * ``"linear"`` (LD): one generator for each block, times a learned factor for each axis,
      :math:`A_m = \theta_m (P - P^\top)`.

    By the theorem on commuting generators these are a learned-axial and a mixed encoding, in a
    basis that is learned too.

    Args:
        head_dim: Channels of one head, a multiple of ``block_size`` (times ``num_axes`` for
            ``"axial"``).
        num_heads: Heads.
        num_axes: Number :math:`M` of coordinates.
        variant: ``"linear"`` or ``"axial"``.
        block_size: Rows of a block.
        init_scale: Standard deviation of the entries. The paper's 1 belongs to positions on [0, 1];
            on :math:`[-\pi, \pi]` it is :math:`1/2\pi \approx 0.16`.
        derivatives: See :func:`rope_jax.exp_skew`; ``"all"`` for ``jax.jvp`` and ``jax.jacfwd``.
        layout: Which channels make a block.

    Returns:
        The encoding: exactly relative.

    Raises:
        ValueError: If the channels do not fit or the variant is unknown.

    Examples:
        >>> encoding = comrope(8, 2, block_size=4)
        >>> {name: p.shape for name, p in encoding.init(jax.random.key(0)).items()}
        {'generators': (2, 2, 6), 'factors': (2, 2)}

    References:
        Yu et al., "ComRoPE: scalable and robust rotary position embedding parameterized by
        trainable commuting angle matrices", CVPR 2025.
    """
    check_layout(layout)
    check_choice("derivatives", derivatives, get_args(Derivatives))
    check_choice("variant", variant, ("linear", "axial"))
    check_multiple("head_dim", head_dim, block_size * (num_axes if variant == "axial" else 1))
    blocks = head_dim // block_size
    own = np.float32(np.arange(blocks)[None, :] % num_axes == np.arange(num_axes)[:, None])

    def init(key: PRNGKeyArray) -> Params:
        generator_key, factor_key = jax.random.split(key)
        shape = (num_heads, blocks, block_size * (block_size - 1) // 2)
        # P - P^T with unit entries in P has entries of variance 2.
        entries = 2**0.5 * init_scale * jax.random.normal(generator_key, shape, jnp.float32)
        if variant == "axial":
            return {"generators": entries}
        # Shared by the heads, as in the released code.
        return {
            "generators": entries,
            "factors": jax.random.normal(factor_key, (num_axes, blocks), jnp.float32),
        }

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> BlockRotation:
        generators = skew(params["generators"].astype(jnp.float32), block_size)
        factors = jnp.asarray(own) if variant == "axial" else params["factors"]
        factors = factors.astype(jnp.float32)[:, None, :, None, None]
        return _block_rotation(
            check_positions(positions, num_axes), factors * generators[None], derivatives
        )

    return Encoding(init=init, prepare=prepare, rotate=partial(_rotate_blocks, layout=layout))
