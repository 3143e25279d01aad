"""Standard deviation of SIGReg over draws of the directions, at equal numbers of slices.

    python -m benchmarks.directions

The cloud is fixed, only the directions are drawn anew; the value is relative to the mean. The last
column is the time to draw, in milliseconds.
"""

import argparse
import time

import jax
import jax.numpy as jnp

from lejepa_jax.objectives import (
    orthogonal_directions,
    slice_statistics,
    sobol_directions,
    unit_directions,
)

DRAWS = (unit_directions, orthogonal_directions, sobol_directions)


def clouds(n, d):
    """A round cloud, one of unequal variances, and one with two peaks along one axis."""
    g = jax.random.normal(jax.random.key(0), (n, d))
    sign = jax.random.rademacher(jax.random.key(1), (n,), jnp.float32)
    scales = jnp.linspace(0.5, 1.5, d)[None, :]
    return {
        "round": g,
        "stretched": g * scales,
        "two peaks": g.at[:, 0].set(0.95 * sign + 0.3 * g[:, 0]),
    }


def main(repeats):
    """Print one row a dimension, number of slices and way to draw."""
    names = clouds(16, 2).keys()
    print("Relative standard deviation of SIGReg over draws of the directions, in percent")
    print(
        f"{'d':>5}{'k':>6}  {'directions':24}" + "".join(f"{n:>12}" for n in names) + f"{'ms':>9}"
    )
    for d, k in [(2, 16), (2, 64), (8, 64), (8, 256), (64, 64), (64, 256), (256, 256)]:
        for draw in DRAWS:
            draw_k = jax.jit(lambda key, draw=draw, d=d, k=k: draw(key, d, k))
            draw_k(jax.random.key(0)).block_until_ready()
            start = time.perf_counter()
            for seed in range(5):
                draw_k(jax.random.key(seed)).block_until_ready()
            milliseconds = 200 * (time.perf_counter() - start)
            value = jax.jit(lambda key, x, draw=draw_k: slice_statistics(x, draw(key)).mean())
            keys = jax.random.split(jax.random.key(2), repeats)
            row = ""
            for x in clouds(256, d).values():
                values = jnp.stack([value(key, x) for key in keys])
                row += f"{100 * values.std() / values.mean():12.2f}"
            print(f"{d:5}{k:6}  {draw.__name__:24}{row}{milliseconds:9.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=100)
    main(parser.parse_args().repeats)
