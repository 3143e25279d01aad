"""Is this cloud N(0, I), and where is it not: calibrated p-values and the worst direction."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import gammaincc
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive, check_samples
from lejepa_jax.objectives.directions import orthogonal_directions
from lejepa_jax.objectives.slicing import slice_statistics
from lejepa_jax.statistics.normality import Statistic, epps_pulley
from lejepa_jax.statistics.null_quantiles import PROBABILITIES, QUANTILES, SIZES
from lejepa_jax.statistics.quadrature import window_rule


class NullTable(NamedTuple):
    """Upper quantiles of a statistic of N(0, 1) samples, for some sample sizes."""

    sizes: Float[np.ndarray, " s"]  # ascending
    probabilities: Float[np.ndarray, " p"]  # of exceeding, descending
    quantiles: Float[np.ndarray, "s p"]


def null_table(name: str) -> NullTable:
    """Look up the simulated null distribution of a statistic with its default arguments.

    The tables hold 100,000 columns a size and were made by `python -m benchmarks.calibrate`. Type-I
    errors at 5 % and 1 % are within a tenth of nominal between the sizes, but for the entropy with
    its window of 8 below 32 samples (7.7 % and 1.9 % at 24).

    Args:
        name: Name of the function, `epps_pulley` say.

    Returns:
        The table, for sizes from 8 to 4096.

    Raises:
        ValueError: If there is no table of that name.

    Examples:
        >>> round(float(critical_value(null_table("anderson_darling"), 0.05, 1000)), 1)
        2.5
    """
    if name not in QUANTILES:
        raise ValueError(f"name must be one of {', '.join(QUANTILES)}, got {name!r}")
    return NullTable(
        np.asarray(SIZES, np.float64),
        np.asarray(PROBABILITIES, np.float64),
        np.asarray(QUANTILES[name], np.float64),
    )


def simulate_null(
    key: PRNGKeyArray,
    statistic: Statistic,
    *,
    sizes: Sequence[int] = SIZES,
    num_columns: int = 100_000,
    probabilities: Sequence[float] = PROBABILITIES,
) -> NullTable:
    """Simulate the null distribution of a statistic, to calibrate options that have no table.

    Args:
        key: Random key.
        statistic: Statistic of one-dimensional samples.
        sizes: Sample sizes, ascending.
        num_columns: Simulated samples for each size.
        probabilities: Probabilities of exceeding, descending.

    Returns:
        The table.

    Raises:
        ValueError: If `num_columns` is not positive.

    Examples:
        >>> table = simulate_null(jax.random.key(0), epps_pulley, sizes=(8, 16), num_columns=1000)
        >>> table.quantiles.shape == (2, len(PROBABILITIES))
        True
    """
    check_positive("num_columns", num_columns)
    rows = []
    for size in sizes:
        # About a million numbers at a time.
        width = max(1, min(num_columns, 2**20 // size))
        keys = jax.random.split(jax.random.fold_in(key, size), -(-num_columns // width))

        def values(key: PRNGKeyArray, size: int = size, width: int = width) -> Array:
            return statistic(jax.random.normal(key, (size, width)))

        drawn = np.concatenate([np.asarray(part) for part in map(jax.jit(values), keys)])
        rows.append(np.quantile(drawn[:num_columns], 1 - np.asarray(probabilities)))
    return NullTable(
        np.asarray(sizes, np.float64), np.asarray(probabilities, np.float64), np.stack(rows)
    )


def critical_value(
    table: NullTable, level: float, num_samples: int | Float[Array, ""]
) -> Float[Array, ""]:
    """Find the value that N(0, 1) samples exceed with a given probability.

    Args:
        table: Null distribution of the statistic.
        level: Probability of exceeding.
        num_samples: Samples over all devices.

    Returns:
        The critical value, interpolated between tabled sizes and continued beyond the largest;
        below the smallest, that of the smallest.

    Raises:
        ValueError: If `level` is not between 0 and 1.

    Examples:
        >>> print(f"{critical_value(null_table('jarque_bera'), 0.05, 1000):.1f}")
        5.9
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    row = _quantiles_at(table, num_samples)
    log_p = jnp.asarray(np.log(table.probabilities), jnp.float32)
    return _interpolate(-jnp.log(jnp.float32(level)), -log_p, row)


def p_value(
    table: NullTable, values: Float[Array, "*s"], num_samples: int | Float[Array, ""]
) -> Float[Array, "*s"]:
    """Find the probability that a statistic of N(0, 1) samples exceeds the given values.

    Args:
        table: Null distribution of the statistic.
        values: Values of the statistic.
        num_samples: Samples over all devices.

    Returns:
        One p-value each. Beyond the last tabled probability, 0.001, its logarithm is continued on a
        straight line, which is a guess of the right order.

    Examples:
        >>> print(f"{p_value(null_table('anderson_darling'), jnp.array(2.492), 500):.2f}")
        0.05
    """
    row = _quantiles_at(table, num_samples)
    log_p = jnp.asarray(np.log(table.probabilities), jnp.float32)
    return jnp.exp(jnp.minimum(_interpolate(values.astype(jnp.float32), row, log_p), 0))


class SigregNull(NamedTuple):
    """Mean, standard deviation and skewness of SIGReg at N(0, I)."""

    mean: float
    std: float
    skewness: float


def sigreg_null(
    *, dim: int, num_slices: int, t_max: float = 3.0, num_knots: int = 17
) -> SigregNull:
    r"""First three moments of `sigreg` with Epps-Pulley, for many samples of N(0, I).

    Slices of one cloud are not independent. Those at an angle with cosine :math:`\rho` see normal
    variables of that correlation, for which the real and imaginary parts of the characteristic
    functions have the covariances

    .. math:: C_\rho = e^{-(s^2 + t^2)/2} (\cosh \rho s t - 1), \qquad
        S_\rho = e^{-(s^2 + t^2)/2} \sinh \rho s t

    The statistic is a quadratic form of them, so that its second and third cumulants are
    :math:`2\, \mathrm{tr}\, K^2` and :math:`8\, \mathrm{tr}\, K^3` of the covariance over knots and
    directions, here averaged over directions: some of a pair or a triple of slices are the same
    slice, the others have random angles.

    Args:
        dim: Dimension of the embeddings.
        num_slices: Number of independent random directions.
        t_max: As in :func:`epps_pulley`.
        num_knots: As in :func:`epps_pulley`.

    Returns:
        Mean (exact for every n), standard deviation and skewness (for n to infinity).

    Raises:
        ValueError: If `dim` or `num_slices` is not positive.

    Examples:
        >>> null = sigreg_null(dim=64, num_slices=1024)
        >>> print(f"{null.mean:.3f} +- {null.std:.3f}")
        1.052 +- 0.091
    """
    check_positive("dim", dim)
    check_positive("num_slices", num_slices)
    t, weights = window_rule("trapezoid", t_max, num_knots)
    mean = float(weights @ (1 - np.exp(-np.square(t))))
    root = np.sqrt(weights) * np.exp(-np.square(t) / 2)
    product = t[:, None] * t

    def covariance(rho: np.ndarray) -> np.ndarray:
        """Both parts, weights included; shape `(2, *rho, knots, knots)`."""
        angle = np.asarray(rho)[..., None, None] * product
        return root[:, None] * root * np.stack([np.cosh(angle) - 1, np.sinh(angle)])

    rho, mass = _cosines(dim, 24)
    same, other = covariance(np.ones(())), covariance(rho)
    share = 1 / num_slices
    between = mass @ np.square(other).sum((0, 2, 3))
    variance = 2 * (share * np.square(same).sum() + (1 - share) * between)

    all_same = np.trace(same @ same @ same, axis1=1, axis2=2).sum()
    two_same = np.einsum("pst,prtu,prus,r->", same, other, other, mass, optimize=True)
    # The third cosine by the law of cosines on the sphere, around which a third angle is free.
    turn, turn_mass = _cosines(max(dim - 1, 1), 8)
    sine = np.sqrt(np.maximum(1 - np.square(rho), 0))
    third = rho[:, None, None] * rho[:, None] + sine[:, None, None] * sine[:, None] * turn
    closing = np.einsum("pabcst,c->pabst", covariance(third), turn_mass, optimize=True)
    pairs = np.einsum("past,pbtu->pabsu", other, other, optimize=True)
    none_same = np.einsum("pabst,pabts,a,b->", pairs, closing, mass, mass, optimize=True)
    cumulant = 8 * (
        share**2 * all_same
        + 3 * share * (1 - share) * two_same
        + (1 - share) * (1 - 2 * share) * none_same
    )
    return SigregNull(mean, float(variance**0.5), float(cumulant / variance**1.5))


def _cosines(dim: int, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of the angle between two random directions, and their probabilities."""
    if dim == 1:
        return np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    # The sine of a latitude of density cos^(d-2); in high dimensions all are near the equator.
    u, mass = np.polynomial.legendre.leggauss(num)
    latitude = min(np.pi / 2, 6 / dim**0.5) * u
    mass = mass * np.cos(latitude) ** (dim - 2)
    return np.sin(latitude), mass / mass.sum()


def sigreg_p_value(
    value: Float[Array, "*s"],
    *,
    dim: int,
    num_slices: int,
    t_max: float = 3.0,
    num_knots: int = 17,
) -> Float[Array, "*s"]:
    """Find the probability that `sigreg` with Epps-Pulley at N(0, I) exceeds a value.

    By the gamma law, shifted, that has the three moments of :func:`sigreg_null`. To log beside the
    loss, for 64 samples or more; `python -m benchmarks.calibrate` measures how far it is off.

    Args:
        value: Value of `sigreg`, one view (the mean over views is less spread out).
        dim: Dimension of the embeddings.
        num_slices: Number of independent random directions.
        t_max: As in :func:`epps_pulley`.
        num_knots: As in :func:`epps_pulley`.

    Returns:
        The p-value.

    Raises:
        ValueError: If `dim` or `num_slices` is not positive.

    Examples:
        >>> print(f"{sigreg_p_value(jnp.array(1.05), dim=64, num_slices=1024):.1f}")
        0.5
    """
    null = sigreg_null(dim=dim, num_slices=num_slices, t_max=t_max, num_knots=num_knots)
    shape = (2 / null.skewness) ** 2
    start, scale = null.mean - 2 * null.std / null.skewness, null.std * null.skewness / 2
    excess = jnp.maximum((value.astype(jnp.float32) - start) / scale, 0)
    return gammaincc(jnp.full_like(excess, shape), excess)


class GaussianityTest(NamedTuple):
    """How a cloud differs from N(0, I): overall, and along its worst direction."""

    statistic: Float[Array, ""]
    p_value: Float[Array, ""]
    worst_direction: Float[Array, " d"]
    worst_statistic: Float[Array, ""]
    worst_p_value: Float[Array, ""]
    histogram: Float[Array, " bins"]
    edges: Float[Array, " edges"]


def gaussianity_test(
    key: PRNGKeyArray,
    embeddings: Float[Array, "n d"],
    *,
    num_slices: int = 256,
    num_null: int = 199,
    num_starts: int = 8,
    num_steps: int = 100,
    num_bins: int = 32,
    statistic: Statistic = epps_pulley,
    table: NullTable | None = None,
    mask: Bool[Array, " n"] | None = None,
) -> GaussianityTest:
    """Test whether a cloud is a sample of N(0, I), and find the direction that shows it least.

    The overall statistic is the mean over orthogonal slices. Its p-value comes from clouds of
    N(0, I) of the same size, sliced along the same directions: exact for every n, d and statistic.

    The worst direction maximizes the statistic on a random half of the samples, by gradient ascent
    on the sphere from the worst of the slices. A maximum is no fair sample, so its p-value is that
    of the other half, which the direction has not seen.

    Args:
        key: Random key.
        embeddings: Samples, one a row; 16 at least.
        num_slices: Slices of the overall statistic.
        num_null: Simulated clouds; p-values are multiples of `1 / (num_null + 1)`.
        num_starts: Directions that ascend at the same time.
        num_steps: Steps of the ascent.
        num_bins: Bins of the histogram, between -4 and 4.
        statistic: Statistic of one-dimensional samples.
        table: Its null distribution, see :func:`simulate_null`; by default that of `epps_pulley`.
        mask: True for samples that count.

    Returns:
        Statistic and p-value; the worst direction with its statistic and p-value on the other half;
        the density histogram of all samples along it, with its edges.

    Raises:
        ValueError: If a number is not positive; for a wrong rank, dtype or mask, or fewer than 16
            samples; for another statistic without a table.

    Examples:
        >>> key = jax.random.key(0)
        >>> cloud = jax.random.normal(key, (128, 2)) * jnp.array([[1.0, 0.3]])
        >>> result = gaussianity_test(key, cloud, num_slices=8, num_null=99)
        >>> print(f"{result.p_value:.2f} {abs(result.worst_direction[1]):.2f}")
        0.01 1.00

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Theorem 2 (the maximum over
        directions). R. E. Barnard, in the discussion of M. S. Bartlett, JRSS B 25, 1963 (tests by
        simulation).
    """
    for name, number in (
        ("num_slices", num_slices),
        ("num_null", num_null),
        ("num_starts", num_starts),
        ("num_steps", num_steps),
        ("num_bins", num_bins),
    ):
        check_positive(name, number)
    check_samples("embeddings", embeddings, mask)
    if embeddings.ndim != 2 or embeddings.shape[0] < 16:
        raise ValueError(f"embeddings must have shape (n >= 16, d), got {embeddings.shape}")
    if table is None:
        if statistic is not epps_pulley:
            raise ValueError(
                "table must be given with a statistic other than epps_pulley, got None"
            )
        table = null_table("epps_pulley")
    x = embeddings.astype(jnp.float32)
    n, d = x.shape
    mask = jnp.ones(n, bool) if mask is None else mask
    slice_key, null_key, half_key = jax.random.split(key, 3)

    directions = orthogonal_directions(slice_key, d, num_slices)
    overall = slice_statistics(x, directions, statistic=statistic, mask=mask).mean()

    def null_value(key: PRNGKeyArray) -> Array:
        cloud = jax.random.normal(key, (n, d))
        return slice_statistics(cloud, directions, statistic=statistic, mask=mask).mean()

    null = lax.map(null_value, jax.random.split(null_key, num_null))
    exceeded = (null >= overall).sum(dtype=jnp.float32)

    # Valid samples in random order, every other one to each half.
    order = jnp.argsort(jnp.where(mask, jax.random.uniform(half_key, (n,)), 2.0))
    place = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))
    seen, unseen = mask & (place % 2 == 0), mask & (place % 2 == 1)

    def along(directions: Array, mask: Array) -> Array:
        return slice_statistics(x, directions, statistic=statistic, mask=mask)

    first = along(directions, seen)
    _, starts = lax.top_k(first, min(num_starts, num_slices))
    slope = jax.grad(lambda directions: along(directions, seen).sum())

    def ascend(a: Array, step: Array) -> tuple[Array, Array]:
        gradient = slope(a)
        gradient -= (gradient * a).sum(-1, keepdims=True) * a
        # Steps of known angle, whatever the scale of the statistic; shorter and shorter.
        size = jnp.sqrt(jnp.square(gradient).sum(-1, keepdims=True))
        a += step * gradient / jnp.maximum(size, 1e-20)
        a /= jnp.sqrt(jnp.square(a).sum(-1, keepdims=True))
        return a, a

    steps = jnp.asarray(0.5 * np.geomspace(1, 1e-3, num_steps), jnp.float32)
    _, path = lax.scan(ascend, directions[starts], steps)
    candidates = jnp.concatenate([directions[starts], path.reshape(-1, d)])
    heights = lax.map(lambda a: along(a[None], seen)[0], candidates)
    worst = candidates[jnp.argmax(heights)]

    worst_statistic = along(worst[None], unseen)[0]
    projections = jnp.matmul(x, worst, precision=lax.Precision.HIGHEST)
    edges = jnp.linspace(-4.0, 4.0, num_bins + 1)
    weights = mask.astype(jnp.float32)
    counts, _ = jnp.histogram(projections, bins=edges, weights=weights)
    return GaussianityTest(
        statistic=overall,
        p_value=(1 + exceeded) / (1 + num_null),
        worst_direction=worst,
        worst_statistic=worst_statistic,
        worst_p_value=p_value(table, worst_statistic, unseen.sum(dtype=jnp.float32)),
        histogram=counts / (jnp.maximum(weights.sum(), 1) * (8.0 / num_bins)),
        edges=edges,
    )


def _quantiles_at(table: NullTable, num_samples: int | Array) -> Array:
    """Quantiles for one size: cubic in its logarithm, and beyond the table on a straight line."""
    sizes = table.sizes
    n = jnp.asarray(num_samples, jnp.float32)
    at = jnp.log(jnp.clip(n, sizes[0], sizes[-1]))
    knots = jnp.asarray(np.log(sizes), jnp.float32)
    order = min(4, len(sizes))
    first = jnp.clip(jnp.searchsorted(knots, at) - order // 2, 0, len(sizes) - order)
    knots = lax.dynamic_slice_in_dim(knots, first, order)
    rows = lax.dynamic_slice_in_dim(jnp.asarray(table.quantiles, jnp.float32), first, order)
    # Lagrange: the weight of a knot is 1 there and 0 at the others.
    others = jnp.where(jnp.eye(order, dtype=bool), 1.0, at - knots[None, :])
    apart = jnp.where(jnp.eye(order, dtype=bool), 1.0, knots[:, None] - knots[None, :])
    row = jnp.matmul((others / apart).prod(1), rows, precision=lax.Precision.HIGHEST)
    if len(sizes) == 1:
        return row
    # In the inverse root of the size, in which a limit is approached.
    slope = (table.quantiles[-1] - table.quantiles[-2]) / (sizes[-1] ** -0.5 - sizes[-2] ** -0.5)
    beyond = jnp.minimum(lax.rsqrt(n) - sizes[-1] ** -0.5, 0)
    return row + beyond * jnp.asarray(slope, jnp.float32)


def _interpolate(x: Array, knots: Array, values: Array) -> Array:
    """Interpolate on straight lines, continued beyond both ends."""
    left = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, knots.shape[0] - 2)
    width = jnp.maximum(knots[left + 1] - knots[left], 1e-12)
    slope = (values[left + 1] - values[left]) / width
    return values[left] + slope * (x - knots[left])
