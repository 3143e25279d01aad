"""Time and memory of SIGReg with its gradient, against plain code and its own matrix products.

    python -m benchmarks.sigreg [--rounds 7] [--no-growth]

Four ways to one number, all with 1024 slices and 17 knots, from the same embeddings and directions:
ours; the published algorithm in plain JAX; the same in plain PyTorch (pip install -e '.[bench]');
and the projections alone, both matrix products forward and back, below which nothing can go.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import machine, milliseconds, temporaries
from lejepa_jax import sigreg, unit_directions
from lejepa_jax.statistics.normality import epps_pulley

SIZES = ((4096, 512), (2048, 128), (512, 64), (16384, 256))
KNOTS, SLICES, T_MAX = 17, 1024, 3.0


def naive(embeddings, directions):
    """Write the algorithm down as it is published."""
    t = jnp.linspace(0, T_MAX, KNOTS)
    phi = jnp.exp(-(t**2) / 2)
    x_t = (embeddings @ directions.T)[..., None] * t
    error = (jnp.cos(x_t).mean(-3) - phi) ** 2 + jnp.sin(x_t).mean(-3) ** 2
    return 2 * embeddings.shape[-2] * jnp.trapezoid(error * phi, t, axis=-1).mean()


def torch_step(embeddings, directions):
    """Make the published algorithm in PyTorch; None where PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    z = torch.tensor(np.asarray(embeddings), requires_grad=True)
    a = torch.tensor(np.asarray(directions))
    t = torch.linspace(0, T_MAX, KNOTS)
    phi = torch.exp(-(t**2) / 2)

    def step():
        z.grad = None
        x_t = (z @ a.T).unsqueeze(-1) * t
        error = (x_t.cos().mean(0) - phi) ** 2 + x_t.sin().mean(0) ** 2
        value = 2 * len(z) * torch.trapezoid(error * phi, t, dim=-1).mean()
        value.backward()
        return float(value.detach())

    return step


def ours(embeddings, directions, *, num_knots=KNOTS):
    """Call the library."""

    def statistic(x, **options):
        return epps_pulley(x, num_knots=num_knots, t_max=T_MAX, **options)

    return sigreg(jax.random.key(0), embeddings, directions=directions, statistic=statistic)


def projections(embeddings, directions):
    """Do the two matrix products, forward and back, and nothing else."""
    x, pull = jax.vjp(lambda z: jnp.matmul(z, directions.T, precision="highest"), embeddings)
    return pull(x)[0]


def problem(n, d, k=SLICES):
    """Draw a cloud and directions."""
    key = jax.random.key(0)
    return jax.random.normal(key, (n, d)), unit_directions(jax.random.fold_in(key, 1), d, k)


def compare(rounds: int) -> None:
    """Print the table of sizes."""
    columns = "n", "d", "ours, ms", "projections", "naive JAX", "PyTorch"
    columns += "PyTorch / ours", "ours / projections", "temporaries / n k floats"
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for n, d in SIZES:
        z, a = problem(n, d)
        step = jax.jit(jax.value_and_grad(ours))
        products, plain = jax.jit(projections), jax.jit(jax.value_and_grad(naive))
        functions = {
            "ours": functools.partial(step, z, a),
            "projections": functools.partial(products, z, a),
        }
        if n * SLICES * KNOTS < 2**29:  # the tensor of knots would not fit beside its gradient
            functions["naive"] = functools.partial(plain, z, a)
            in_torch = torch_step(z, a)
            if in_torch is not None:
                functions["torch"] = in_torch
        ms = milliseconds(functions, rounds)
        bytes_ = temporaries(jax.value_and_grad(ours), z, a)

        def cell(name, ms=ms):
            return f"{ms[name]:.1f}" if name in ms else "–"

        gain = f"{ms['torch'] / ms['ours']:.1f}" if "torch" in ms else "–"
        print(
            f"| {n} | {d} | {ms['ours']:.1f} | {ms['projections']:.1f} | {cell('naive')} |"
            f" {cell('torch')} | {gain} | {ms['ours'] / ms['projections']:.1f} |"
            f" {bytes_ / (4 * n * SLICES):.1f} |",
            flush=True,
        )


def growth(rounds: int) -> None:
    """Print the exponents with which time grows, and what bfloat16 and 41 knots cost."""
    base = {"n": 2048, "d": 128, "k": 1024, "knots": 17, "views": 2}
    print("\n| grows in | from | to | ms | exponent |\n| --- | --- | --- | --- | --- |")
    for name, sizes in {
        "n": (1024, 2048, 4096, 8192),
        "d": (64, 128, 256, 512),
        "k": (512, 1024, 2048, 4096),
        "knots": (9, 17, 33, 65),
        "views": (1, 2, 4, 8),
    }.items():
        functions = {}
        for size in sizes:
            at = base | {name: size}
            z, a = problem(at["n"] * at["views"], at["d"], at["k"])
            z = z.reshape(at["views"], at["n"], at["d"])
            step = jax.jit(jax.value_and_grad(ours), static_argnames="num_knots")
            functions[str(size)] = lambda f=step, z=z, a=a, m=at["knots"]: f(z, a, num_knots=m)
        ms = milliseconds(functions, rounds)
        times = [ms[str(size)] for size in sizes]
        exponent = np.polyfit(np.log(sizes), np.log(times), 1)[0]
        shown = ", ".join(f"{t:.1f}" for t in times)
        print(f"| {name} | {sizes[0]} | {sizes[-1]} | {shown} | {exponent:.2f} |", flush=True)
    z, a = problem(2048, 128)
    half = z.astype(jnp.bfloat16)
    step = jax.jit(jax.value_and_grad(ours), static_argnames="num_knots")
    ms = milliseconds(
        {
            "float32": lambda: step(z, a),
            "bfloat16": lambda: step(half, a),
            "41 knots": lambda: step(z, a, num_knots=41),
        },
        rounds,
    )
    print("\nn = 2048, d = 128: " + ", ".join(f"{name} {t:.1f} ms" for name, t in ms.items()))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-growth", action="store_true")
    options = parser.parse_args()
    print(f"{machine()}\n\nSIGReg, value and gradient, 1024 slices, 17 knots; medians\n")
    compare(options.rounds)
    if not options.no_growth:
        growth(options.rounds)


if __name__ == "__main__":
    main()
