"""The energy spectrum split by degree of the spherical harmonics."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from pointcloud_jax.checks import check_points
from pointcloud_jax.reductions import mask_weights
from pointcloud_jax.spectra.blocks import num_blocks, sum_over_rows
from pointcloud_jax.spectra.harmonics import solid_harmonics, spherical_bessel


def degree_spectrum(
    points: Float[Array, "*batch n 3"],
    radii: Float[Array | np.ndarray, " m"],
    *,
    max_degree: int,
    mask: Bool[Array, "*batch n"] | None = None,
) -> Float[Array, "*batch {max_degree}+1 m"]:
    r"""Split the averaged energy spectrum by degree of the spherical harmonics.

    .. math:: P_l(r) = 4 \pi \sum_{m=-l}^{l} |A_{lm}(r)|^2, \qquad
        A_{lm}(r) = \frac1n \sum_j j_l(r |v_j|)\, Y_{lm}(v_j / |v_j|), \qquad
        \sum_l P_l(r) = G(r)

    with the spherical Bessel functions :math:`j_l`. A rotation mixes the orders m of one degree and
    keeps their power: each :math:`P_l` is exactly invariant at any `max_degree`. Unlike the
    averaged spectrum it still knows about directions: degree 0 sees the radii of the points only,
    degree 1 how lopsided the cloud is, degree 2 how flat or long. It depends on the origin, so
    center the cloud (`normalize_radius`).

    Degrees up to 8 hold the averaged spectrum of CAD shapes of radius 1 at radii up to 12 to 0.4 %,
    degrees up to 12 to 0.002 %. It takes n * m * (l + 1)^2 multiplications in matrix products.

    Args:
        points: The clouds.
        radii: Frequencies, in inverse units of the points.
        max_degree: Highest degree.
        mask: True for points that exist.

    Returns:
        Power by degree and radius, float32.

    Raises:
        ValueError: If `max_degree` is negative, and as `check_points`.

    Examples:
        >>> pair = jnp.array([[0.0, 0.0, 0.5], [0.0, 0.0, -0.5]])
        >>> power = degree_spectrum(pair, np.array([0.0, np.pi]), max_degree=2)
        >>> print(power.sum(0).round(2))
        [1.  0.5]

    References:
        M. Kazhdan, T. Funkhouser, S. Rusinkiewicz, "Rotation invariant spherical harmonic
        representation of 3D shape descriptors", Symposium on Geometry Processing, 2003.
    """
    check_points("points", points, mask)
    if max_degree < 0:
        raise ValueError(f"max_degree must be at least 0, got {max_degree}")
    radii = jnp.asarray(radii, jnp.float32)
    points, weights = mask_weights(points, mask)

    @jax.checkpoint
    def block(operands: tuple[jax.Array, jax.Array]) -> jax.Array:
        points, weights = operands
        # Below 1e-6 the "unit" vector shrinks linearly and the distance stays: the product
        # j_l(r d) Y_l(v / d) keeps its value and, at zero, its gradient.
        distance = jnp.sqrt(jnp.maximum(jnp.square(points).sum(-1), 1e-12))
        harmonics = solid_harmonics(points / distance[..., None], max_degree)
        harmonics = harmonics * weights[..., None]
        row = radii.reshape((1,) * distance.ndim + radii.shape)
        bessel = spherical_bessel(distance[..., None] * row, max_degree)
        return jnp.concatenate(
            [
                jnp.einsum(
                    "...nc,...nm->...cm",
                    harmonics[..., degree**2 : (degree + 1) ** 2],
                    bessel[degree],
                    precision=lax.Precision.HIGHEST,
                )
                for degree in range(max_degree + 1)
            ],
            axis=-2,
        )

    numbers = points.size // 3 * radii.size * (max_degree + 2)
    amplitude = sum_over_rows(block, (points, weights), num_blocks(numbers, points.shape[-2]))
    power = 4 * math.pi * jnp.square(amplitude)
    parts = jnp.split(power, [degree**2 for degree in range(1, max_degree + 1)], axis=-2)
    return jnp.stack([part.sum(-2) for part in parts], axis=-2)
