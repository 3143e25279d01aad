r"""Rotations as exponentials of skew matrices: LieRE, STRING, ComRoPE.

:math:`R(p) = \exp(\sum_m p_m A_m)` is orthogonal for any skew :math:`A_m`, and relative exactly
when they commute. Commuting ones are a basis change away from :func:`rope_jax.mixed`; that basis
change can be folded into the query and key projections, so what these encodings add to it is either
a different path of learning (STRING, ComRoPE) or generators that do not commute (LieRE).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num, PRNGKeyArray

from rope_jax.encoding import (
    Encoding,
    Params,
    check_choice,
    check_multiple,
    check_positions,
    expand_to,
)
from rope_jax.frequencies import geometric, random_frames
from rope_jax.layout import Layout, check_layout
from rope_jax.rotary import PairRotation, pair_rotation, rotate_pairs, rotation_angles
from rope_jax.triplets import rotate_blocks

# Matrices of up to this many rows are multiplied as vectors over the batch, which lies in the last
# axes: there is next to nothing for a matrix unit to do, and each would be a call of its own.
_SMALL = 8

# Taylor polynomial of degree 8: below this norm its remainder is under float32 rounding.
_TAYLOR_RADIUS = 0.6


class BlockRotation(NamedTuple):
    """Rotation matrices of every block, component-major: ``matrix[..., i, j, f]``."""

    matrix: Float[Array, "*b n h s s f"]


class BasisRotation(NamedTuple):
    """A rotation of pairs in an orthonormal basis, whose vectors are the rows of ``basis``."""

    pairs: PairRotation
    basis: Float[Array, "h d d"]


def skew(upper: Float[Array, "*b k"], size: int) -> Float[Array, "*b {size} {size}"]:
    """Skew-symmetric matrices from their strict upper triangles, row by row.

    Args:
        upper: ``size * (size - 1) / 2`` entries.
        size: Rows of the matrix.

    Returns:
        ``A`` with ``A.mT == -A``.

    Raises:
        ValueError: If the number of entries does not fit the size.

    Examples:
        >>> skew(jnp.array([1.0, 2.0, 3.0]), 3)
        Array([[ 0.,  1.,  2.],
               [-1.,  0.,  3.],
               [-2., -3.,  0.]], dtype=float32)
    """
    if upper.shape[-1] != size * (size - 1) // 2:
        raise ValueError(
            f"upper must have {size * (size - 1) // 2} entries for size {size}, "
            f"got {upper.shape[-1]}"
        )
    rows, columns = np.triu_indices(size, 1)
    full = jnp.zeros((*upper.shape[:-1], size, size), upper.dtype).at[..., rows, columns].set(upper)
    return full - full.mT


def _num_squarings(matrix: Float[Array, "*b s s"]) -> Array:
    """Halvings that bring the largest matrix of the batch inside the radius of the polynomial."""
    # The spectral norm of a skew matrix is at most its Frobenius norm over sqrt 2: eigenvalues
    # pair.
    norm = jnp.sqrt(jnp.max(jnp.sum(jnp.square(matrix), axis=(-1, -2)), initial=0.0) / 2)
    halvings = jnp.ceil(jnp.log2(jnp.maximum(norm, 1e-30) / _TAYLOR_RADIUS))
    return jnp.clip(halvings, 0, 60).astype(jnp.int32)


def _in_front(matrix: Float[Array, "*b s s"]) -> Float[Array, "..."]:
    """Small matrices by component, `(s, s, batch)`; others as they are."""
    size = matrix.shape[-1]
    return matrix.reshape(-1, size * size).T.reshape(size, size, -1) if size <= _SMALL else matrix


def _behind(matrix: Float[Array, "..."], shape: tuple[int, ...]) -> Float[Array, "*b s s"]:
    size = shape[-1]
    return matrix.reshape(size * size, -1).T.reshape(shape) if size <= _SMALL else matrix


def _product(a: Array, b: Array, size: int) -> Array:
    """Multiply matrices that `_in_front` gave."""
    if size > _SMALL:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)  # TF32 would cost four digits
    terms = [a[:, j, None] * b[None, j] for j in range(size)]
    return sum(terms[1:], start=terms[0])


def _transpose(a: Array, size: int) -> Array:
    return jnp.swapaxes(a, 0, 1) if size <= _SMALL else a.mT


def _identity(a: Array, size: int) -> Array:
    eye = jnp.eye(size, dtype=a.dtype)
    if size <= _SMALL:
        eye = eye[..., None]
    return jnp.broadcast_to(eye, a.shape)


def _exp_minus_one(a: Array, size: int) -> Array:
    """Degree 8 of exp(a) - I by Horner's rule: y_k = (a + a y_{k+1}) / k, from 8 down to 1."""
    # In a loop, here and below, so that every product is kept: as one expression the compiler would
    # compute a product anew for each of the numbers it goes into.
    return lax.fori_loop(
        0, 7, lambda turn, y: (a + _product(a, y, size)) / (7 - turn).astype(a.dtype), a / 8
    )


@jax.custom_vjp
def exp_skew(a: Float[Array, "*b s s"]) -> Float[Array, "*b s s"]:
    r"""Exponential of skew-symmetric matrices, orthogonal to float32 rounding.

    Scaling and squaring of :math:`X = e^{A/2^s} - I` by :math:`X \mapsto 2X + X^2`: without the
    identity inside, small rotations keep their digits through all squarings. One Newton step
    :math:`R \leftarrow R\,(3I - R^\top R)/2` then takes back the drift off the orthogonal group.
    The number of squarings follows the largest norm of the batch, so there is no norm at which it
    gives up (``jax.scipy.linalg.expm`` returns NaN beyond its limit). The derivative is Fréchet's,

    .. math:: \bar A = L_{\exp}(A^\top, \bar R),\qquad
       L(2A, 2E) = e^A L(A, E) + L(A, E)\, e^A,

    by the same squarings: nothing but :math:`A` is kept for the backward pass, it is smooth at
    zero and does not see degenerate spectra (an eigendecomposition would).

    Args:
        a: Skew-symmetric matrices in float32. Reverse-mode derivatives only.

    Returns:
        Rotation matrices.

    Examples:
        >>> exp_skew(jnp.array([[0.0, -jnp.pi / 2], [jnp.pi / 2, 0.0]])).round(3) + 0.0
        Array([[ 0., -1.],
               [ 1.,  0.]], dtype=float32)

    References:
        A. Al-Mohy and N. Higham, "Computing the Fréchet derivative of the matrix exponential",
        2009.
    """
    size, squarings = a.shape[-1], _num_squarings(a)
    x = _exp_minus_one(_in_front(a * jnp.exp2(-squarings.astype(a.dtype))), size)
    x = lax.fori_loop(0, squarings, lambda _, x: 2 * x + _product(x, x, size), x)
    # First R^T R - I = X + X^T + X^T X, again without the identity; then R less half of R times it.
    transposed, r = _transpose(x, size), x + _identity(x, size)
    factor = jnp.array([1.0, -0.5], a.dtype)
    _, r, _ = lax.fori_loop(
        0,
        2,
        lambda turn, c: (r, c[2] + factor[turn] * _product(c[0], c[1], size), r),
        (transposed, x, x + transposed),
    )
    return _behind(r, a.shape)


def _exp_skew_fwd(
    a: Float[Array, "*b s s"],
) -> tuple[Float[Array, "*b s s"], Float[Array, "*b s s"]]:
    return exp_skew(a), a


def _exp_skew_bwd(
    a: Float[Array, "*b s s"], g: Float[Array, "*b s s"]
) -> tuple[Float[Array, "*b s s"]]:
    size, squarings = a.shape[-1], _num_squarings(a)
    factor = jnp.exp2(-squarings.astype(a.dtype))
    point, direction = _in_front(a.mT * factor), _in_front(g * factor)
    x, e = jax.jvp(partial(_exp_minus_one, size=size), (point,), (direction,))

    def double(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, e = carry
        return (
            2 * x + _product(x, x, size),
            2 * e + _product(x, e, size) + _product(e, x, size),
        )

    _, e = lax.fori_loop(0, squarings, double, (x, e))
    # The derivative among skew matrices: what is symmetric cannot be moved along.
    e = _behind(e, a.shape)
    return (0.5 * (e - e.mT),)


exp_skew.defvjp(_exp_skew_fwd, _exp_skew_bwd)


def _block_rotation(
    positions: Float[Array, "*b n m"], generators: Float[Array, "m h f s s"]
) -> BlockRotation:
    """Exp of the sum of position times generator, for every token, head and block."""
    terms = [
        positions[..., axis, None, None, None, None]
        * expand_to(generators[axis], positions.ndim + 3)
        for axis in range(generators.shape[0])
    ]
    total = sum(terms[1:], start=terms[0])
    # Component-major, so that applying it in the half-split layout needs no transpose.
    return BlockRotation(jnp.moveaxis(exp_skew(total), -3, -1))


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
    if block_size < 2:
        raise ValueError(f"block_size must be at least 2, got {block_size}")
    check_multiple("head_dim", head_dim, block_size)
    shape = (num_axes, num_heads, head_dim // block_size, block_size * (block_size - 1) // 2)

    def init(key: PRNGKeyArray) -> Params:
        return {"generators": jax.random.uniform(key, shape, maxval=init_scale)}

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> BlockRotation:
        generators = skew(params["generators"].astype(jnp.float32), block_size)
        return _block_rotation(check_positions(positions, num_axes), generators)

    return Encoding(init=init, prepare=prepare, rotate=partial(_rotate_blocks, layout=layout))


def comrope(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    variant: str = "linear",
    block_size: int = 8,
    init_scale: float = 0.16,
    layout: Layout = "half_split",
) -> Encoding:
    r"""ComRoPE: exponentials of learned blocks that commute by construction.

    * ``"axial"`` (AP): block :math:`j` is turned by axis :math:`j \bmod M` alone.
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
    check_choice("variant", variant, ("linear", "axial"))
    check_multiple("head_dim", head_dim, block_size * (num_axes if variant == "axial" else 1))
    blocks = head_dim // block_size
    own = np.float32(np.arange(blocks)[None, :] % num_axes == np.arange(num_axes)[:, None])

    def init(key: PRNGKeyArray) -> Params:
        generator_key, factor_key = jax.random.split(key)
        shape = (num_heads, blocks, block_size * (block_size - 1) // 2)
        # P - P^T with unit entries in P has entries of variance 2.
        entries = 2**0.5 * init_scale * jax.random.normal(generator_key, shape)
        if variant == "axial":
            return {"generators": entries}
        # Shared by the heads, as in the released code.
        return {"generators": entries, "factors": jax.random.normal(factor_key, (num_axes, blocks))}

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> BlockRotation:
        generators = skew(params["generators"].astype(jnp.float32), block_size)
        factors = jnp.asarray(own) if variant == "axial" else params["factors"]
        factors = factors.astype(jnp.float32)[:, None, :, None, None]
        return _block_rotation(check_positions(positions, num_axes), factors * generators[None])

    return Encoding(init=init, prepare=prepare, rotate=partial(_rotate_blocks, layout=layout))


def rotate_in_basis(
    rotation: BasisRotation,
    x: Float[Array, "*b n h d"],
    *,
    layout: Layout = "half_split",
    restore_basis: bool = True,
) -> Float[Array, "*b n h d"]:
    r"""Turn pairs in a basis: :math:`P^\top \mathrm{RoPE}(p)\, P x`.

    Args:
        rotation: Tables and basis.
        x: Queries or keys.
        layout: Which coefficients in the basis make a pair.
        restore_basis: Whether to come back to the channels. Without it :math:`P^\top` is left out:
            it cancels in scores between two rotated tokens, and in no others.

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
    basis = jnp.broadcast_to(
        rotation.basis.astype(x.dtype), (x.shape[-2], *rotation.basis.shape[1:])
    )
    product = partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    y = rotate_pairs(rotation.pairs, product("...hd,hed->...he", x, basis), layout=layout)
    return product("...he,hed->...hd", y, basis) if restore_basis else y


def _mixed_start(
    key: PRNGKeyArray, num_heads: int, num_axes: int, pairs: int, base: float, scale: float
) -> Float[Array, "m h f"]:
    """Rope-vit's start, with the pairs dealt to the axes of each head's frame in turn."""
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
            "basis": jnp.zeros((num_heads, head_dim * (head_dim - 1) // 2)),
            "frequencies": _mixed_start(key, num_heads, num_axes, head_dim // 2, base, scale),
        }

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> BasisRotation:
        positions = check_positions(positions, num_axes)
        s = skew(params["basis"].astype(jnp.float32), head_dim)
        eye = jnp.broadcast_to(jnp.eye(head_dim), s.shape)
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

    The constant and the alternating vector do not turn: it is :func:`rope_jax.mixed` with
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
        return {"circulants": init_scale * jax.random.normal(key, shape)}

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
