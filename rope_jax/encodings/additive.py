"""What is added to the tokens instead of rotating queries and keys: the baselines."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num, PRNGKeyArray

from rope_jax.checks import check_choice, check_multiple, check_positions, expand_to
from rope_jax.encodings.encoding import Encoding, Params, Rotation, no_params

Interpolation = Literal["cubic", "torch_cubic", "linear"]
SineOrder = Literal["blocked", "sines_first", "interleaved"]


def _additive(init, embed, num_axes: int) -> Encoding:
    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> Rotation:
        check_positions(positions, num_axes)
        return ()

    return Encoding(init=init, prepare=prepare, rotate=lambda rotation, x: x, embed=embed)


def _hat(offset: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.maximum(0.0, 1 - jnp.abs(offset))


def _keys(offset: Float[Array, "..."], a: float = -0.5) -> Float[Array, "..."]:
    """Keys' cubic; a = -1/2 in ``jax.image``, -3/4 in PyTorch."""
    t = jnp.abs(offset)
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    outer = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return jnp.where(t <= 1, inner, jnp.where(t < 2, outer, 0.0))


def learned_absolute(
    head_dim: int,
    num_heads: int,
    *,
    grid: Sequence[int],
    num_axes: int = 2,
    extent: float = float(np.pi),
    method: Interpolation = "cubic",
    resize: Literal["interpolate", "clamp"] = "interpolate",
    std: float = 0.02,
) -> Encoding:
    r"""A learned vector for every cell of the training grid, interpolated elsewhere.

    .. math:: E(p) = \sum_c E_c \prod_m w\big(i_m(p) - c_m\big)

    with :math:`i(p)` the fractional index of a position and :math:`w` the hat function or Keys'
    cubic. On the training grid it is the table; on a finer one it is what ``jax.image.resize``
    makes of the table; positions need not form a grid at all.

    Args:
        head_dim: Channels of one head.
        num_heads: Heads; tokens have ``head_dim * num_heads`` channels.
        grid: Cells of the training grid, rows first ``(H, W)`` or ``(T, H, W)``; positions come
            column first ``(x, y)``, as :func:`rope_jax.patch_grid` makes them.
        num_axes: Number of coordinates, the length of ``grid``.
        extent: Patch centers of the training grid fill ``[-extent, extent]``.
        method: ``"cubic"`` (``jax.image``: a = -1/2, taps outside are left out), ``"torch_cubic"``
            (PyTorch, hence rope-vit and timm: a = -3/4, the border repeats; without antialiasing)
            or ``"linear"``.
        resize: What happens when centers lie on the extent or beyond it, as those of a larger grid
            at constant spacing do: ``"interpolate"`` shrinks their bounding box onto the table (of
            each example and axis separately); ``"clamp"`` repeats the border. Centers inside the
            extent stay where they are, also those of a finer grid.
        std: Standard deviation of the truncated normal start.

    Returns:
        The encoding; ``rotate`` is the identity.

    Raises:
        ValueError: If ``grid`` has not ``num_axes`` sizes, or a choice is unknown.

    Examples:
        >>> import rope_jax
        >>> encoding = learned_absolute(8, 2, grid=(4, 6))
        >>> params = encoding.init(jax.random.key(0))
        >>> tokens = jax.jit(encoding.embed)(params, rope_jax.patch_grid((4, 6)).positions)
        >>> bool(jnp.allclose(tokens, params["table"].reshape(24, 16), atol=1e-6))
        True

    References:
        Dosovitskiy et al., "An image is worth 16x16 words", arXiv 2010.11929, 2020.
        R. Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    grid = tuple(grid)
    if len(grid) != num_axes:
        raise ValueError(f"grid must have num_axes = {num_axes} sizes, got {grid}")
    check_choice("method", method, get_args(Interpolation))
    check_choice("resize", resize, ("interpolate", "clamp"))
    width = head_dim * num_heads
    window = {"cubic": _keys, "torch_cubic": partial(_keys, a=-0.75), "linear": _hat}[method]
    margin = 2 if method == "torch_cubic" else 0  # rows of the repeated border

    def init(key: PRNGKeyArray) -> Params:
        return {
            "table": std * jax.random.truncated_normal(key, -2.0, 2.0, (*grid, width), jnp.float32)
        }

    def embed(params: Params, positions: Num[Array, "*b n m"]) -> Float[Array, "*b n w"]:
        positions = check_positions(positions, num_axes)[..., ::-1]  # rows first, as the table
        cells = jnp.asarray(grid, jnp.float32)
        if resize == "interpolate":
            # Centers of a grid over the same image lie inside it. Those of a larger one at the
            # same spacing do not, and lie half a cell of the table inside their own image.
            reach = jnp.max(jnp.abs(positions), axis=-2, keepdims=True) / extent
            beyond = reach > 1 - 1e-5
            reach = reach + expand_to(1 / cells, positions.ndim)
            positions = positions / jnp.where(beyond, reach, 1.0)
        cells = expand_to(cells, positions.ndim)
        index = (positions / extent + 1) * cells / 2 - 0.5
        # Interpolation goes to the border of the outer cells, as in jax.image; clamping stops at
        # their centers.
        border = 0.5 if resize == "interpolate" else 0.0
        index = jnp.clip(index, -border, cells - 1 + border)
        table = params["table"].astype(jnp.float32)
        table = jnp.pad(table, [(margin, margin)] * num_axes + [(0, 0)], mode="edge")
        # One small dense matrix for each axis instead of a gather: n x H and n x W, contracted
        # together. The window is normalized: what lies outside is left out, as in jax.image.
        letters = "uvw"[:num_axes]
        factors = []
        for axis, size in enumerate(grid):
            centers = jnp.arange(-margin, size + margin, dtype=jnp.float32)
            centers = expand_to(centers, positions.ndim)
            weights = window(index[..., axis, None] - centers)
            factors.append(weights / jnp.sum(weights, axis=-1, keepdims=True))
        spec = ",".join([f"...n{letter}" for letter in letters])
        return jnp.einsum(
            f"{spec},{letters}d->...nd", *factors, table, precision=lax.Precision.HIGHEST
        )

    return _additive(init, embed, num_axes)


def sincos(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    base: float = 10_000.0,
    spacing: Literal["open", "closed"] = "open",
    order: SineOrder = "blocked",
    scale: float = 1.0,
) -> Encoding:
    r"""Sines and cosines of every coordinate, :math:`K = w / 2M` frequencies each.

    Two spacings are in use: ``"open"`` :math:`\theta^{-k/K}` (timm, MAE), and ``"closed"``
    :math:`\theta^{-k/(K-1)}`, which ends exactly at :math:`1/\theta` (big_vision, MoCo-v3). Three
    orders likewise: ``"blocked"`` [sin x, cos x, sin y, cos y] (big_vision), ``"sines_first"`` [sin
    x, sin y, cos x, cos y] (timm, with positions made with ``order="ij"``), ``"interleaved"`` (sin
    and cos of one frequency adjacent, as in the first transformer).

    Args:
        head_dim: Channels of one head.
        num_heads: Heads; tokens have ``w = head_dim * num_heads`` channels, a multiple of
            ``2 * num_axes``.
        num_axes: Number :math:`M` of coordinates.
        base: :math:`\theta`.
        spacing: ``"open"`` or ``"closed"``.
        order: ``"blocked"``, ``"sines_first"`` or ``"interleaved"``.
        scale: Multiplies the positions. The rule is made for integers: positions on
            :math:`[-\pi, \pi]` of a grid of ``P`` want ``P / (2 * pi)``.

    Returns:
        The encoding; ``rotate`` is the identity.

    Raises:
        ValueError: If the channels do not fit, or a choice is unknown.

    Examples:
        >>> encoding = sincos(4, 1)
        >>> encoding.embed({}, jnp.array([[0.0, 1.0]])).round(3)
        Array([[0.   , 1.   , 0.841, 0.54 ]], dtype=float32)

    References:
        Vaswani et al., "Attention is all you need", arXiv 1706.03762, 2017, section 3.5.
    """
    check_choice("spacing", spacing, ("open", "closed"))
    check_choice("order", order, get_args(SineOrder))
    width = head_dim * num_heads
    check_multiple("head_dim * num_heads", width, 2 * num_axes)
    num = width // (2 * num_axes)
    steps = np.arange(num) / max(num - (spacing == "closed"), 1)
    frequencies = np.asarray(scale * base**-steps, np.float32)

    def embed(params: Params, positions: Num[Array, "*b n m"]) -> Float[Array, "*b n w"]:
        positions = check_positions(positions, num_axes)
        angles = positions[..., None] * expand_to(jnp.asarray(frequencies), positions.ndim + 1)
        stack_axis = {"sines_first": -3, "blocked": -2, "interleaved": -1}[order]
        waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=stack_axis)
        return waves.reshape(*positions.shape[:-1], width)

    return _additive(no_params, embed, num_axes)
