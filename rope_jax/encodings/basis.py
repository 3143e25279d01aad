r"""Rotations of pairs in a learned or fixed basis: STRING.

.. math:: R(p) = P^\top\, \mathrm{RoPE}(p)\, P

Every smooth relative encoding has this form. The basis change can be folded into the query and key
projections, so in a transformer without QK-norm it adds to :func:`rope_jax.mixed` another
parametrization, not another function class.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num, PRNGKeyArray

from rope_jax.checks import check_multiple, check_positions, is_sharded
from rope_jax.encodings.encoding import Encoding, Params
from rope_jax.encodings.pairs import PairRotation, pair_rotation, rotate_pairs, rotation_angles
from rope_jax.encodings.skew_matrices import skew
from rope_jax.frequencies import geometric, random_frames
from rope_jax.layout import Layout, check_layout


class BasisRotation(NamedTuple):
    """A rotation of pairs in an orthonormal basis, whose vectors are the rows of ``basis``."""

    pairs: PairRotation
    basis: Float[Array, "h d d"]


def rotate_in_basis(
    rotation: BasisRotation,
    x: Float[Array, "*b n h d"],
    *,
    layout: Layout = "half_split",
    restore_basis: bool = True,
) -> Float[Array, "*b n h d"]:
    r"""Rotate pairs in a basis: :math:`P^\top \mathrm{RoPE}(p)\, P x`.

    Args:
        rotation: Tables and basis.
        x: Queries or keys.
        layout: Which coefficients in the basis make a pair.
        restore_basis: Whether to apply :math:`P^\top` at the end. It may be left out: it
            cancels in scores between two rotated tokens, and in no others.

    Returns:
        Rotated array, shape and dtype of ``x``.

    Examples:
        >>> pairs = pair_rotation(jnp.zeros((1, 1, 1)))
        >>> flip = BasisRotation(pairs, jnp.array([[[0.0, 1.0], [1.0, 0.0]]]))
        >>> rotate_in_basis(flip, jnp.array([[[1.0, 2.0]]]), restore_basis=False)
        Array([[[2., 1.]]], dtype=float32)
    """
    # The channels are the contraction, so this one is a matrix product; half-precision inputs stay
    # half precision on the way in, as in any other layer.
    basis = rotation.basis.astype(x.dtype)
    product = partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    if basis.shape[0] == 1 and is_sharded(x):
        # Heads that are sharded want a basis without an axis of heads.
        y = product("...hd,ed->...he", x, basis[0])
        y = rotate_pairs(rotation.pairs, y, layout=layout)
        return product("...he,ed->...hd", y, basis[0]) if restore_basis else y
    basis = jnp.broadcast_to(basis, (x.shape[-2], *basis.shape[1:]))
    y = rotate_pairs(rotation.pairs, product("...hd,hed->...he", x, basis), layout=layout)
    return product("...he,hed->...hd", y, basis) if restore_basis else y


def _mixed_start(
    key: PRNGKeyArray, num_heads: int, num_axes: int, pairs: int, base: float, scale: float
) -> Float[Array, "m h f"]:
    """Rope-vit's initialization; pairs alternate between the axes of each head's frame."""
    frames = random_frames(key, num_heads, num_axes)  # (h, axis of the frame, m)
    index = np.arange(pairs)
    magnitudes = geometric(-(-pairs // num_axes), base, scale=scale)[index // num_axes]
    vectors = frames[:, index % num_axes, :] * jnp.asarray(magnitudes[None, :, None])
    return vectors.transpose(2, 0, 1)


def string_cayley(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    base: float = 10.0,
    scale: float = 1.0,
    restore_basis: bool = True,
    layout: Layout = "half_split",
) -> Encoding:
    r"""STRING with a learned basis: :math:`P = (I - S)(I + S)^{-1}`, :math:`S` skew.

    .. math:: R(p) = P^\top\, \mathrm{RoPE}(p)\, P

    Every smooth relative encoding has this form. Queries and keys share :math:`P` (two bases would
    lose relativity), and the left :math:`P^\top` cancels between rotated tokens; it is kept by
    default so that :math:`R(0) = I` and unrotated class or register tokens meet patches in the
    basis they live in. :math:`P` starts at the identity. Frequencies are learned, from the start of
    :func:`rope_jax.mixed`.

    Args:
        head_dim: Channels of one head, even.
        num_heads: Heads.
        num_axes: Number of coordinates.
        base: Base of the start of the frequencies.
        scale: Fastest frequency of the start.
        restore_basis: See :func:`rotate_in_basis`; ``False`` is the paper's, and cheaper.
        layout: Which coefficients make a pair.

    Returns:
        The encoding: exactly relative.

    Raises:
        ValueError: If ``head_dim`` is odd.

    Examples:
        >>> params = string_cayley(8, 2).init(jax.random.key(0))
        >>> {name: p.shape for name, p in params.items()}
        {'basis': (2, 28), 'frequencies': (2, 2, 4)}

    References:
        Schenck et al., "Learning the RoPEs: better 2D and 3D position encodings with STRING",
        arXiv 2502.02562, ICML 2025, theorem 3.2 and section 3.2.
    """
    check_layout(layout)
    check_multiple("head_dim", head_dim, 2)

    def init(key: PRNGKeyArray) -> Params:
        return {
            "basis": jnp.zeros((num_heads, head_dim * (head_dim - 1) // 2), jnp.float32),
            "frequencies": _mixed_start(key, num_heads, num_axes, head_dim // 2, base, scale),
        }

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> BasisRotation:
        positions = check_positions(positions, num_axes)
        s = skew(params["basis"].astype(jnp.float32), head_dim)
        eye = jnp.broadcast_to(jnp.eye(head_dim, dtype=jnp.float32), s.shape)
        basis = jnp.linalg.solve(eye + s, eye - s)  # the two factors commute
        return BasisRotation(
            pair_rotation(rotation_angles(positions, params["frequencies"])), basis
        )

    rotate = partial(rotate_in_basis, layout=layout, restore_basis=restore_basis)
    return Encoding(init=init, prepare=prepare, rotate=rotate)


def _fourier_basis(size: int) -> Float[np.ndarray, "{size} {size}"]:
    """Real orthonormal Fourier basis: cosines, sines, the constant, the alternating one."""
    frequency, t = np.arange(1, size // 2)[:, None], np.arange(size)[None, :]
    phase = 2 * np.pi * frequency * t / size
    rest = np.stack([np.ones(size), (-1.0) ** np.arange(size)])
    return np.concatenate([np.cos(phase) * 2**0.5, np.sin(phase) * 2**0.5, rest]) / size**0.5


def string_circulant(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    init_scale: float = 0.1,
    restore_basis: bool = True,
) -> Encoding:
    r"""STRING with circulant generators: :math:`\exp(\sum_m p_m (C_m - C_m^\top))`.

    Circulant matrices share the Fourier basis, so they commute and their exponential is a rotation
    of each Fourier pair by

    .. math:: \omega_{m,f} = -2\,\mathrm{Im}\,\hat c_m(f) = 2 \sum_t c_{m,t} \sin(2\pi f t/N).

    The constant and the alternating vector are not rotated: it is :func:`rope_jax.mixed` with
    :math:`N/2 - 1` pairs in a fixed basis. In real arithmetic, by one product with the basis, which
    at head sizes is faster than an FFT and needs no complex numbers.

    Args:
        head_dim: Channels :math:`N` of one head, even and at least 4.
        num_heads: Heads.
        num_axes: Number of coordinates.
        init_scale: Standard deviation of the entries; frequencies then have
            :math:`\sqrt{2N}` times that.
        restore_basis: See :func:`rotate_in_basis`. Only with it is the result the exponential.

    Returns:
        The encoding: exactly relative. ``M N`` parameters a head, of which ``M (N/2 - 1)`` act.

    Raises:
        ValueError: If ``head_dim`` is odd or less than 4.

    Examples:
        >>> string_circulant(8, 2).init(jax.random.key(0))["circulants"].shape
        (2, 2, 8)

    References:
        Schenck et al., "Learning the RoPEs: better 2D and 3D position encodings with STRING",
        arXiv 2502.02562, ICML 2025, section 3.2 (circulant-STRING).
    """
    check_multiple("head_dim", head_dim, 2)
    if head_dim < 4:
        raise ValueError(f"head_dim must be at least 4, got {head_dim}")
    basis = _fourier_basis(head_dim).astype(np.float32)
    pairs = head_dim // 2 - 1
    sines = basis[pairs : 2 * pairs] * np.float32((2 * head_dim) ** 0.5)

    def init(key: PRNGKeyArray) -> Params:
        shape = (num_axes, num_heads, head_dim)
        return {"circulants": init_scale * jax.random.normal(key, shape, jnp.float32)}

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> BasisRotation:
        positions = check_positions(positions, num_axes)
        circulants = params["circulants"].astype(jnp.float32)
        frequencies = jnp.einsum(
            "mhn,fn->mhf", circulants, jnp.asarray(sines), precision=lax.Precision.HIGHEST
        )
        angles = rotation_angles(positions, frequencies)
        return BasisRotation(pair_rotation(angles), jnp.asarray(basis[None]))

    rotate = partial(rotate_in_basis, restore_basis=restore_basis)
    return Encoding(init=init, prepare=prepare, rotate=rotate)
