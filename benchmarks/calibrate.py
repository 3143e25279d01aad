"""Simulate the null distributions of all univariate statistics, and check the calibration.

python -m benchmarks.calibrate --write    # 100,000 columns a size: minutes on two cores
python -m benchmarks.calibrate            # type-I errors with fresh draws, at sizes off the table
"""

import argparse
import textwrap
from pathlib import Path

import jax
import numpy as np

from lejepa_jax.objectives import slice_statistics, unit_directions
from lejepa_jax.statistics.edf import anderson_darling, cramer_von_mises, watson
from lejepa_jax.statistics.moment_tests import extended_jarque_bera, jarque_bera, moments, vcreg
from lejepa_jax.statistics.normality import epps_pulley
from lejepa_jax.statistics.order_statistics import (
    order_statistic_nll,
    shapiro_wilk,
    vasicek_entropy,
)

STATISTICS = (
    epps_pulley,
    anderson_darling,
    cramer_von_mises,
    watson,
    shapiro_wilk,
    vasicek_entropy,
    order_statistic_nll,
    jarque_bera,
    extended_jarque_bera,
    vcreg,
    moments,
)
SIZES = (8, 12, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 2048, 4096)
# fmt: off
PROBABILITIES = (
    0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.035, 0.025, 0.015,
    0.01, 0.005, 0.002, 0.001,
)
# fmt: on
TABLE = Path(__file__).parent.parent / "lejepa_jax" / "statistics" / "null_quantiles.py"


def draw(statistics, key, size, num_columns):
    """Values of all statistics on the same N(0, 1) columns, about a million numbers at a time."""
    width = min(num_columns, max(1, 2**20 // size))
    keys = jax.random.split(key, -(-num_columns // width))

    @jax.jit
    def values(key):
        x = jax.random.normal(key, (size, width))
        return {statistic.__name__: statistic(x) for statistic in statistics}

    parts = [jax.device_get(values(key)) for key in keys]
    return {name: np.concatenate([p[name] for p in parts])[:num_columns] for name in parts[0]}


def write(num_columns):
    """Simulate, and write the module of the library that holds the tables."""
    quantiles = {statistic.__name__: [] for statistic in STATISTICS}
    for size in SIZES:
        drawn = draw(STATISTICS, jax.random.fold_in(jax.random.key(0), size), size, num_columns)
        for name, values in drawn.items():
            quantiles[name].append(np.quantile(values, 1 - np.array(PROBABILITIES)))
        print(f"n = {size} done", flush=True)
    lines = [
        f'"""Upper null quantiles of the univariate statistics; {num_columns} columns a size.',
        "",
        "Written by `python -m benchmarks.calibrate --write`; do not edit.",
        '"""',
        "",
        "# fmt: off",
        f"SIZES = {SIZES}",
        *_wrapped("PROBABILITIES = ", PROBABILITIES, ""),
        "QUANTILES = {",
    ]
    for name, rows in quantiles.items():
        lines.append(f'    "{name}": (')
        for row in rows:
            lines.extend(_wrapped("        ", row, ","))
        lines.append("    ),")
    TABLE.write_text("\n".join([*lines, "}", ""]))


def _wrapped(start, numbers, end):
    """Lay out a tuple of numbers, four digits each, in lines of the width of the code."""
    text = f"({', '.join(f'{number:.4g}' for number in numbers)}){end}"
    indent = " " * (len(start) - len(start.lstrip()) + 1)
    return textwrap.wrap(text, 100, initial_indent=start, subsequent_indent=indent)


def check(num_columns):
    """Print how often N(0, 1) samples exceed the critical values of the tables."""
    from lejepa_jax.diagnostics.null_law import sigreg_p_value
    from lejepa_jax.statistics.calibration import critical_value, null_table

    print(f"Type-I error, {num_columns} columns: at 5 % and at 1 %, in percent")
    sizes = (20, 96, 400)
    print(f"{'':24}" + "".join(f"{f'n = {n}':>16}" for n in sizes))
    errors = {statistic.__name__: [] for statistic in STATISTICS}
    for size in sizes:
        drawn = draw(STATISTICS, jax.random.fold_in(jax.random.key(1), size), size, num_columns)
        for name, values in drawn.items():
            table = null_table(name)
            rates = [100 * (values > critical_value(table, p, size)).mean() for p in (0.05, 0.01)]
            errors[name].append(f"{rates[0]:8.2f}{rates[1]:8.2f}")
    for name, row in errors.items():
        print(f"{name:24}" + "".join(row))

    print("\nSIGReg with the shifted gamma law: at 5 % and at 1 %, in percent")
    cases = [(256, 2, 16, 20_000), (64, 16, 32, 10_000), (256, 16, 64, 6000), (128, 1, 1, 40_000)]
    for n, d, k, clouds in cases:

        def value(key, n=n, d=d, k=k):
            cloud_key, slice_key = jax.random.split(key)
            directions = unit_directions(slice_key, d, k)
            return slice_statistics(jax.random.normal(cloud_key, (n, d)), directions).mean()

        keys = jax.random.split(jax.random.key(1), clouds)
        values = jax.jit(lambda keys, value=value: jax.lax.map(value, keys))(keys)
        p = sigreg_p_value(values, dim=d, num_slices=k)
        rates = [100 * float((p < level).mean()) for level in (0.05, 0.01)]
        print(f"n = {n:5} d = {d:4} k = {k:4} {clouds:8} clouds {rates[0]:8.2f}{rates[1]:8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables of the library")
    parser.add_argument("--columns", type=int, default=100_000)
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.columns)
    else:
        check(arguments.columns)
