r"""Directions on the unit sphere along which a cloud is sliced.

Each function draws rows that are uniform on the sphere one by one and differ in how they depend on
each other; any of them can be the `directions` of `sigreg`. The mean over slices is unbiased with
all; its variance over draws is not the same (`python -m benchmarks.directions`). In two
dimensions Sobol points lower its standard deviation to a third or less, in eight by a fifth or
more, in sixty-four and beyond by nothing. There orthogonal blocks win, by a fifth to two fifths: a
variance that one slice of a block sees the others do not. In two dimensions they can lose, where
directions at right angles may be equally bad.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from lejepa_jax.checks import check_positive
from lejepa_jax.choices import choose

# Sobol numbers have this many binary digits.
_SOBOL_BITS = 32
_MAX_SOBOL_DIM = 21201  # tabled by scipy


@runtime_checkable
class DirectionSampler(Protocol):
    """What draws the directions of `sigreg`: a pure function of the key."""

    def __call__(self, key: PRNGKeyArray, dim: int, num: int, /) -> Float[Array, "{num} {dim}"]:
        """Return unit rows."""
        ...


def unit_directions(key: PRNGKeyArray, dim: int, num: int) -> Float[Array, "{num} {dim}"]:
    """Draw directions uniformly on the unit sphere, one per row.

    Standard normal vectors divided by their norms. Make the key from the step, the same on every
    device (`jax.random.fold_in(key, step)`): all devices must slice along the same directions, and
    fresh slices at every step see far more of the sphere than any fixed set.

    Args:
        key: Random key; the draw is a pure function of it.
        dim: Dimension of the space.
        num: Number of directions.

    Returns:
        Unit rows, float32.

    Raises:
        ValueError: If `dim` or `num` is not positive.

    Examples:
        >>> directions = unit_directions(jax.random.key(0), dim=3, num=4)
        >>> bool(jnp.allclose(jnp.linalg.norm(directions, axis=1), 1, atol=1e-6))
        True

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Definition 2.
    """
    check_positive("dim", dim)
    check_positive("num", num)
    return _normalize(jax.random.normal(key, (num, dim), jnp.float32))


def orthogonal_directions(key: PRNGKeyArray, dim: int, num: int) -> Float[Array, "{num} {dim}"]:
    """Draw random orthonormal bases, as many as needed, and cut off what is too much.

    Each block of `dim` rows is a random rotation of the axes (Haar measure), the blocks are
    independent. Slices of a block see disjoint parts of the covariance: with `num` a multiple of
    `dim` the mean of their variances is the mean of all variances, exactly.

    Args:
        key: Random key, the same on every device; see :func:`unit_directions`.
        dim: Dimension of the space.
        num: Number of directions.

    Returns:
        Unit rows, float32.

    Raises:
        ValueError: If `dim` or `num` is not positive.

    Examples:
        >>> directions = orthogonal_directions(jax.random.key(0), dim=3, num=3)
        >>> bool(jnp.allclose(directions @ directions.T, jnp.eye(3), atol=1e-6))
        True

    References:
        F. Mezzadri, How to generate random matrices from the classical compact groups, Notices of
        the AMS 54, 2007. M. Rowland et al., Orthogonal estimation of Wasserstein distances,
        AISTATS 2019.
    """
    check_positive("dim", dim)
    check_positive("num", num)
    normal = jax.random.normal(key, (-(-num // dim), dim, dim), jnp.float32)
    q, r = jnp.linalg.qr(normal)
    # QR leaves the signs to the algorithm; only with a positive diagonal of R is Q uniform.
    sign = jnp.where(jnp.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return (q * sign[:, None, :]).mT.reshape(-1, dim)[:num]


def sobol_directions(key: PRNGKeyArray, dim: int, num: int) -> Float[Array, "{num} {dim}"]:
    """Draw a scrambled Sobol sequence, map it to normal vectors, and normalize.

    The points fill the unit cube evenly and so, through the inverse normal distribution function,
    space and the sphere. Nested uniform (Owen) scrambling, by hashing, makes each row uniform and
    the set fresh for each key. Take a power of two for `num`: the balance of the sequence holds at
    powers of two.

    Args:
        key: Random key, the same on every device; see :func:`unit_directions`.
        dim: Dimension of the space, at most 21201, for which generating matrices are tabled.
        num: Number of directions.

    Returns:
        Unit rows, float32.

    Raises:
        ValueError: If `dim` or `num` is not positive, or `dim` above 21201.

    Examples:
        >>> directions = sobol_directions(jax.random.key(0), dim=3, num=4)
        >>> bool(jnp.allclose(jnp.linalg.norm(directions, axis=1), 1, atol=1e-6))
        True

    References:
        S. Joe, F. Y. Kuo, Constructing Sobol sequences with better two-dimensional projections,
        SIAM Journal on Scientific Computing 30, 2008. B. Burley, Practical hash-based Owen
        scrambling, Journal of Computer Graphics Techniques 9, 2020. R. Balestriero, Y. LeCun,
        LeJEPA, arXiv 2511.08544, 2025, Appendix D.
    """
    check_positive("dim", dim)
    check_positive("num", num)
    if dim > _MAX_SOBOL_DIM:
        raise ValueError(f"dim must be at most {_MAX_SOBOL_DIM}, got {dim}")
    index = jnp.arange(num, dtype=jnp.uint32)
    points = jnp.zeros((num, dim), jnp.uint32)
    for bit, row in enumerate(_sobol_matrix(dim, num)):
        digit = (index >> np.uint32(bit)) & np.uint32(1)
        points ^= digit[:, None] * jnp.asarray(row)[None, :]
    seeds = jax.random.bits(key, (dim,), jnp.uint32)
    points = _owen_scramble(points, seeds[None, :])
    # 23 digits and a half, so that float32 holds neither 0 nor 1; by the nearer end, since near 1
    # it has no more digits to tell the tail with.
    u = ((points >> np.uint32(9)).astype(jnp.float32) + 0.5) * 2.0**-23
    normal = jnp.where(u < 0.5, ndtri(u), -ndtri(1 - u))
    return _normalize(normal)


#: The samplers of directions by their names.
DIRECTIONS: Mapping[str, DirectionSampler] = MappingProxyType(
    {
        "unit": unit_directions,
        "orthogonal": orthogonal_directions,
        "sobol": sobol_directions,
    }
)


def directions_by_name(text: str) -> DirectionSampler:
    """Find the sampler of directions that a line of text asks for.

    Args:
        text: A name of :data:`DIRECTIONS`.

    Returns:
        The sampler, `(key, dim, num)` to unit rows.

    Raises:
        ValueError: If there is no such name, or it is given options.

    Examples:
        >>> directions_by_name("orthogonal")(jax.random.key(0), 3, 6).shape
        (6, 3)
    """
    return choose("directions", text, DIRECTIONS)


def _normalize(normal: Array) -> Array:
    return normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)


def _sobol_matrix(dim: int, num: int) -> np.ndarray:
    """Return the generating matrices, one row for each binary digit of the index of a point.

    The points come in Gray code order: number 2^b - 1 differs from 0 in digit b alone, and is
    therefore the row itself.
    """
    from scipy.stats import qmc  # takes longer to import than jax

    sequence = qmc.Sobol(dim, scramble=False, bits=_SOBOL_BITS)
    rows = []
    for bit in range(max(num - 1, 1).bit_length()):
        sequence.reset()
        sequence.fast_forward(2 ** (bit + 1) - 1)
        rows.append(sequence.random(1)[0] * 2.0**_SOBOL_BITS)
    return np.array(rows).astype(np.uint32)


def _owen_scramble(x: UInt32[Array, "n d"], seed: UInt32[Array, "1 d"]) -> UInt32[Array, "n d"]:
    """Flip each binary digit by a hash of the digits before it."""
    x = _reverse_bits(x)
    # Additions and products by even numbers pass on to higher digits only, which are the later
    # ones of the reversed number.
    x = x + jnp.broadcast_to(seed, x.shape)
    for even in (0x6C50B47C, 0xB82F1E52, 0xC7AFE638, 0x8D22F6E6):
        x = x ^ (x * np.uint32(even))
    return _reverse_bits(x)


def _reverse_bits(x: Array) -> Array:
    for shift, low in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        shift, low = np.uint32(shift), np.uint32(low)
        x = ((x >> shift) & low) | ((x & low) << shift)
    return (x >> np.uint32(16)) | (x << np.uint32(16))
