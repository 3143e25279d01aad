"""Statistics of the distances of all pairs of points: the Debye spectrum and a soft histogram."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_positive
from pointcloud_jax.checks import check_points
from pointcloud_jax.reductions import mask_weights
from pointcloud_jax.spectra.blocks import num_blocks, sum_over_rows
from pointcloud_jax.spectra.harmonics import spherical_bessel


def debye_spectrum(
    points: Float[Array, "*batch n 3"],
    radii: Float[Array | np.ndarray, " m"],
    *,
    num_bins: int | None = None,
    max_distance: float = 2.0,
    mask: Bool[Array, "*batch n"] | None = None,
) -> Float[Array, "*batch m"]:
    r"""Average the energy spectrum over the whole sphere, in closed form.

    .. math:: G(r) = \frac1{n^2} \sum_{j,l} \operatorname{sinc}(r\,|v_j - v_l|),
        \qquad \operatorname{sinc} x = \frac{\sin x}{x}

    Exactly invariant under rotations, reflections and translations: `dasft` tends to it. With
    `num_bins` the distances go into a histogram first and the sum runs over its bins, at a fraction
    of the cost (one pass over the pairs in place of one for each radius) and as exactly invariant;
    1,024 points of radius 1 at radii up to 12 are then off by 0.4 % on average with 64 bins, 0.02 %
    with 256, 0.002 % with 1,024.

    Args:
        points: The clouds.
        radii: Frequencies, in inverse units of the points.
        num_bins: Number of bins of the soft histogram, or None for the sum over all pairs.
        max_distance: End of the histogram; 2 is the diameter of clouds of radius 1.
        mask: True for points that exist.

    Returns:
        The spectra in float32. An empty cloud gives zero.

    Raises:
        ValueError: As `check_points` and `pair_histogram`.

    Examples:
        >>> pair = jnp.array([[0.0, 0.0, 0.5], [0.0, 0.0, -0.5]])
        >>> print(debye_spectrum(pair, np.array([0.0, np.pi])).round(4))
        [1.  0.5]

    References:
        P. Debye, "Zerstreuung von Röntgenstrahlen", Annalen der Physik 351, 1915.
    """
    radii = jnp.asarray(radii, jnp.float32)
    if num_bins is not None:
        histogram = pair_histogram(points, num_bins=num_bins, max_distance=max_distance, mask=mask)
        centers = jnp.linspace(0, max_distance, num_bins, dtype=jnp.float32)
        table = _sinc(centers[:, None] * radii[None, :])
        return jnp.matmul(histogram, table, precision=lax.Precision.HIGHEST)

    def block(distances: jax.Array, weights: jax.Array) -> jax.Array:
        @jax.checkpoint
        def one(radius: jax.Array) -> jax.Array:
            return (weights * _sinc(radius * distances)).sum((-2, -1))

        return lax.map(one, radii)

    return jnp.moveaxis(_over_pairs(block, points, mask), 0, -1)


def pair_histogram(
    points: Float[Array, "*batch n 3"],
    *,
    num_bins: int,
    max_distance: float = 2.0,
    mask: Bool[Array, "*batch n"] | None = None,
) -> Float[Array, "*batch {num_bins}"]:
    """Distribute the pairs of points over bins of their distance, linearly between two bins.

    Bin `i` sits at `i * max_distance / (num_bins - 1)`; a pair between two bins counts for both, so
    that the histogram has a gradient with respect to the points. Exactly invariant under rotations.

    Args:
        points: The clouds.
        num_bins: Number of bins.
        max_distance: Place of the last bin, which takes what lies beyond it, too.
        mask: True for points that exist.

    Returns:
        Parts of all ordered pairs, a point with itself included (at distance zero); float32, with
        sum 1.

    Raises:
        ValueError: If `num_bins` is less than 2 or `max_distance` not positive, and as
            `check_points`.

    Examples:
        >>> pair = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5]])
        >>> print(pair_histogram(pair, num_bins=3))
        [0.5  0.25 0.25]

    References:
        R. Osada, T. Funkhouser, B. Chazelle, D. Dobkin, "Shape distributions", ACM Transactions on
        Graphics 21, 2002 (the descriptor D2).
    """
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, got {num_bins}")
    check_positive("max_distance", max_distance)

    def block(distances: jax.Array, weights: jax.Array) -> jax.Array:
        place = jnp.clip(distances * ((num_bins - 1) / max_distance), 0, num_bins - 1)
        below = jnp.clip(jnp.floor(lax.stop_gradient(place)), 0, num_bins - 2)
        part = place - below

        def one(below: jax.Array, part: jax.Array, weights: jax.Array) -> jax.Array:
            index = below.astype(jnp.int32)
            bins = jnp.zeros(num_bins, jnp.float32).at[index].add(weights * (1 - part))
            return bins.at[index + 1].add(weights * part)

        pairs = distances.shape[-2] * distances.shape[-1]
        flat = (array.reshape(-1, pairs) for array in (below, part, weights))
        return jax.vmap(one)(*flat).reshape(*distances.shape[:-2], num_bins)

    return _over_pairs(block, points, mask)


def _sinc(x: jax.Array) -> jax.Array:
    return spherical_bessel(x, 0)[0]


def _over_pairs(block, points, mask):
    """Sum `block(distances, weights)` over blocks of rows of the matrix of pairs."""
    check_points("points", points, mask)
    points, weights = mask_weights(points, mask)
    num = points.shape[-2]

    @jax.checkpoint
    def rows(operands: tuple[jax.Array, jax.Array]) -> jax.Array:
        some, some_weights = operands
        # One coordinate at a time, and by differences: the square's expansion would cancel.
        square = sum(
            jnp.square(some[..., :, None, axis] - points[..., None, :, axis]) for axis in range(3)
        )
        apart = square > 0
        distances = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
        return block(distances, some_weights[..., :, None] * weights[..., None, :])

    return sum_over_rows(rows, (points, weights), num_blocks(points.size // 3 * num, num))
