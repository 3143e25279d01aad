"""Graphs of nearest neighbors and whole training steps of DiPVNet, against plain PyTorch.

    python -m benchmarks.networks [--rounds 5] [--size small|paper] [--batch 8] [--points 1024]

Graphs: in PyTorch (pip install -e '.[bench]') squared distances by the product expansion and
`topk`, as networks on clouds have it; ours decides by differences and works in blocks. Steps:
forward, cross-entropy, backward and AdamW of the classifier with the published options (36
Fibonacci directions), written plainly in PyTorch from the published formulas, its spectrum a loop
over chunks of directions; with our own options (exactly invariant) beside it. Then the parts of
that step, each timed alone with its gradient, summed over the stages.
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.timing import machine, milliseconds, temporaries
from pointcloud_jax import (
    PAPER,
    Classifier,
    DiPVNet,
    DiPVNetConfig,
    DirectionOptions,
    modelnet40_config,
    small_config,
    vector_linear,
)
from pointcloud_jax.geometry import gather, knn

K, CLASSES = 20, 40
GRAPHS = {"coordinates": (8, 1024, 3), "features": (8, 1024, 64), "large clouds": (4, 4096, 3)}
PARTS = "graphs", "edges and pools", "L2DP", "spectra and attention"
Function = Callable[[], Any]


def config_of(size: str, options: DirectionOptions) -> DiPVNetConfig:
    """Widths of a size, for points without normals and 20 neighbors."""
    made = {"small": small_config, "paper": modelnet40_config}[size](options)
    return dataclasses.replace(made, k=K, normals=False)


def graphs(rounds: int) -> None:
    """Print the table of graphs."""
    columns = "graph", "clouds, points, numbers", "ours, ms", "PyTorch", "PyTorch / ours"
    columns += ("temporaries, MB",)
    print(f"\nGraphs of {K} nearest neighbors; medians\n")
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for name, shape in GRAPHS.items():
        points = jax.random.normal(jax.random.key(0), shape)
        find = functools.partial(knn, k=K)
        functions: dict[str, Function] = {"ours": functools.partial(jax.jit(find), points)}
        theirs = plain_torch()
        if theirs is not None:
            functions["torch"] = theirs.search(np.asarray(points), K)
        ms = milliseconds(functions, rounds)
        other = f"{ms['torch']:.0f}" if "torch" in ms else "–"
        gain = f"{ms['torch'] / ms['ours']:.1f}" if "torch" in ms else "–"
        size = temporaries(find, points) / 1e6
        print(
            f"| {name} | {', '.join(map(str, shape))} | {ms['ours']:.0f} | {other} | {gain} |"
            f" {size:.0f} |",
            flush=True,
        )


def plain_torch() -> Any:
    """Give the module with the same in PyTorch; None where it is not installed."""
    try:
        from benchmarks import torch_dipvnet
    except ImportError:
        return None
    return torch_dipvnet


def our_step(config: DiPVNetConfig, points: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Make a training step of the classifier, compiled."""

    def make() -> Classifier:
        rngs = nnx.Rngs(0)
        return Classifier(DiPVNet(config, rngs=rngs), CLASSES, rngs=rngs)

    graph, params, rest = nnx.split(make(), nnx.Param, ...)
    optimizer = optax.adamw(1e-3, weight_decay=0.05)
    keys = jax.random.split(jax.random.key(0), len(points))

    clouds = jnp.asarray(points), jnp.asarray(labels)

    def loss(params: Any, rest: Any, points: Any, labels: Any) -> tuple[jax.Array, Any]:
        model = nnx.merge(graph, params, rest, copy=True)
        logits = model(points, train=True, keys=keys)
        value = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return value.mean(), nnx.split(model, nnx.Param, ...)[2]

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, clouds: Any) -> tuple[Any, jax.Array]:
        params, rest, moments = state
        (value, rest), grads = jax.value_and_grad(loss, has_aux=True)(params, rest, *clouds)
        updates, moments = optimizer.update(grads, moments, params)
        return (optax.apply_updates(params, updates), rest, moments), value

    state = params, rest, optimizer.init(params)
    began = time.perf_counter()
    compiled = step.lower(state, clouds).compile()
    compiling = time.perf_counter() - began

    def once() -> jax.Array:
        nonlocal state
        state, value = compiled(state, clouds)
        return value

    count = sum(x.size for x in jax.tree.leaves(params))
    memory = compiled.memory_analysis()
    held = memory.temp_size_in_bytes if memory is not None else 0
    return {"once": once, "parameters": count, "compile": compiling, "held": held}


def our_parts(config: DiPVNetConfig, batch: int, num: int) -> list[dict[str, Function]]:
    """Make, a stage at a time, what a step is made of, each with its gradient."""
    trunk = DiPVNet(config, rngs=nnx.Rngs(0)).trunk
    keys = jax.random.split(jax.random.key(0), batch)
    found = []
    for stage, inputs in zip(trunk.stages, (1, *config.widths[:-1]), strict=True):
        width, half = stage.half * 2, stage.half
        draw = functools.partial(jax.random.normal, jax.random.key(1))
        vectors, edge = draw((batch, num, inputs, 3)), draw((batch, num, config.k, width, 3))
        pooled, local = draw((batch, num, width, 3)), draw((batch, num, width))
        search = jax.jit(
            functools.partial(knn, k=config.k, exclude_self=config.options.exclude_self)
        )
        flat = vectors.reshape(batch, num, -1)
        indices = search(flat).indices

        def on_edges(stage: Any, vectors: Any, indices: Any = indices) -> Any:
            edges = stage.edges[0].on_edges(vectors, indices, train=True)
            return edges, stage._pool(0, edges, None)

        def products(
            stage: Any, edge: Any, pooled: Any, indices: Any = indices, half: int = half
        ) -> Any:
            offsets, centers = edge[..., :half, :], edge[..., half:, :]
            if stage.readers:
                read = vector_linear(pooled, stage.readers[0][...])
                ends = read[..., half:, :]
                offsets = gather(ends, indices) - ends[..., None, :, :]
                centers = read[..., None, :half, :]
            return stage.locals[0](centers, offsets, train=True, keys=keys)

        def spectrum(stage: Any, local: Any, cloud: Any) -> Any:
            return stage.spectra[0](local, cloud, train=True, mask=None, keys=keys, number=0)

        found.append(
            {
                "graphs": functools.partial(search, flat),
                "edges and pools": _differentiated(stage, on_edges, vectors),
                "L2DP": _differentiated(stage, products, edge, pooled),
                "spectra and attention": _differentiated(
                    stage, spectrum, local, pooled[..., :half, :]
                ),
            }
        )
    return found


def _differentiated(module: nnx.Module, function: Callable[..., Any], *arrays: Any) -> Function:
    """Make the derivative with respect to the parameters of a module, and to arrays."""
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def loss(params: Any, arrays: Any) -> jax.Array:
        out = function(nnx.merge(graph, params, rest, copy=True), *arrays)
        return jnp.stack([jnp.square(x).mean() for x in jax.tree.leaves(out)]).sum()

    return functools.partial(jax.jit(jax.grad(loss, argnums=(0, 1))), params, arrays)


def steps(size: str, batch: int, num: int, rounds: int) -> None:
    """Print the table of steps, and that of their parts."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(batch, num, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=-1).max(-1)[:, None, None]
    labels = rng.integers(0, CLASSES, batch)
    configs = {"published": config_of(size, PAPER), "ours": config_of(size, DirectionOptions())}
    made = {name: our_step(config, points, labels) for name, config in configs.items()}
    theirs = plain_torch()
    other = None
    if theirs is not None:
        other = theirs.step(configs["published"], points, labels, CLASSES)
    functions = {name: one["once"] for name, one in made.items()}
    if other is not None:
        functions["torch"] = other["once"]
    ms = milliseconds(functions, rounds)
    print(
        f"\nTraining steps of DiPVNet ({size}), {batch} clouds of {num} points, k = {K}; medians\n"
    )
    columns = "options", "parameters, ours and theirs", "ours, clouds/s", "PyTorch"
    columns += "ours / PyTorch", "temporaries, MB", "compiled in"
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for name, one in made.items():
        sizes, rate, gain = f"{one['parameters']:,}", "–", "–"
        if other is not None and name == "published":
            sizes += f", {other['parameters']:,}"
            rate, gain = f"{1e3 * batch / ms['torch']:.1f}", f"{ms['torch'] / ms[name]:.1f}"
        print(
            f"| {name} | {sizes} | {1e3 * batch / ms[name]:.1f} | {rate} | {gain} |"
            f" {one['held'] / 1e6:.0f} | {one['compile']:.0f} s |"
        )
    parts = {name: our_parts(config, batch, num) for name, config in configs.items()}
    if theirs is not None and other is not None:
        parts["torch"] = theirs.parts(other["model"], configs["published"], batch, num)
    spent = {name: dict.fromkeys(PARTS, 0.0) for name in parts}
    for stage in range(len(configs["published"].widths)):
        for part in PARTS:
            each = milliseconds({name: one[stage][part] for name, one in parts.items()}, rounds)
            for name, value in each.items():
                spent[name][part] += value
    print("\nIts parts alone, with their gradients, ms\n")
    titles = {"published": "published, ours", "torch": "published, PyTorch", "ours": "our options"}
    titles = {name: title for name, title in titles.items() if name in spent}
    print(f"| part | {' | '.join(titles.values())} |\n{'| --- ' * (len(titles) + 1)}|")
    for part in PARTS:
        print(f"| {part} | {' | '.join(f'{spent[name][part]:.0f}' for name in titles)} |")
    print(f"| step | {' | '.join(f'{ms[name]:.0f}' for name in titles)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", choices=("small", "paper"), default="small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--points", type=int, default=1024)
    options = parser.parse_args()
    print(machine())
    graphs(options.rounds)
    steps(options.size, options.batch, options.points, options.rounds)


if __name__ == "__main__":
    main()
