"""Draw every statistic as one parameter leaves the Gaussian, for docs/statistics.md.

python -m benchmarks.statistics_pictures    # writes docs/statistics/NAME.png
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

from benchmarks import departures
from benchmarks.calibrate import STATISTICS
from lejepa_jax.statistics.multivariate import (
    bhep,
    bhep_mgf,
    comb,
    energy_distance,
    henze_visagie,
    henze_zirkler,
    mardia,
)

mpl.use("agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).parent.parent / "docs" / "statistics"
STEPS = 13


def mardia_skewness(x):
    """Skewness alone."""
    return mardia(x).skewness


def mardia_kurtosis(x):
    """Kurtosis alone."""
    return mardia(x).kurtosis


MULTIVARIATE = (
    bhep,
    henze_zirkler,
    henze_visagie,
    bhep_mgf,
    comb,
    mardia_skewness,
    mardia_kurtosis,
    energy_distance,
)

# Title, values of the parameter, and the columns it makes of g and a random sign.
PANELS = (
    ("mean", np.linspace(-0.6, 0.6, STEPS), lambda g, s, p: departures.shift(g, p)),
    ("scale, doublings", np.linspace(-0.8, 0.8, STEPS), lambda g, s, p: departures.scale(g, p)),
    ("skew, sigma", np.linspace(-0.6, 0.6, STEPS), lambda g, s, p: departures.skew(g, p)),
    ("tail, h", np.linspace(-0.2, 0.2, STEPS), lambda g, s, p: departures.tail(g, p)),
    ("two peaks", np.linspace(0, 0.96, STEPS), lambda g, s, p: departures.peaks(g, p, s)),
)


def draw(name, panels):
    """One row of panels: median and the middle 80 % of the values against the parameter."""
    figure, axes = plt.subplots(1, len(PANELS), figsize=(9, 1.9), sharey=True)
    null = panels[0][STEPS // 2]
    for axis, (title, parameters, _), values in zip(axes, PANELS, panels, strict=True):
        low, median, high = np.quantile(values, [0.1, 0.5, 0.9], axis=1)
        axis.fill_between(parameters, low, high, color="#9ecae1", linewidth=0)
        axis.plot(parameters, median, color="#08519c", linewidth=1.5)
        for level, style in ((0.5, "-"), (0.95, "--")):
            axis.axhline(np.quantile(null, level), color="#636363", linewidth=0.6, linestyle=style)
        axis.set_title(title, fontsize=8)
        axis.tick_params(labelsize=7)
    spread = float(np.quantile(null, 0.95) - np.quantile(null, 0.05))
    axes[0].set_yscale("symlog", linthresh=3 * spread, linscale=1.5)
    bands = [np.quantile(values, [0.1, 0.9], axis=1) for values in panels]
    lowest, highest = min(b.min() for b in bands), max(b.max() for b in bands)
    axes[0].set_ylim(lowest - 0.3 * spread, highest + 0.1 * (highest - lowest))
    axes[0].set_ylabel(name, fontsize=8)
    figure.tight_layout(pad=0.4, w_pad=0.3)
    figure.savefig(FOLDER / f"{name}.png", dpi=80)
    plt.close(figure)


def main(n, columns, d, clouds):
    """Draw all statistics of columns, then those of clouds with one departing coordinate."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    keys = jax.random.split(jax.random.key(0), 4)
    g = jax.random.normal(keys[0], (n, columns))
    sign = jax.random.rademacher(keys[1], (n, columns), jnp.float32)
    for statistic in STATISTICS:
        function = jax.jit(statistic)
        draw(
            statistic.__name__,
            [
                np.stack([function(f(g, sign, p)) for p in parameters])
                for _, parameters, f in PANELS
            ],
        )
    g = jax.random.normal(keys[2], (clouds, n, d))
    sign = jax.random.rademacher(keys[3], (clouds, n), jnp.float32)
    for statistic in MULTIVARIATE:
        function = jax.jit(lambda x, f=statistic: jax.lax.map(f, x))

        def depart(f, p):
            return g.at[:, :, 0].set(f(g[:, :, 0], sign, p))

        draw(
            statistic.__name__,
            [np.stack([function(depart(f, p)) for p in parameters]) for _, parameters, f in PANELS],
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=256, help="samples in a column or cloud")
    parser.add_argument("--columns", type=int, default=400)
    parser.add_argument("--d", type=int, default=4, help="dimension of the clouds")
    parser.add_argument("--clouds", type=int, default=100)
    arguments = parser.parse_args()
    main(arguments.n, arguments.columns, arguments.d, arguments.clouds)
