r"""Encodings by rotations of 3-vectors, which do not commute.

Spherical RoPE is a *product* of one elementary rotation for each coordinate; the GeoPE-like
encoding exponentiates the *sum*. By the formula of Baker, Campbell and Hausdorff the two agree only
where the generators commute, which these never do: :math:`\|[G_{yaw}, G_{roll}]\|` is
:math:`1/\sqrt2` of :math:`\|G_{yaw}\| \|G_{roll}\|`. Both preserve norms. Neither is relative as a
whole, but a product is *exactly* invariant to shifts along its outermost axis:

.. math:: S_{ij} = q^\top R_y(-y_i)\, R_x(x_j - x_i)\, R_y(y_j)\, k .
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from rope_jax.checks import (
    check_channels,
    check_choice,
    check_multiple,
    check_positions,
    expand_to,
    wider_dtype,
)
from rope_jax.encodings.blocks import BlockRotation, rotate_blocks
from rope_jax.encodings.encoding import Encoding, Params, no_params
from rope_jax.encodings.pairs import rotate_plane
from rope_jax.encodings.skew_matrices import rodrigues
from rope_jax.frequencies import Exponent, geometric
from rope_jax.layout import Layout, check_layout, merge_blocks, split_blocks

Remainder = Literal["error", "pass"]

# Components (first, second) that an elementary rotation by +t mixes: first' = c first - s second.
_YAW, _PITCH, _ROLL = (0, 1), (0, 2), (1, 2)
# Which rotation a coordinate drives, by the number of coordinates. x is always the yaw and, in two
# dimensions, y the roll, as in the paper; the third one is the only plane left.
_PLANES = {1: (_YAW,), 2: (_YAW, _ROLL), 3: (_YAW, _PITCH, _ROLL)}


class SphericalRotation(NamedTuple):
    """Cosine and sine of every elementary rotation; ``h`` is 1 when all heads share them."""

    cos: Float[Array, "*b n m h f"]
    sin: Float[Array, "*b n m h f"]


def rotate_spherical(
    rotation: SphericalRotation,
    x: Float[Array, "*b n h d"],
    *,
    order: tuple[int, ...],
    layout: Layout = "half_split",
) -> Float[Array, "*b n h d"]:
    r"""Apply one elementary rotation after the other to the triplets of ``x``.

    Twelve operations a triplet in two dimensions; the 3 x 3 product is never formed.

    Args:
        rotation: Tables of ``f`` triplets.
        x: Queries or keys; channels from ``3 f`` on pass through.
        order: Axes from the outermost factor in; the last one is applied first.
        layout: Which channels make a triplet.

    Returns:
        Rotated array, shape and dtype of ``x``.

    Raises:
        ValueError: If the tables rotate more channels than there are.

    Examples:
        >>> quarter = jnp.full((1, 2, 1, 1), jnp.pi / 2)
        >>> rotation = SphericalRotation(jnp.cos(quarter), jnp.sin(quarter))
        >>> x = jnp.array([[[1.0, 2.0, 3.0]]])
        >>> [round(c) for c in rotate_spherical(rotation, x, order=(0, 1))[0, 0].tolist()]
        [3, 1, 2]
    """
    rotated = 3 * rotation.cos.shape[-1]
    check_channels(rotated, x)
    dtype = wider_dtype(x, rotation.cos)
    cos, sin = (expand_to(table, x.ndim + 1).astype(dtype) for table in rotation)
    blocks = split_blocks(x[..., :rotated].astype(dtype), 3, layout)
    parts = [blocks[..., component, :] for component in range(3)]
    planes = _PLANES[len(order)]
    for axis in reversed(order):
        first, second = planes[axis]
        table = cos[..., axis, :, :], sin[..., axis, :, :]
        parts[first], parts[second] = rotate_plane(parts[first], parts[second], *table)
    out = merge_blocks(jnp.stack(parts, axis=-2), layout).astype(x.dtype)
    if rotated == x.shape[-1]:
        return out
    return jnp.concatenate([out, x[..., rotated:]], axis=-1)


def _num_triplets(head_dim: int, remainder: Remainder) -> int:
    check_choice("remainder", remainder, get_args(Remainder))
    if remainder == "error" or head_dim < 3:
        check_multiple("head_dim", head_dim, 3)
    return head_dim // 3


def spherical(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    base: float = 100.0,
    exponent: Exponent = "channels",
    scale: float = 1.0,
    learned: bool = False,
    order: Sequence[int] | None = None,
    remainder: Remainder = "error",
    layout: Layout = "half_split",
) -> Encoding:
    r"""Spherical RoPE: a yaw by x after a roll by y in every triplet of channels.

    .. math:: \phi(z_d, p) = \mathrm{Yaw}(\omega_{d} x)\, \mathrm{Roll}(\omega_{d} y)\, z_d

    The caption of the paper's figure 2 exchanges the two; its equation is the default, the other
    is ``order=(1, 0)``. What the paper does not say: scores are *exactly* invariant to a shift
    along the outermost axis, and to no other. In three dimensions, Yaw(x) Pitch(y) Roll(z).

    Args:
        head_dim: Channels of one head, a multiple of 3 unless ``remainder="pass"``.
        num_heads: Heads; learned frequencies are per head.
        num_axes: 1, 2 or 3 coordinates.
        base: :math:`\theta` of the spectrum over the ``head_dim // 3`` triplets.
        exponent: Reading of the exponent, see :func:`rope_jax.frequencies.geometric`.
        scale: Fastest frequency, in radians per unit of position.
        learned: Whether the frequencies are parameters, one for each axis, head and triplet.
        order: Axes from the outermost factor to the innermost; by default ``(0, 1, ..)``.
        remainder: What happens to ``head_dim % 3`` channels: ``"error"``, or ``"pass"`` (the last
            ones are not rotated; 64 is 21 triplets and one).
        layout: Which channels make a triplet; ``"half_split"`` means thirds.

    Returns:
        The encoding: not relative, except along its outermost axis.

    Raises:
        ValueError: If the channels do not fit, ``num_axes`` is not 1 to 3, or ``order`` is no
            order.

    Examples:
        >>> encoding = spherical(6, 2)
        >>> rotation = encoding.prepare({}, jnp.zeros((4, 2)))
        >>> x = jnp.arange(48.0).reshape(4, 2, 6)
        >>> bool((encoding.rotate(rotation, x) == x).all())
        True

    References:
        "RoPE in vision: is equivariance needed?", arXiv 2511.08368, 2025, equation of spherical
        RoPE.
    """
    check_choice("num_axes", num_axes, tuple(_PLANES))
    check_layout(layout)
    order = tuple(range(num_axes)) if order is None else tuple(order)
    if sorted(order) != list(range(num_axes)):
        raise ValueError(f"order must hold every axis 0..{num_axes - 1} once, got {order}")
    triplets = _num_triplets(head_dim, remainder)
    spectrum = geometric(triplets, base, exponent=exponent, scale=scale)

    def init(key: PRNGKeyArray) -> Params:
        del key  # every head and axis starts from the fixed rule
        return {"frequencies": jnp.asarray(np.tile(spectrum, (num_axes, num_heads, 1)))}

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> SphericalRotation:
        positions = check_positions(positions, num_axes)
        shared = np.tile(spectrum, (num_axes, 1, 1))
        frequencies = params["frequencies"] if learned else jnp.asarray(shared)
        frequencies = expand_to(frequencies.astype(jnp.float32), positions.ndim + 2)
        angles = positions[..., None, None] * frequencies
        return SphericalRotation(cos=jnp.cos(angles), sin=jnp.sin(angles))

    return Encoding(
        init=init if learned else no_params,
        prepare=prepare,
        rotate=partial(rotate_spherical, order=order, layout=layout),
    )


def geope(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    base: float = 100.0,
    exponent: Exponent = "channels",
    scale: float = 1.0,
    factor: float | None = None,
    remainder: Remainder = "error",
    layout: Layout = "half_split",
) -> Encoding:
    r"""GeoPE-like encoding: the rotation vector is the mean of one vector for each coordinate.

    .. math:: R(p) = \exp\Big(\Big[\tfrac1M \sum_m \omega_d\, p_m\, e_m\Big]_\times\Big)

    Symmetric in the axes, not relative. It is LieRE with fixed generators of size 3. The paper's
    formula is reconstructed from its abstract and reviews: axes and factor are not verified, hence
    "like".

    Args:
        head_dim: Channels of one head, a multiple of 3 unless ``remainder="pass"``.
        num_heads: Heads; all share the tables.
        num_axes: 1, 2 or 3 coordinates.
        base: :math:`\theta` of the spectrum.
        exponent: Reading of the exponent, see :func:`rope_jax.frequencies.geometric`.
        scale: Fastest frequency, in radians per unit of position.
        factor: What multiplies the sum; by default ``1 / num_axes``.
        remainder: ``"error"`` or ``"pass"`` for ``head_dim % 3`` channels.
        layout: Which channels make a triplet; ``"half_split"`` means thirds.

    Returns:
        The encoding.

    Raises:
        ValueError: If the channels do not fit or ``num_axes`` is not 1 to 3.

    Examples:
        >>> encoding = geope(6, 2)
        >>> encoding.prepare({}, jnp.zeros((4, 2))).matrix.shape
        (4, 1, 3, 3, 2)

    References:
        "GeoPE: a unified geometric positional embedding", arXiv 2512.04963, 2025.
    """
    check_choice("num_axes", num_axes, (1, 2, 3))
    check_layout(layout)
    triplets = _num_triplets(head_dim, remainder)
    mean = 1 / num_axes if factor is None else factor
    spectrum = geometric(triplets, base, exponent=exponent, scale=scale * mean)

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> BlockRotation:
        positions = check_positions(positions, num_axes)
        positions = jnp.pad(positions, [(0, 0)] * (positions.ndim - 1) + [(0, 3 - num_axes)])
        vectors = positions[..., None] * expand_to(jnp.asarray(spectrum), positions.ndim + 1)
        return BlockRotation(rodrigues(vectors[..., None, :, :]))

    def rotate(rotation: BlockRotation, x: Float[Array, "*b n h d"]) -> Float[Array, "*b n h d"]:
        return rotate_blocks(rotation.matrix, x, layout=layout)

    return Encoding(init=no_params, prepare=prepare, rotate=rotate)
