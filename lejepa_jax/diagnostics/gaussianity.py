"""Is this cloud N(0, I), and where is it not: a p-value and the worst direction."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive, check_samples
from lejepa_jax.objectives.directions import orthogonal_directions
from lejepa_jax.objectives.slicing import slice_statistics
from lejepa_jax.statistics.calibration import NullTable, null_table, p_value
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.normality import Statistic, epps_pulley
from lejepa_jax.statistics.reductions import masked_rows


class GaussianityTest(NamedTuple):
    """How a cloud differs from N(0, I): overall, and along its worst direction."""

    statistic: Float[Array, ""]
    p_value: Float[Array, ""]
    worst_direction: Float[Array, " d"]
    worst_statistic: Float[Array, ""]
    worst_p_value: Float[Array, ""]
    histogram: Float[Array, " bins"]
    edges: Float[Array, " edges"]


@accept_explicit_axes
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
    x = masked_rows(embeddings, mask)
    n, d = x.shape
    mask = jnp.ones(n, bool) if mask is None else mask
    slice_key, null_key, half_key = jax.random.split(key, 3)

    directions = orthogonal_directions(slice_key, d, num_slices)
    overall = slice_statistics(x, directions, statistic=statistic, mask=mask).mean()

    def null_value(key: PRNGKeyArray) -> Array:
        cloud = jax.random.normal(key, (n, d), jnp.float32)
        return slice_statistics(cloud, directions, statistic=statistic, mask=mask).mean()

    null = lax.map(null_value, jax.random.split(null_key, num_null))
    exceeded = (null >= overall).sum(dtype=jnp.float32)

    # Valid samples in random order, every other one to each half.
    order = jnp.argsort(jnp.where(mask, jax.random.uniform(half_key, (n,), jnp.float32), 2.0))
    place = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))
    seen, unseen = mask & (place % 2 == 0), mask & (place % 2 == 1)

    def along(directions: Array, mask: Array) -> Array:
        return slice_statistics(x, directions, statistic=statistic, mask=mask)

    worst = _ascend(lambda directions: along(directions, seen), directions, num_starts, num_steps)
    worst_statistic = along(worst[None], unseen)[0]
    histogram, edges = _density(
        jnp.matmul(x, worst, precision=lax.Precision.HIGHEST), mask, num_bins
    )
    return GaussianityTest(
        statistic=overall,
        p_value=(1 + exceeded) / (1 + num_null),
        worst_direction=worst,
        worst_statistic=worst_statistic,
        worst_p_value=p_value(table, worst_statistic, unseen.sum(dtype=jnp.float32)),
        histogram=histogram,
        edges=edges,
    )


def _ascend(
    along: Callable[[Array], Array], directions: Array, num_starts: int, num_steps: int
) -> Array:
    """Climb from the highest directions, and return the highest point of all paths."""
    _, starts = lax.top_k(along(directions), min(num_starts, len(directions)))
    uphill = jax.grad(lambda directions: along(directions).sum())

    def climb(a: Array, step: Array) -> tuple[Array, Array]:
        gradient = uphill(a)
        gradient -= (gradient * a).sum(-1, keepdims=True) * a
        # Steps of known angle, whatever the scale of the statistic; shorter and shorter.
        size = jnp.sqrt(jnp.square(gradient).sum(-1, keepdims=True))
        a += step * gradient / jnp.maximum(size, 1e-20)
        a /= jnp.sqrt(jnp.square(a).sum(-1, keepdims=True))
        return a, a

    steps = jnp.asarray(0.5 * np.geomspace(1, 1e-3, num_steps), jnp.float32)
    _, path = lax.scan(climb, directions[starts], steps)
    candidates = jnp.concatenate([directions[starts], path.reshape(-1, directions.shape[-1])])
    heights = lax.map(lambda a: along(a[None])[0], candidates)
    return candidates[jnp.argmax(heights)]


def _density(values: Array, mask: Array, num_bins: int) -> tuple[Array, Array]:
    """Histogram between -4 and 4 as a density over all valid values, and its edges."""
    edges = jnp.linspace(-4.0, 4.0, num_bins + 1, dtype=jnp.float32)
    weights = mask.astype(jnp.float32)
    counts, _ = jnp.histogram(values, bins=edges, weights=weights)
    return counts / (jnp.maximum(weights.sum(), 1) * (8.0 / num_bins)), edges
