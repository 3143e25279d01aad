r"""Spectra: which angular frequencies an encoding uses, fixed or as a starting point.

A frequency :math:`\omega` is in radians per unit of position. The same number therefore means
something else under another convention of coordinates: base 100 on integer positions rotates
the fastest pair twice over 14 patches, on :math:`[-\pi, \pi]` once. A pair whose
:math:`|\omega|` times the patch spacing exceeds :math:`\pi` (the Nyquist limit of the grid) cannot
be distinguished from a slower one.

What is not random is numpy: an encoding can be made anywhere, inside ``jax.jit`` too, and puts
nothing on a device until it is used.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from rope_jax.checks import check_choice

__all__ = [
    "axis_mask",
    "geometric",
    "log_uniform",
    "pixel",
    "quasi_random_directions",
    "random_frames",
]

Exponent = Literal["channels", "blocks"]


def geometric(
    num: int, base: float, *, exponent: Exponent = "channels", scale: float = 1.0
) -> Float[np.ndarray, " {num}"]:
    r"""Geometric spectrum, from ``scale`` down towards ``scale / base``.

    .. math:: \omega_k = s\, \theta^{-k/K} \quad\text{or}\quad s\, \theta^{-2k/K},\qquad k = 0..K-1.

    The rule of the spherical paper, :math:`100^{-2d/D}`, reads either way: with :math:`D` the
    number of channels it is the first, the usual one (``"channels"``, the default); with :math:`D`
    the number of blocks, as the text says, the second, whose effective base is 10 000
    (``"blocks"``). DINOv3's periods are ``base=100, scale=2`` on positions in :math:`[-\pi, \pi]`.

    Args:
        num: Number of frequencies :math:`K`.
        base: :math:`\theta`; 100 for images, 10 000 for text.
        exponent: ``"channels"`` or ``"blocks"``.
        scale: The fastest frequency :math:`s`, in radians per unit of position.

    Returns:
        Frequencies, fastest first.

    Raises:
        ValueError: If ``exponent`` is unknown or ``base`` is not positive.

    Examples:
        >>> geometric(2, 100.0)
        array([1. , 0.1], dtype=float32)
        >>> geometric(2, 100.0, exponent="blocks")
        array([1.  , 0.01], dtype=float32)

    References:
        Su et al., "RoFormer", arXiv 2104.09864, 2021, section 3.2.2.
        "RoPE in vision: is equivariance needed?", arXiv 2511.08368, 2025.
    """
    check_choice("exponent", exponent, get_args(Exponent))
    if base <= 0:
        raise ValueError(f"base must be positive, got {base}")
    power = 1.0 if exponent == "channels" else 2.0
    # numpy in float64: a power in float32 loses three digits at the slow end.
    return np.asarray(scale * base ** (-power * np.arange(num) / num), np.float32)


def log_uniform(
    num: int, minimum: float, maximum: float, *, zero_fraction: float = 0.0
) -> Float[np.ndarray, " {num}"]:
    r"""Spectrum equally spaced in the logarithm, both ends included.

    Args:
        num: Number of frequencies.
        minimum: Slowest frequency.
        maximum: Fastest frequency.
        zero_fraction: Share of pairs, slowest first, that are not rotated at all.

    Returns:
        Frequencies, slowest first.

    Raises:
        ValueError: If the bounds are not ``0 < minimum <= maximum``, or the share not in [0, 1].

    Examples:
        >>> log_uniform(3, 0.1, 10.0)
        array([ 0.1,  1. , 10. ], dtype=float32)

    References:
        J. Xiong, "On N-dimensional rotary positional embeddings", 2025.
    """
    if not 0 < minimum <= maximum:
        raise ValueError(f"wanted 0 < minimum <= maximum, got {minimum} and {maximum}")
    if not 0 <= zero_fraction <= 1:
        raise ValueError(f"zero_fraction must be in [0, 1], got {zero_fraction}")
    zeros = round(zero_fraction * num)
    rest = np.geomspace(minimum, maximum, num - zeros) if zeros < num else np.zeros(0)
    return np.asarray(np.concatenate([np.zeros(zeros), rest]), np.float32)


def pixel(
    num: int, max_resolution: float = 224.0, *, spacing: Literal["linear", "log"] = "linear"
) -> Float[np.ndarray, " {num}"]:
    r"""The "pixel" bands, for positions on :math:`[-1, 1]`.

    :math:`\pi` times numbers from 1 to half the resolution.

    Args:
        num: Number of frequencies.
        max_resolution: Pixels along the image; 10 in ``rope-flax``.
        spacing: ``"linear"`` (``rope-flax``) or ``"log"`` (timm, by default).

    Returns:
        Frequencies, slowest first.

    Raises:
        ValueError: If ``spacing`` is unknown.

    Examples:
        >>> (pixel(3, 10.0) / np.pi).round(4)
        array([1., 3., 5.], dtype=float32)
        >>> (pixel(3, 8.0, spacing="log") / np.pi).round(4)
        array([1., 2., 4.], dtype=float32)
    """
    check_choice("spacing", spacing, ("linear", "log"))
    ramp = np.linspace if spacing == "linear" else np.geomspace
    return np.asarray(ramp(1.0, max_resolution / 2, num) * np.pi, np.float32)


def quasi_random_directions(
    num: int, dim: int, *, offset: int = 0
) -> Float[np.ndarray, "{num} {dim}"]:
    r"""Low-discrepancy unit vectors, the same in every run: no key, no two alike.

    The additive recurrence :math:`\{(k + 1/2)\,\alpha\}`, :math:`\alpha_i = \phi_M^{-i}` with
    :math:`\phi_M` the root of :math:`x^{M+1} = x + 1` (the golden ratio for M = 1), goes through
    the inverse normal distribution and is normalized.

    Args:
        num: Number of directions.
        dim: Dimension :math:`M` of the space.
        offset: Index of the first one, to continue a sequence.

    Returns:
        One unit vector per row; for ``dim == 1`` signs.

    Examples:
        >>> directions = quasi_random_directions(64, 2)
        >>> bool(np.linalg.norm(directions.mean(0)) < 0.05)  # they balance
        True

    References:
        M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018 (the
        recurrence). J. Xiong, "On N-dimensional rotary positional embeddings", 2025 (the use).
    """
    root = 2.0
    for _ in range(64):  # a contraction: 64 rounds reach the last bit
        root = (1 + root) ** (1 / (dim + 1))
    alpha = root ** -np.arange(1.0, dim + 1)
    uniform = (0.5 + alpha[None, :] * np.arange(offset + 1, offset + num + 1)[:, None]) % 1.0
    normal = np.vectorize(NormalDist().inv_cdf)(uniform)
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True), np.float32)


def random_frames(key: PRNGKeyArray, num: int, dim: int) -> Float[Array, "{num} {dim} {dim}"]:
    """Orthonormal frames drawn uniformly; row ``i`` of a frame is its axis ``i``.

    In one dimension the only frame is +1: a sign flips the direction of rotation and nothing else.

    Args:
        key: PRNG key.
        num: Number of frames.
        dim: Dimension of the space.

    Returns:
        Rotations, determinant one in two dimensions (so that the second axis is the first one
        rotated by a quarter turn, as rope-vit has it).

    Examples:
        >>> frames = random_frames(jax.random.key(0), 4, 3)
        >>> bool(jnp.allclose(frames @ frames.mT, jnp.eye(3)[None], atol=1e-5))
        True
    """
    if dim == 1:
        return jnp.ones((num, 1, 1), jnp.float32)
    if dim == 2:
        angle = jax.random.uniform(key, (num,), jnp.float32, maxval=2 * jnp.pi)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return jnp.stack([jnp.stack([cos, sin], -1), jnp.stack([-sin, cos], -1)], -2)
    return jax.random.orthogonal(key, dim, (num,), jnp.float32)


def axis_mask(sections: Sequence[int]) -> Float[np.ndarray, "m f"]:
    """Which pairs see which axis when every axis has a section of its own.

    Args:
        sections: Pairs of each axis.

    Returns:
        Row ``m`` is one in the section of axis ``m`` and zero outside.

    Examples:
        >>> axis_mask([1, 2])
        array([[1., 0., 0.],
               [0., 1., 1.]], dtype=float32)
    """
    return np.repeat(np.eye(len(sections), dtype=np.float32), sections, axis=1)
