"""Calibration of univariate statistics: null tables, critical values and p-values."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive
from lejepa_jax.statistics.normality import Statistic
from lejepa_jax.statistics.null_quantiles import PROBABILITIES, QUANTILES, SIZES


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
        >>> from lejepa_jax import watson
        >>> table = simulate_null(jax.random.key(0), watson, sizes=(8, 16), num_columns=1000)
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


def _quantiles_at(table: NullTable, num_samples: int | Array) -> Array:
    """Quantiles for one size: cubic in its logarithm, and beyond the table on a straight line."""
    sizes = [float(size) for size in table.sizes]
    n = jnp.asarray(num_samples, jnp.float32)
    at = jnp.log(jnp.clip(n, sizes[0], sizes[-1]))
    knots = jnp.asarray(np.log(table.sizes), jnp.float32)
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
    gradient = (table.quantiles[-1] - table.quantiles[-2]) / (sizes[-1] ** -0.5 - sizes[-2] ** -0.5)
    beyond = jnp.minimum(lax.rsqrt(n) - sizes[-1] ** -0.5, 0)
    return row + beyond * jnp.asarray(gradient, jnp.float32)


def _interpolate(x: Array, knots: Array, values: Array) -> Array:
    """Interpolate on straight lines, continued beyond both ends."""
    left = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, knots.shape[0] - 2)
    width = jnp.maximum(knots[left + 1] - knots[left], 1e-12)
    gradient = (values[left + 1] - values[left]) / width
    return values[left] + gradient * (x - knots[left])
