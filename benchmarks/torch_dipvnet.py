"""DiPVNet as published, plainly in PyTorch: its step, and the parts of it.

Vectors are (clouds, channels, 3, points, edges).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

from pointcloud_jax import DiPVNetConfig

Function = Callable[[], Any]


def nearest(x: Any, k: int) -> Any:
    """Indices of the nearest points, by the product expansion and `topk`; points in rows."""
    square = x.square().sum(-1)
    negative = 2 * x @ x.transpose(1, 2) - square[:, :, None] - square[:, None, :]
    return negative.topk(k, dim=-1).indices


def search(points: np.ndarray, k: int) -> Function:
    """Make the search for neighbors that networks on clouds have."""
    x = torch.tensor(points)

    def once() -> Any:
        with torch.no_grad():
            return nearest(x, k)

    return once


class Mix(nn.Module):
    """A linear map of channels."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        limit = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-limit, limit))

    def forward(self, x: Any) -> Any:
        """Mix the channels of vectors or numbers."""
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
        """Map vectors; what points against its direction shrinks."""
        p, d = self.feature(x), self.direction(x)
        length = p.norm(dim=2) + 1e-6
        p = p * (self.norm(length.flatten(2)).unflatten(2, length.shape[2:]) / length)[:, :, None]
        dot = (p * d).sum(2, keepdim=True)
        against = dot.clamp(max=0) / (d.square().sum(2, keepdim=True) + 1e-6)
        return p - 0.8 * against * d


class Local(nn.Module):
    """Dot products of the two halves of edge features, neighbors side by side."""

    def __init__(self, half: int, width: int, k: int):
        super().__init__()
        self.mix = nn.Conv2d(2 * half, 2 * half, 1, bias=False)
        self.mix_norm = nn.BatchNorm2d(2 * half)
        self.project = nn.Linear(2 * half * k, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, edges: Any) -> Any:
        """Describe each point by the dot products of its edges."""
        offsets, centers = edges.chunk(2, 1)
        products = torch.cat([(centers * offsets).sum(2), centers.square().sum(2)], 1)
        products = functional.gelu(self.mix_norm(self.mix(products)))
        return self.norm(self.project(products.permute(0, 2, 3, 1).flatten(2)))


class Spectrum(nn.Module):
    """Points attend to the spectrum of their cloud, then a small MLP."""

    def __init__(self, half: int, width: int, num_radii: int, *, num_heads: int):
        super().__init__()
        self.num_heads, num_directions = num_heads, 36
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
        """Sum the power of a cloud over channels, averaged over directions, at each radius."""
        total = 0
        for directions in self.directions.split(6):
            along = torch.einsum("bcvn,dv->bcdn", cloud, directions)
            phase = along[..., None, :] * self.radii[:, None]
            total = total + (phase.cos().sum(-1) ** 2 + phase.sin().sum(-1) ** 2).sum(2)
        return total / len(self.directions)

    def forward(self, local: Any, cloud: Any) -> Any:
        """Let points read the spectrum."""
        tokens = self.token_norm(self.energy(cloud).transpose(1, 2))
        query = self.query(self.query_norm(functional.relu(local)))
        key, value = self.key_value(tokens).chunk(2, -1)
        heads = [x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (query, key, value)]
        mixed = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        fused = local + functional.dropout(self.output(mixed), 0.1, self.training)
        return fused + self.mlp(fused)


class Stage(nn.Module):
    """Edges of a graph of neighbors, and the two descriptors of them."""

    def __init__(self, inputs: int, width: int, num_radii: int, config: DiPVNetConfig):
        super().__init__()
        self.vectors, self.k = width // 2, config.k
        self.edges, self.pool = Activated(2 * inputs, width), Mix(width, width)
        self.local = Local(self.vectors, width, config.k)
        self.spectrum = Spectrum(self.vectors, width, num_radii, num_heads=config.num_heads)

    def neighbors(self, x: Any) -> Any:
        """Search the graph of nearest neighbors of all channels."""
        with torch.no_grad():
            return nearest(x.flatten(1, 2).transpose(1, 2), self.k)

    def on_edges(self, x: Any, indices: Any) -> Any:
        """Map the edges of a graph, and pool them along their longest projection."""
        batch, channels, _, num = x.shape
        rows = x.flatten(1, 2).transpose(1, 2).reshape(batch * num, -1)
        first = num * torch.arange(batch)[:, None, None]
        ends = rows[(indices + first).flatten()].view(batch, num, self.k, channels, 3)
        centers = rows.view(batch, num, 1, channels, 3).expand_as(ends)
        both = torch.cat([ends - centers, centers], 3).permute(0, 3, 4, 1, 2).contiguous()
        edges = self.edges(both)
        chosen = (edges * self.pool(edges)).sum(2).argmax(-1)[:, :, None, :, None]
        chosen = chosen.expand(-1, -1, 3, -1, -1)
        return edges, edges.gather(-1, chosen).squeeze(-1)

    def forward(self, x: Any) -> Any:
        """Give pooled vectors and both descriptors."""
        edges, pooled = self.on_edges(x, self.neighbors(x))
        local = self.local(edges)
        return pooled, self.spectrum(local, edges[:, self.vectors :, :, :, 0]), local


class Network(nn.Module):
    """The published network on points alone, with its classifier."""

    def __init__(self, config: DiPVNetConfig, num_classes: int):
        super().__init__()
        widths = config.widths
        shapes = zip((1, *widths[:-1]), widths, config.num_radii, strict=True)
        self.stages = nn.ModuleList(Stage(*shape, config) for shape in shapes)
        total, embedding = sum(widths), config.embedding
        self.join = Activated(total, embedding, share=True)
        self.frame = nn.Sequential(
            *(Activated(2 * embedding, embedding), Activated(embedding, embedding // 2)),
            Mix(embedding // 2, 3),
        )
        self.mixers = nn.ModuleList(
            nn.Sequential(nn.Linear(total, total), nn.ReLU(), nn.LayerNorm(total)) for _ in range(2)
        )
        layers, before = [], 12 * embedding + 4 * total
        for after in (512, 256):
            layers += nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(0.2)
            layers.append(nn.Dropout(0.5))
            before = after
        self.head = nn.Sequential(*layers, nn.Linear(before, num_classes))

    def forward(self, points: Any) -> Any:
        """Classify clouds (b, n, 3)."""
        x, outputs = points.transpose(1, 2)[:, None], []
        for stage in self.stages:
            outputs.append(stage(x))
            x = outputs[-1][0]
        vectors, *streams = zip(*outputs, strict=True)
        joined = self.join(torch.cat(vectors, 1))
        joined = torch.cat([joined, joined.mean(-1, keepdim=True).expand_as(joined)], 1)
        read = torch.einsum("bcvn,bfvn->bncf", joined, self.frame(joined)).flatten(2)
        streams = [mixer(torch.cat(s, -1)) for mixer, s in zip(self.mixers, streams, strict=True)]
        described = [p for s in (read, *streams) for p in (s.amax(1), s.mean(1))]
        return self.head(torch.cat(described, -1))


def step(
    config: DiPVNetConfig, points: np.ndarray, labels: np.ndarray, num_classes: int
) -> dict[str, Any]:
    """Make a training step of the classifier."""
    torch.manual_seed(0)
    model = Network(config, num_classes).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    x, y = torch.tensor(points), torch.tensor(labels)

    def once() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return {"once": once, "parameters": sum(p.numel() for p in model.parameters()), "model": model}


def parts(model: Any, config: DiPVNetConfig, batch: int, num: int) -> list[dict[str, Function]]:
    """Make, a stage at a time, what a step is made of, each with its gradient."""
    found = []
    for stage, inputs in zip(model.stages, (1, *config.widths[:-1]), strict=True):
        width = 2 * stage.vectors
        vectors, edge = (
            torch.randn(batch, inputs, 3, num),
            torch.randn(batch, width, 3, num, config.k),
        )
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
