r"""Commuting encodings: pairs of channels rotated by an angle that is linear in the position.

.. math:: R(p) = \operatorname{blockdiag}_d \operatorname{rot}(\omega_d \cdot p),\qquad
   R(p)^\top R(p') = R(p' - p).

They differ in nothing but the frequency vectors :math:`\omega_d \in \mathbb R^M`, so there is one
implementation, and every one is exactly relative. What separates them is where the vectors point:
along the axes (axial, uniform: the score is a sum of functions of one coordinate each), or
anywhere (mixed, fixed directions), and whether they are learned.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from rope_jax.checks import check_choice, check_multiple, check_positions
from rope_jax.encodings.encoding import Encoding, Params, no_params
from rope_jax.encodings.pairs import PairRotation, pair_rotation, rotate_pairs, rotation_angles
from rope_jax.frequencies import (
    Exponent,
    axis_mask,
    geometric,
    log_uniform,
    quasi_random_directions,
    random_frames,
)
from rope_jax.layout import Layout, check_layout


def _pairs(
    head_dim: int,
    num_axes: int,
    layout: Layout,
    init: Callable[[PRNGKeyArray], Params],
    frequencies: Callable[[Params], Float[Array, "m h f"]],
) -> Encoding:
    """The encoding with the given frequency vectors."""
    check_layout(layout)
    check_multiple("head_dim", head_dim, 2)

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> PairRotation:
        checked = check_positions(positions, num_axes)
        return pair_rotation(rotation_angles(checked, frequencies(params)))

    return Encoding(init=init, prepare=prepare, rotate=partial(rotate_pairs, layout=layout))


def from_frequencies(
    head_dim: int,
    num_heads: int,
    frequencies: Float[Array, "m h f"] | Float[np.ndarray, "m h f"],
    *,
    learned: bool = False,
    layout: Layout = "half_split",
) -> Encoding:
    r"""Encoding with frequency vectors of your own: any stationary kernel, any ported model.

    Args:
        head_dim: Channels of one head.
        num_heads: Heads.
        frequencies: One vector for each head (or one head for all) and pair; at most ``head_dim /
            2`` pairs, the remaining channels are not rotated.
        learned: Whether they are parameters that start there.
        layout: Which channels make a pair.

    Returns:
        The encoding.

    Raises:
        ValueError: If there are more pairs than channels allow or the heads do not agree.

    Examples:
        >>> import jax
        >>> from rope_jax import kernels
        >>> w = kernels.gaussian(0.5).frequencies(jax.random.key(0), 4, 2)
        >>> encoding = from_frequencies(8, 2, w.T[:, None, :])
        >>> encoding.prepare({}, jnp.zeros((3, 2))).cos.shape
        (3, 1, 4)
    """
    num_axes, heads, pairs = frequencies.shape
    if heads not in (1, num_heads):
        raise ValueError(f"frequencies must have 1 or num_heads = {num_heads} heads, got {heads}")
    if 2 * pairs > head_dim:
        raise ValueError(f"frequencies rotate {2 * pairs} channels, head_dim is {head_dim}")
    if learned:

        def init(key: PRNGKeyArray) -> Params:
            del key
            start = jnp.asarray(frequencies, jnp.float32)
            return {"frequencies": jnp.broadcast_to(start, (num_axes, num_heads, pairs))}

        return _pairs(head_dim, num_axes, layout, init, lambda params: params["frequencies"])
    return _pairs(head_dim, num_axes, layout, no_params, lambda params: jnp.asarray(frequencies))


def rope_1d(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 1,
    base: float = 10_000.0,
    learned: bool = False,
    layout: Layout = "half_split",
) -> Encoding:
    r"""RoPE of language models, :math:`\omega_d = \theta^{-2d/N}`.

    With more than one axis the same frequencies meet every coordinate, so positions with the same
    *sum* get the same code. That is a negative control, not an encoding to train with: use
    :func:`axial` or :func:`mixed`.

    Args:
        head_dim: Channels of one head, even.
        num_heads: Heads; learned frequencies are per head.
        num_axes: Width of the positions, 1 for sequences.
        base: :math:`\theta`.
        learned: Whether the frequencies are parameters.
        layout: Which channels make a pair.

    Returns:
        The encoding: exactly relative.

    Raises:
        ValueError: If ``head_dim`` is odd.

    Examples:
        >>> encoding = rope_1d(8, 2)
        >>> rotation = encoding.prepare({}, jnp.arange(5)[:, None])
        >>> encoding.rotate(rotation, jnp.ones((3, 5, 2, 8))).shape
        (3, 5, 2, 8)

    References:
        Su et al., "RoFormer", arXiv 2104.09864, 2021.
    """
    check_multiple("head_dim", head_dim, 2)
    spectrum = geometric(head_dim // 2, base)

    def init(key: PRNGKeyArray) -> Params:
        del key  # every head starts from the fixed rule
        return {"frequencies": jnp.asarray(np.tile(spectrum, (num_heads, 1)))}

    def frequencies(params: Params) -> Float[Array, "m h f"]:
        values = params["frequencies"] if learned else jnp.asarray(spectrum[None, :])
        return jnp.tile(values, (num_axes, 1, 1))

    return _pairs(head_dim, num_axes, layout, init if learned else no_params, frequencies)


def axial(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    base: float = 100.0,
    exponent: Exponent = "channels",
    scale: float = 1.0,
    sections: Sequence[int] | None = None,
    learned: Literal["joint", "separate"] | None = None,
    layout: Layout = "half_split",
) -> Encoding:
    r"""Each axis rotates its own share of the pairs.

    .. math:: \omega_{m,t} = \theta^{-t/K} e_m,\qquad t = 0..K-1,\; K = N / 2M.

    Pairs are ordered by axis, x first (rope-vit); with ``layout="half_split"`` that is DINOv3's
    order for positions made with ``order="ij"``. The score is a sum of one function for each axis:
    the kernel is separable, and no setting of the frequencies makes it see an oblique displacement.

    Args:
        head_dim: Channels of one head, a multiple of ``2 * num_axes`` unless ``sections`` are
            given.
        num_heads: Heads; learned frequencies are per head.
        num_axes: Number :math:`M` of coordinates.
        base: :math:`\theta`; 100 for images.
        exponent: Reading of the exponent, see :func:`rope_jax.frequencies.geometric`.
        scale: Fastest frequency, in radians per unit of position.
        sections: Pairs of each axis when they are not equal (M-RoPE of video models: 16, 24, 24).
        learned: ``None``; ``"joint"`` (one frequency serves all axes, :math:`K` a head, the paper's
            learned axial); or ``"separate"`` (:math:`M K` a head).
        layout: Which channels make a pair.

    Returns:
        The encoding: exactly relative.

    Raises:
        ValueError: If the channels do not fit, or joint frequencies meet unequal sections.

    Examples:
        >>> encoding = axial(8, 2)
        >>> rotation = encoding.prepare({}, jnp.array([[1.0, 0.0]]))
        >>> jnp.arctan2(rotation.sin, rotation.cos)[0, 0]
        Array([1. , 0.1, 0. , 0. ], dtype=float32)

    References:
        Heo et al., "Rotary position embedding for vision transformer", arXiv 2403.13298, 2024, eq.
        6. "RoPE in vision: is equivariance needed?", arXiv 2511.08368, 2025, Proposition 3.
    """
    check_choice("learned", learned, (None, "joint", "separate"))
    if sections is None:
        check_multiple("head_dim", head_dim, 2 * num_axes)
        sections = (head_dim // (2 * num_axes),) * num_axes
    sections = tuple(sections)
    if len(sections) != num_axes or 2 * sum(sections) > head_dim:
        raise ValueError(
            f"sections must be {num_axes} numbers of pairs with a sum of at most {head_dim // 2}, "
            f"got {sections}"
        )
    if learned == "joint" and len(set(sections)) > 1:
        raise ValueError(f"joint frequencies need equal sections, got {sections}")
    spectra = [geometric(num, base, exponent=exponent, scale=scale) for num in sections]
    own = axis_mask(sections)
    start = np.concatenate(spectra)
    fixed = (own * start[None, :])[:, None, :]

    def init(key: PRNGKeyArray) -> Params:
        del key  # every head starts from the fixed rule
        values = spectra[0] if learned == "joint" else start
        return {"frequencies": jnp.asarray(np.tile(values, (num_heads, 1)))}

    def frequencies(params: Params) -> Float[Array, "m h f"]:
        if learned is None:
            return jnp.asarray(fixed)
        values = params["frequencies"].astype(jnp.float32)
        if learned == "joint":
            values = jnp.tile(values, (1, num_axes))
        return values[None, :, :] * jnp.asarray(own[:, None, :])

    return _pairs(head_dim, num_axes, layout, no_params if learned is None else init, frequencies)


def uniform(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    frequency: float = 1.0,
    learned: bool = False,
    layout: Layout = "half_split",
) -> Encoding:
    r"""Axial with one frequency for all pairs: on :math:`[-\pi, \pi]` one turn per image.

    The ablation of the spherical paper. A score is a sum of single harmonics
    :math:`\cos(\Delta x + a), \cos(\Delta y + b)`. (J. Xiong's "uniform" RoPE of 2025 is something
    else: uniformly spread *directions*, here :func:`fixed_directions`.)

    Args:
        head_dim: Channels of one head, a multiple of ``2 * num_axes``.
        num_heads: Heads.
        num_axes: Number of coordinates.
        frequency: The frequency, in radians per unit of position.
        learned: Whether each axis learns its own (one number an axis, shared by all heads).
        layout: Which channels make a pair.

    Returns:
        The encoding: exactly relative.

    Raises:
        ValueError: If the channels do not fit.

    Examples:
        >>> encoding = uniform(8, 2)
        >>> encoding.prepare({}, jnp.array([[0.0, jnp.pi]])).cos[0, 0].round(3)
        Array([ 1.,  1., -1., -1.], dtype=float32)

    References:
        "RoPE in vision: is equivariance needed?", arXiv 2511.08368, 2025, table 2.
    """
    check_multiple("head_dim", head_dim, 2 * num_axes)
    own = axis_mask([head_dim // (2 * num_axes)] * num_axes)[:, None, :]

    def init(key: PRNGKeyArray) -> Params:
        del key
        return {"frequencies": jnp.full((num_axes,), frequency, jnp.float32)}

    def frequencies(params: Params) -> Float[Array, "m h f"]:
        if not learned:
            return jnp.asarray(np.float32(frequency) * own)
        return jnp.asarray(own) * params["frequencies"].astype(jnp.float32)[:, None, None]

    return _pairs(head_dim, num_axes, layout, init if learned else no_params, frequencies)


def mixed(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    base: float = 10.0,
    scale: float = 1.0,
    rotate_init: bool = True,
    layout: Layout = "half_split",
) -> Encoding:
    r"""Learned frequency vectors: the most general commuting encoding, up to a basis.

    Starts as rope-vit does: magnitudes :math:`\theta^{-2Mt/N}` along the axes of one random
    orthonormal frame for each head, every axis getting :math:`N/2M` pairs.

    Args:
        head_dim: Channels of one head, a multiple of ``2 * num_axes`` (for this start).
        num_heads: Heads.
        num_axes: Number :math:`M` of coordinates.
        base: :math:`\theta`; 10 in rope-vit, with integer positions.
        scale: Fastest frequency, in radians per unit of position. Positions on :math:`[-\pi, \pi]`
            of a grid of ``P`` patches are integers times :math:`2\pi/P`: ``scale = P / (2 * pi)``
            gives rope-vit's start, 1 what the spherical paper's coordinates suggest.
        rotate_init: Whether frames are random; with ``False`` it starts as :func:`axial`.
        layout: Which channels make a pair.

    Returns:
        The encoding: exactly relative. ``M N / 2`` parameters a head.

    Raises:
        ValueError: If the channels do not fit.

    Examples:
        >>> import jax
        >>> mixed(8, 2).init(jax.random.key(0))["frequencies"].shape
        (2, 2, 4)

    References:
        Heo et al., "Rotary position embedding for vision transformer", arXiv 2403.13298, 2024, eq.
        8.
    """
    check_multiple("head_dim", head_dim, 2 * num_axes)
    magnitudes = geometric(head_dim // (2 * num_axes), base, scale=scale)

    def init(key: PRNGKeyArray) -> Params:
        if rotate_init:
            frames = random_frames(key, num_heads, num_axes)
        else:
            frames = jnp.tile(jnp.eye(num_axes, dtype=jnp.float32), (num_heads, 1, 1))
        # (h, axis of the frame, m) times (t) -> (m, h, axis of the frame, t) -> (m, h, f)
        vectors = frames.transpose(2, 0, 1)[..., None] * jnp.asarray(
            magnitudes[None, None, None, :]
        )
        return {"frequencies": vectors.reshape(num_axes, num_heads, head_dim // 2)}

    return _pairs(head_dim, num_axes, layout, init, lambda params: params["frequencies"])


def fixed_directions(
    head_dim: int,
    num_heads: int,
    *,
    num_axes: int = 2,
    min_frequency: float = 0.1,
    max_frequency: float = 4.0,
    zero_fraction: float = 0.0,
    layout: Layout = "half_split",
) -> Encoding:
    r"""Frequency vectors fixed in quasi-random directions, other ones in each head.

    .. math:: \omega_{h,f} = |\omega|_f\, u_{h,f},\qquad
       |\omega|_f = \omega_{\min} (\omega_{\max}/\omega_{\min})^{f/(F-1)}

    Nothing is learned, the kernel is oblique, and it is exactly relative: the combination that the
    table of the spherical paper leaves empty.

    Args:
        head_dim: Channels of one head, even.
        num_heads: Heads.
        num_axes: Number of coordinates.
        min_frequency: Slowest, in radians per unit of position.
        max_frequency: Fastest. The default is the patch Nyquist limit of an 8 x 8 grid on
            :math:`[-\pi, \pi]`; a grid of ``P`` carries ``P / 2``. (The published code's 0.1 to
            1000 is for other coordinates and would alias here.)
        zero_fraction: Share of pairs that are not rotated.
        layout: Which channels make a pair.

    Returns:
        The encoding.

    Raises:
        ValueError: If ``head_dim`` is odd, or as :func:`rope_jax.frequencies.log_uniform` does.

    Examples:
        >>> encoding = fixed_directions(8, 2, num_axes=3)
        >>> encoding.prepare({}, jnp.zeros((4, 3))).cos.shape
        (4, 2, 4)

    References:
        J. Xiong, "On N-dimensional rotary positional embeddings", 2025.
    """
    check_multiple("head_dim", head_dim, 2)
    pairs = head_dim // 2
    magnitudes = log_uniform(pairs, min_frequency, max_frequency, zero_fraction=zero_fraction)
    directions = quasi_random_directions(num_heads * pairs, num_axes)
    vectors = directions.reshape(num_heads, pairs, num_axes) * magnitudes[None, :, None]
    return from_frequencies(head_dim, num_heads, vectors.transpose(2, 0, 1), layout=layout)
