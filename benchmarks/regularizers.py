"""Regularizers beside each other: the gradient as a cloud collapses, and what a step costs.

    python -m benchmarks.regularizers collapse docs/regularizers/collapse.svg
    python -m benchmarks.regularizers cost [--samples 4096] [--features 512] [--rounds 3]

`collapse` scales a normal cloud and draws the norm of the gradient. `cost` prints, for the value
with its gradient along 1024 slices, the time and the temporaries on one device, and the bytes that
a device receives from the others when the samples are sharded over 4, read off the compiled
program; the same bytes for twice as many samples say what grows.
"""

import argparse
import functools
import os
from pathlib import Path

# The programs for 4 devices are compiled for devices of the host.
if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    flag = "--xla_force_host_platform_device_count=4"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from benchmarks.hlo import moved
from benchmarks.timing import machine, milliseconds, temporaries
from lejepa_jax.objectives.regularizers import regularizer_by_name

NAMES = (
    "sigreg",
    "sigreg(statistic='anderson_darling')",
    "visreg",
    "visreg(shape='epps_pulley')",
    "visreg(shape_weight=0.0)",
    "rdmreg",
    "mmd",
    "mmd(kernel='gaussian')",
    "mmd(kernel='energy')",
    "ksd",
    "sphere",
    "subspace",
    "covariance",
    "covariance(form='norm')",
    "covariance(form='norm', sketch=64)",
)
SCALES = np.logspace(0, -4, 17)
KEY = jax.random.key(1)


def collapse(path: str) -> None:
    """Draw and print the norm of the gradient as the cloud shrinks."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    cloud = jax.random.normal(jax.random.key(0), (256, 32))
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    print("| regularizer | s = 1 | 0.1 | 0.01 | 0.001 | 0.0001 |")
    print("| --- " * 6 + "|")
    styles = ["-", "--", ":"]
    for number, name in enumerate(NAMES):
        own = regularizer_by_name(name, num_slices=256)
        gradient = jax.jit(jax.grad(functools.partial(own, KEY)))
        norms = [float(jnp.linalg.norm(gradient(scale * cloud))) for scale in SCALES]
        style = styles[number // 10 % 3]
        axes.loglog(SCALES, norms, style, color=f"C{number % 10}", label=name)
        print(
            f"| `{name}` | " + " | ".join(f"{norm:.2g}" for norm in norms[::4]) + " |", flush=True
        )
    axes.invert_xaxis()
    axes.set(xlabel="standard deviation s of a normal cloud, 256 x 32", ylabel="gradient norm")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def received(name: str, num_samples: int, dim: int) -> int:
    """Bytes that a device receives when the samples are sharded over 4."""
    own = regularizer_by_name(name)
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=jax.devices()[:4])

    def step(z):
        def loss(z):
            return own(KEY, z, axis_name="data")

        value, gradient = jax.value_and_grad(loss)(z)
        return value, gradient

    mapped = jax.shard_map(step, mesh=mesh, in_specs=P("data"), out_specs=(P(), P("data")))
    shape = jax.ShapeDtypeStruct((num_samples, dim), jnp.float32)
    return sum(moved(jax.jit(mapped).lower(shape).compile().as_text()).values())


def cost(num_samples: int, dim: int, rounds: int) -> None:
    """Print time, memory and bytes of each."""
    print(f"{machine()}\n\nvalue and gradient, n = {num_samples}, d = {dim}; medians\n")
    columns = "regularizer", "ms", "temporaries, MiB", "received, MiB", "at 2 n"
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    cloud = jax.random.normal(jax.random.key(0), (num_samples, dim))
    for name in NAMES:
        own = functools.partial(regularizer_by_name(name), KEY)
        step = jax.jit(jax.value_and_grad(own))
        ms = milliseconds({name: functools.partial(step, cloud)}, rounds)[name]
        memory = temporaries(jax.value_and_grad(own), cloud)
        sent = [received(name, n, dim) for n in (num_samples, 2 * num_samples)]
        cells = [f"{ms:.0f}", f"{memory / 2**20:.0f}"]
        cells += [f"{value / 2**20:.2f}" for value in sent]
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Draw the picture or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("collapse").add_argument("path")
    costs = commands.add_parser("cost")
    costs.add_argument("--samples", type=int, default=4096)
    costs.add_argument("--features", type=int, default=512)
    costs.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.command == "collapse":
        collapse(options.path)
    else:
        cost(options.samples, options.features, options.rounds)


if __name__ == "__main__":
    main()
