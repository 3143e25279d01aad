"""Power of every calibrated statistic at the 5 % level against one departure at a time.

    python -m benchmarks.power

One column of n samples for the univariate statistics; for SIGReg a cloud in 16 dimensions with the
departure along one coordinate or along all, and a cloud that lost dimensions.
"""

import argparse

import jax
import jax.numpy as jnp

from benchmarks import departures
from benchmarks.calibrate import STATISTICS
from lejepa_jax.diagnostics.covariance import isotropy_penalty
from lejepa_jax.objectives import orthogonal_directions, slice_statistics
from lejepa_jax.statistics.calibration import critical_value, null_table

CASES = {
    "none": lambda g, sign: g,
    "shift 0.25": lambda g, sign: departures.shift(g, 0.25),
    "scale 1.15": lambda g, sign: departures.scale(g, 0.2),
    "scale 0.87": lambda g, sign: departures.scale(g, -0.2),
    "skew 0.3": lambda g, sign: departures.skew(g, 0.3),
    "tail 0.1": lambda g, sign: departures.tail(g, 0.1),
    "tail -0.1": lambda g, sign: departures.tail(g, -0.1),
    "peaks 0.8": lambda g, sign: departures.peaks(g, 0.8, sign),
}


def univariate(n, columns):
    """Print the share of columns above the critical value."""
    print(f"Rejections at 5 %, in percent: {columns} columns of {n}")
    print(f"{'':22}" + "".join(f"{case:>12}" for case in CASES))
    g = jax.random.normal(jax.random.key(0), (n, columns))
    sign = jax.random.rademacher(jax.random.key(1), (n, columns), jnp.float32)
    for statistic in STATISTICS:
        critical = critical_value(null_table(statistic.__name__), 0.05, n)
        function = jax.jit(statistic)
        rates = [100 * (function(case(g, sign)) > critical).mean() for case in CASES.values()]
        print(f"{statistic.__name__:22}" + "".join(f"{rate:12.1f}" for rate in rates))


def clouds(n, d, repeats):
    """Print the same for the mean over 64 slices, the worst of them, and second moments only."""
    directions = orthogonal_directions(jax.random.key(2), d, 64)

    @jax.jit
    def values(x):
        slices = slice_statistics(x, directions)
        return jnp.stack([slices.mean(), slices.max(), isotropy_penalty(x)])

    def draw(case, key):
        keys = jax.random.split(key)
        g = jax.random.normal(keys[0], (n, d))
        sign = jax.random.rademacher(keys[1], (n, d), jnp.float32)
        return case(g, sign)

    def first_only(case):
        return lambda g, sign: g.at[:, 0].set(case(g, sign)[:, 0])

    def keep(rank):
        # The variance of the lost dimensions goes to the others.
        return lambda g, sign: jnp.where(jnp.arange(d)[None, :] < rank, g * (d / rank) ** 0.5, 0)

    cases = {f"{name}, first": first_only(case) for name, case in CASES.items() if name != "none"}
    cases |= {f"{name}, all": case for name, case in CASES.items() if name != "none"}
    cases |= {f"rank {rank}": keep(rank) for rank in (15, 12, 8)}

    def rates(case, seed):
        keys = jax.random.split(jax.random.key(seed), repeats)
        return jax.lax.map(lambda key: values(draw(case, key)), keys)

    critical = jnp.quantile(jax.jit(lambda: rates(CASES["none"], 3))(), 0.95, axis=0)
    print(f"\nRejections at 5 %, in percent: {repeats} clouds of {n} in {d} dimensions, 64 slices")
    print(f"{'':22}{'mean slice':>12}{'worst slice':>12}{'moments':>12}")
    for name, case in cases.items():
        above = 100 * (jax.jit(lambda case=case: rates(case, 4))() > critical[None]).mean(0)
        print(f"{name:22}" + "".join(f"{rate:12.1f}" for rate in above))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=128)
    parser.add_argument("--columns", type=int, default=5000)
    parser.add_argument("--clouds", type=int, default=400)
    arguments = parser.parse_args()
    univariate(arguments.n, arguments.columns)
    clouds(256, 16, arguments.clouds)
