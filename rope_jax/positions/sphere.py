"""Grids on the unit sphere with their quadrature weights."""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rope_jax.checks import check_choice, check_sizes
from rope_jax.positions.coordinates import Coordinates

SphereRule = Literal["midpoint", "clenshaw_curtis", "gauss_legendre"]


def _clenshaw_curtis(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of equally spaced colatitudes, poles included, and their weights on [-1, 1]."""
    if num == 1:
        return np.zeros(1), np.full(1, 2.0)
    order = num - 1
    angle = np.pi * np.arange(num) / order
    k = np.arange(1, order // 2 + 1)
    factor = np.where(2 * k == order, 1.0, 2.0)
    inner = 1 - (factor / (4 * k**2 - 1) * np.cos(2 * np.outer(angle, k))).sum(-1)
    end = np.where((np.arange(num) == 0) | (np.arange(num) == order), 1.0, 2.0)
    return np.cos(angle), end * inner / order


def sphere_grid(
    num_latitudes: int, num_longitudes: int, *, rule: SphereRule = "midpoint"
) -> Coordinates:
    r"""Latitude-longitude grid on the unit sphere with the weights of its rule.

    Args:
        num_latitudes: Circles of latitude, north to south.
        num_longitudes: Points on a circle; no meridian is there twice.
        rule: ``"midpoint"`` (centers of equal bands, exact areas), ``"clenshaw_curtis"`` (equal
            angles with both poles), or ``"gauss_legendre"``. No weight is zero, so its logarithm is
            finite; the naive cosine of the latitude vanishes at the poles.

    Returns:
        ``(longitude, latitude)`` in radians, row-major; the measure sums to :math:`4\pi`.

    Raises:
        ValueError: If the rule is unknown or a size not positive.

    Examples:
        >>> grid = sphere_grid(4, 8)
        >>> round(float(grid.measure.sum()) / np.pi, 4)
        4.0

    References:
        Bonev et al., "Attention on the sphere", arXiv 2505.11157, 2025.
    """
    check_sizes("num_latitudes, num_longitudes", (num_latitudes, num_longitudes))
    check_choice("rule", rule, get_args(SphereRule))
    if rule == "midpoint":
        edges = np.pi * np.arange(num_latitudes + 1) / num_latitudes
        latitude = np.pi / 2 - (edges[1:] + edges[:-1]) / 2
        weights = np.cos(edges[:-1]) - np.cos(edges[1:])
    else:
        nodes, weights = (
            _clenshaw_curtis(num_latitudes)
            if rule == "clenshaw_curtis"
            else tuple(part[::-1] for part in np.polynomial.legendre.leggauss(num_latitudes))
        )
        latitude = np.arcsin(np.clip(nodes, -1, 1))
    longitude = -np.pi + 2 * np.pi * np.arange(num_longitudes) / num_longitudes
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    measure = np.repeat(weights * 2 * np.pi / num_longitudes, num_longitudes)
    positions = np.stack([lon.reshape(-1), lat.reshape(-1)], axis=-1)
    return Coordinates(jnp.asarray(positions, jnp.float32), jnp.asarray(measure, jnp.float32))


def unit_vectors(positions: Float[Array, "*b n 2"]) -> Float[Array, "*b n 3"]:
    """Points of the unit sphere from ``(longitude, latitude)``.

    Args:
        positions: Angles in radians.

    Returns:
        Cartesian unit vectors, the north pole at ``(0, 0, 1)``.

    Examples:
        >>> unit_vectors(jnp.zeros((1, 2)))
        Array([[1., 0., 0.]], dtype=float32)
    """
    positions = positions.astype(jnp.float32)
    longitude, latitude = positions[..., 0], positions[..., 1]
    cos = jnp.cos(latitude)
    return jnp.stack([cos * jnp.cos(longitude), cos * jnp.sin(longitude), jnp.sin(latitude)], -1)
