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
import math
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
        in_torch = torch_graph(np.asarray(points), K)
        if in_torch is not None:
            functions["torch"] = in_torch
        ms = milliseconds(functions, rounds)
        other = f"{ms['torch']:.0f}" if "torch" in ms else "–"
        gain = f"{ms['torch'] / ms['ours']:.1f}" if "torch" in ms else "–"
        size = temporaries(find, points) / 1e6
        print(
            f"| {name} | {', '.join(map(str, shape))} | {ms['ours']:.0f} | {other} | {gain} |"
            f" {size:.0f} |",
            flush=True,
        )


def torch_graph(points: np.ndarray, k: int) -> Function | None:
    """Make the search that networks on clouds have; None where PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    x = torch.tensor(points)

    def search() -> None:
        with torch.no_grad():
            _torch_neighbors(x, k)

    return search


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


def torch_step(
    config: DiPVNetConfig, points: np.ndarray, labels: np.ndarray
) -> dict[str, Any] | None:
    """Make the same step in PyTorch; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.manual_seed(0)
    model = _torch_classifier(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    x, y = torch.tensor(points), torch.tensor(labels)

    def once() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return {"once": once, "parameters": sum(p.numel() for p in model.parameters()), "model": model}


def torch_parts(
    model: Any, config: DiPVNetConfig, batch: int, num: int
) -> list[dict[str, Function]]:
    """Make the parts of the step in PyTorch, as `our_parts`."""
    import torch

    found = []
    for stage, inputs in zip(model.stages, (1, *config.widths[:-1]), strict=True):
        width = 2 * stage.vectors
        vectors, edge = torch.randn(batch, inputs, 3, num), torch.randn(batch, width, 3, num, K)
        local, cloud = torch.randn(batch, num, width), torch.randn(batch, stage.vectors, 3, num)
        indices = stage.neighbors(vectors)

        def differentiated(function: Callable[..., Any], *arrays: Any) -> Function:
            def once() -> None:
                inputs = [x.detach().requires_grad_() for x in arrays]
                torch.stack([x.square().mean() for x in function(*inputs)]).sum().backward()

            return once

        found.append(
            {
                "graphs": functools.partial(stage.neighbors, vectors),
                "edges and pools": differentiated(
                    functools.partial(stage.on_edges, indices=indices), vectors
                ),
                "L2DP": differentiated(lambda x, stage=stage: [stage.local(x)], edge),
                "spectra and attention": differentiated(
                    lambda x, y, stage=stage: [stage.spectrum(x, y)], local, cloud
                ),
            }
        )
    return found


def _torch_neighbors(x: Any, k: int) -> Any:
    """Indices of the nearest, of points in rows."""
    square = x.square().sum(-1)
    negative = 2 * x @ x.transpose(1, 2) - square[:, :, None] - square[:, None, :]
    return negative.topk(k, dim=-1).indices


def _torch_classifier(config: DiPVNetConfig) -> Any:
    """The published network on points alone, vectors as (clouds, channels, 3, points, edges)."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Mix(nn.Module):
        """A linear map of channels."""

        def __init__(self, inputs: int, outputs: int):
            super().__init__()
            limit = inputs**-0.5
            self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-limit, limit))

        def forward(self, x: Any) -> Any:
            return (self.weight @ x.flatten(2)).unflatten(2, x.shape[2:])

    class Activated(nn.Module):
        """Linear map, batch norm of lengths, leaky ReLU along learned directions."""

        def __init__(self, inputs: int, outputs: int, share: bool = False):
            super().__init__()
            self.feature, self.direction = (
                Mix(inputs, outputs),
                Mix(inputs, 1 if share else outputs),
            )
            self.norm = nn.BatchNorm1d(outputs)

        def forward(self, x: Any) -> Any:
            p, d = self.feature(x), self.direction(x)
            length = p.norm(dim=2) + 1e-6
            p = (
                p
                * (self.norm(length.flatten(2)).unflatten(2, length.shape[2:]) / length)[:, :, None]
            )
            dot = (p * d).sum(2, keepdim=True)
            against = dot.clamp(max=0) / (d.square().sum(2, keepdim=True) + 1e-6)
            return p - 0.8 * against * d

    class Local(nn.Module):
        """Dot products of the two halves of edge features, neighbors side by side."""

        def __init__(self, half: int, width: int):
            super().__init__()
            self.mix = nn.Conv2d(2 * half, 2 * half, 1, bias=False)
            self.mix_norm = nn.BatchNorm2d(2 * half)
            self.project = nn.Linear(2 * half * K, width, bias=False)
            self.norm = nn.LayerNorm(width)

        def forward(self, edges: Any) -> Any:
            offsets, centers = edges.chunk(2, 1)
            products = torch.cat([(centers * offsets).sum(2), centers.square().sum(2)], 1)
            products = functional.gelu(self.mix_norm(self.mix(products)))
            return self.norm(self.project(products.permute(0, 2, 3, 1).flatten(2)))

    class Spectrum(nn.Module):
        """Points attend to the spectrum of their cloud, then a small MLP."""

        def __init__(self, half: int, width: int, num_radii: int, num_directions: int = 36):
            super().__init__()
            index = torch.arange(num_directions) + 0.5
            polar = torch.arccos(1 - 2 * index / num_directions)
            around = math.pi * (1 + 5**0.5) * index
            self.directions = torch.stack(
                [polar.sin() * around.cos(), polar.sin() * around.sin(), polar.cos()], 1
            )
            self.radii = torch.linspace(0, 12, num_radii)
            self.token_norm, self.query_norm = nn.LayerNorm(half), nn.LayerNorm(width)
            self.query = nn.Linear(width, 2 * width, bias=False)
            self.key_value = nn.Linear(half, 4 * width, bias=False)
            self.output = nn.Linear(2 * width, width)
            self.mlp = nn.Sequential(
                *(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1)),
                *(nn.Linear(4 * width, width), nn.Dropout(0.1)),
            )

        def energy(self, cloud: Any) -> Any:
            total = 0
            for directions in self.directions.split(6):
                along = torch.einsum("bcvn,dv->bcdn", cloud, directions)
                phase = along[..., None, :] * self.radii[:, None]
                total = total + (phase.cos().sum(-1) ** 2 + phase.sin().sum(-1) ** 2).sum(2)
            return total / len(self.directions)

        def forward(self, local: Any, cloud: Any) -> Any:
            tokens = self.token_norm(self.energy(cloud).transpose(1, 2))
            query = self.query(self.query_norm(functional.relu(local)))
            key, value = self.key_value(tokens).chunk(2, -1)
            heads = [
                x.unflatten(-1, (config.num_heads, -1)).transpose(1, 2) for x in (query, key, value)
            ]
            mixed = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
            fused = local + functional.dropout(self.output(mixed), 0.1, self.training)
            return fused + self.mlp(fused)

    class Stage(nn.Module):
        def __init__(self, inputs: int, width: int, num_radii: int):
            super().__init__()
            self.vectors = width // 2
            self.edges, self.pool = Activated(2 * inputs, width), Mix(width, width)
            self.local = Local(self.vectors, width)
            self.spectrum = Spectrum(self.vectors, width, num_radii)

        def neighbors(self, x: Any) -> Any:
            with torch.no_grad():
                return _torch_neighbors(x.flatten(1, 2).transpose(1, 2), K)

        def on_edges(self, x: Any, indices: Any) -> Any:
            batch, channels, _, num = x.shape
            rows = x.flatten(1, 2).transpose(1, 2).reshape(batch * num, -1)
            first = num * torch.arange(batch)[:, None, None]
            ends = rows[(indices + first).flatten()].view(batch, num, K, channels, 3)
            centers = rows.view(batch, num, 1, channels, 3).expand_as(ends)
            both = torch.cat([ends - centers, centers], 3).permute(0, 3, 4, 1, 2).contiguous()
            edges = self.edges(both)
            chosen = (edges * self.pool(edges)).sum(2).argmax(-1)[:, :, None, :, None]
            chosen = chosen.expand(-1, -1, 3, -1, -1)
            return edges, edges.gather(-1, chosen).squeeze(-1)

        def forward(self, x: Any) -> Any:
            edges, pooled = self.on_edges(x, self.neighbors(x))
            local = self.local(edges)
            return pooled, self.spectrum(local, edges[:, self.vectors :, :, :, 0]), local

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            widths = config.widths
            shapes = zip((1, *widths[:-1]), widths, config.num_radii, strict=True)
            self.stages = nn.ModuleList(Stage(*shape) for shape in shapes)
            total, embedding = sum(widths), config.embedding
            self.join = Activated(total, embedding, share=True)
            self.frame = nn.Sequential(
                *(Activated(2 * embedding, embedding), Activated(embedding, embedding // 2)),
                Mix(embedding // 2, 3),
            )
            self.mixers = nn.ModuleList(
                nn.Sequential(nn.Linear(total, total), nn.ReLU(), nn.LayerNorm(total))
                for _ in range(2)
            )
            layers, before = [], 12 * embedding + 4 * total
            for after in (512, 256):
                layers += nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(0.2)
                layers.append(nn.Dropout(0.5))
                before = after
            self.head = nn.Sequential(*layers, nn.Linear(before, CLASSES))

        def forward(self, points: Any) -> Any:
            x, outputs = points.transpose(1, 2)[:, None], []
            for stage in self.stages:
                outputs.append(stage(x))
                x = outputs[-1][0]
            vectors, *streams = zip(*outputs, strict=True)
            joined = self.join(torch.cat(vectors, 1))
            joined = torch.cat([joined, joined.mean(-1, keepdim=True).expand_as(joined)], 1)
            read = torch.einsum("bcvn,bfvn->bncf", joined, self.frame(joined)).flatten(2)
            streams = [
                mixer(torch.cat(s, -1)) for mixer, s in zip(self.mixers, streams, strict=True)
            ]
            described = [p for s in (read, *streams) for p in (s.amax(1), s.mean(1))]
            return self.head(torch.cat(described, -1))

    return Network().train()


def steps(size: str, batch: int, num: int, rounds: int) -> None:
    """Print the table of steps, and that of their parts."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(batch, num, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=-1).max(-1)[:, None, None]
    labels = rng.integers(0, CLASSES, batch)
    configs = {"published": config_of(size, PAPER), "ours": config_of(size, DirectionOptions())}
    made = {name: our_step(config, points, labels) for name, config in recipes.items()}
    other = torch_step(configs["published"], points, labels)
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
    parts = {name: our_parts(config, batch, num) for name, config in recipes.items()}
    if other is not None:
        parts["torch"] = torch_parts(other["model"], configs["published"], batch, num)
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
