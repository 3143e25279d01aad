"""Time of the directional spectrum of point clouds with its gradient, against plain code.

    python -m benchmarks.spectra [--rounds 5]

8 clouds of 1024 points, 64 radii, and 1 or 32 channels (that many clouds more). Plain JAX holds all
phases at once; plain PyTorch (pip install -e '.[bench]') loops over chunks of directions, as the
published code does. The exact average over the sphere, pair by pair (`debye_spectrum`), stands
beside them.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import machine, milliseconds, temporaries
from pointcloud_jax import dasft, debye_spectrum
from pointcloud_jax.geometry import fibonacci, lebedev

RADII = np.linspace(0, 8, 64)


def naive(points, rule):
    """Write the transform down as it is published, in one piece."""
    directions = jnp.asarray(rule.directions, jnp.float32)
    weights = jnp.asarray(rule.weights, jnp.float32)
    phase = (points @ directions.T)[..., None] * jnp.asarray(RADII, jnp.float32)
    energy = jnp.cos(phase).mean(-3) ** 2 + jnp.sin(phase).mean(-3) ** 2
    return jnp.einsum("...km,k->...m", energy, weights)


def torch_step(points, rule, chunk=9):
    """Make the published loop over chunks of directions; None where PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    x = torch.tensor(np.asarray(points), requires_grad=True)
    directions = torch.tensor(np.asarray(rule.directions, np.float32))
    weights = torch.tensor(np.asarray(rule.weights, np.float32))
    radii = torch.tensor(RADII, dtype=torch.float32)

    def step():
        x.grad = None
        total = 0
        for start in range(0, len(directions), chunk):
            phase = (x @ directions[start : start + chunk].T).unsqueeze(-1) * radii
            energy = phase.cos().mean(-3) ** 2 + phase.sin().mean(-3) ** 2
            total = total + (energy * weights[start : start + chunk, None]).sum(-2)
        total.square().sum().backward()
        return float(total.detach().sum())

    return step


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{machine()}\n\nSpectrum, value and gradient, 8 clouds of 1024 points, 64 radii; medians\n"
    )
    columns = "channels", "rule", "directions", "ours, ms", "naive JAX", "PyTorch"
    columns += "PyTorch / ours", "temporaries, MB"
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    rules = {"fibonacci": fibonacci(36), "lebedev": lebedev(21)}
    for channels in (1, 32):
        points = jax.random.normal(jax.random.key(0), (8, channels, 1024, 3)) / 2
        for name, rule in rules.items():

            def step(x, rule=rule):
                return jnp.square(dasft(x, rule, RADII)).sum()

            def plain(x, rule=rule):
                return jnp.square(naive(x, rule)).sum()

            jitted = jax.jit(jax.value_and_grad(step))
            functions = {"ours": functools.partial(jitted, points)}
            if channels == 1:
                functions["naive"] = functools.partial(jax.jit(jax.value_and_grad(plain)), points)
            in_torch = torch_step(points, rule)
            if in_torch is not None:
                functions["torch"] = in_torch
            ms = milliseconds(functions, options.rounds)
            cells = {n: f"{ms[n]:.0f}" if n in ms else "–" for n in ("ours", "naive", "torch")}
            gain = f"{ms['torch'] / ms['ours']:.1f}" if "torch" in ms else "–"
            size = temporaries(jax.value_and_grad(step), points) / 1e6
            print(
                f"| {channels} | {name} | {len(rule.directions)} | {cells['ours']} |"
                f" {cells['naive']} | {cells['torch']} | {gain} | {size:.0f} |",
                flush=True,
            )
    points = jax.random.normal(jax.random.key(0), (8, 1024, 3)) / 2
    in_pairs = jax.jit(jax.value_and_grad(lambda x: jnp.square(debye_spectrum(x, RADII)).sum()))
    ms = milliseconds({"debye": functools.partial(in_pairs, points)}, 1)
    print(f"\nThe exact mean over the sphere by pairs of points, 1 channel: {ms['debye']:.0f} ms")


if __name__ == "__main__":
    main()
