"""Images a second of whole pretraining steps, views made inside, against a plain PyTorch step.

    python -m benchmarks.steps [--steps 20] [--batch 128] [--share]

LeJEPA with 4 views of 24 pixels from images of 32, 512 slices, for a small ResNet and a small ViT,
AdamW. Ours is the trainer's own step, views, projector and optimizer included. The other is the
same encoder, objective and views written plainly in PyTorch (pip install -e '.[bench]'), its views
made by PIL in a loader with and without a process of its own; the faster one counts. Also printed:
the part of the time that our step waits for data, the share of SIGReg, and the time to compile.
"""

import argparse
import dataclasses
import functools
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import train
from benchmarks.timing import machine
from lejepa_jax import data, lejepa_loss, unit_directions
from lejepa_jax.augment import CIFAR_MEAN, CIFAR_STD
from lejepa_jax.nn import ViT, vit
from lejepa_jax.objectives import sigreg
from recipes import recipes

VIEWS, SIZE, SLICES, KNOTS = 4, 24, 512, 17
VIT = {"width": 96, "depth": 6, "num_heads": 4}


def encoders() -> dict[str, Any]:
    """Ours, by name."""
    resnet = recipes()["cifar10-small"][1].task.encoder
    return {"ResNet": resnet, "ViT": functools.partial(ViT, **VIT, patch_size=4, image_size=SIZE)}


def seconds_of(step: Callable[[], Any], count: int) -> float:
    """Median seconds of a step, after three that warm up."""
    times = []
    for number in range(count + 3):
        began = time.perf_counter()
        step()
        if number >= 3:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def ours(encoder: Any, images: np.ndarray, batch: int, count: int) -> dict[str, float]:
    """Time the trainer's step, fed by the trainer's pipeline."""
    recipe = recipes()["cifar10-small"][1]
    task = dataclasses.replace(recipe.task, encoder=encoder, num_slices=SLICES)
    recipe = dataclasses.replace(recipe, task=task, global_batch_size=batch, devices=1)
    mesh = train.choose_devices(recipe)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/noise.npz"
        np.savez(path, images=images, labels=np.arange(len(images)) % 2)
        splits = train.load_data(dataclasses.replace(recipe, data=f"npz:{path}"))
    source = splits.train
    built = task.build(splits, axis_name=train.axis_name_of(recipe))
    optimizer = train.make_optimizer(recipe, built.kinds)
    state = train.initial_state(recipe, built, optimizer, jax.random.key(0))
    parameters = sum(x.size for x in jax.tree.leaves(state.variables.params))
    like = jax.eval_shape(lambda: state)
    parallel = train.parallelize(recipe, mesh, built, optimizer, jax.random.key(1), like)
    rows = iter(data.batches(source, batch_size=batch, seed=0))
    first = parallel.shard_batch(next(rows))
    began = time.perf_counter()
    step = parallel.step.lower(state, first).compile()
    compiling = time.perf_counter() - began
    waited = []

    def once() -> None:
        nonlocal state
        began = time.perf_counter()
        placed = parallel.shard_batch(next(rows))
        waited.append(time.perf_counter() - began)
        state, metrics = step(state, placed)
        jax.block_until_ready(metrics)

    seconds = seconds_of(once, count)
    z = jax.random.normal(jax.random.key(0), (VIEWS, batch, task.embedding_features))
    directions = unit_directions(jax.random.key(1), z.shape[-1], SLICES)
    term = jax.jit(
        jax.value_and_grad(lambda z: sigreg(jax.random.key(0), z, directions=directions))
    )
    alone = seconds_of(lambda: jax.block_until_ready(term(z)), count)
    return {
        "parameters": parameters,
        "rate": batch / seconds,
        "seconds": seconds,
        "wait": statistics.median(waited[3:]) / seconds,
        "sigreg": alone / seconds,
        "compile": compiling,
    }


def share(batch: int, count: int) -> None:
    """Print SIGReg's share of the gradient of a ViT-S/16 with 2 views of 224 and 8 of 96 pixels."""
    encoder = vit("S", patch_size=16, image_size=224, rngs=nnx.Rngs(0))
    graph, params = nnx.split(encoder)
    key, features = jax.random.key(0), encoder.features
    sizes = {224: 2, 96: 8}
    views = {
        side: jax.random.normal(key, (number * batch, side, side, 3))
        for side, number in sizes.items()
    }

    @jax.jit
    def step(params: Any, views: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            model = nnx.merge(graph, params)
            z = [model(views[s]).reshape(number, batch, -1) for s, number in sizes.items()]
            return lejepa_loss(key, jnp.concatenate(z), num_global=2, num_slices=1024).total

        return jax.value_and_grad(loss)(params)

    z = jax.random.normal(key, (sum(sizes.values()), batch, features))
    term = jax.jit(jax.value_and_grad(lambda z: sigreg(key, z, num_slices=1024)))
    whole = seconds_of(lambda: jax.block_until_ready(step(params, views)), count)
    alone = seconds_of(lambda: jax.block_until_ready(term(z)), count)
    print(
        f"\nViT-S/16, {batch} images, 2 views of 224 and 8 of 96 pixels, forward and back "
        f"{whole:.2f} s; SIGReg of them, d = {features}, 1024 slices, {1e3 * alone:.1f} ms: "
        f"{alone / whole:.2%}"
    )


def theirs(name: str, images: np.ndarray, batch: int, count: int) -> dict[str, float] | None:
    """Time the same in PyTorch; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    found = []
    for workers in (0, 1):
        model = _torch_model(name)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
        loader = iter(_torch_loader(images, batch, workers))
        model.train()

        def once(model=model, optimizer=optimizer, loader=loader) -> None:
            views = next(loader)
            optimizer.zero_grad(set_to_none=True)
            _torch_loss(model, views).backward()
            optimizer.step()

        found.append(seconds_of(once, count))
        parameters = sum(p.numel() for p in model.parameters())
        del loader
    return {"parameters": parameters, "rate": batch / min(found), "seconds": min(found)}


def _torch_loss(model: Any, views: Any) -> Any:
    """Both terms as published, one function call a view."""
    import torch
    from torch.nn import functional

    number, batch = views.shape[:2]
    z = model(views.flatten(0, 1)).unflatten(0, (number, batch))
    prediction = (z - z.mean(0)).square().mean()
    t = torch.linspace(0, 3, KNOTS)
    phi = torch.exp(-(t**2) / 2)
    a = functional.normalize(torch.randn(z.shape[-1], SLICES), dim=0)
    terms = []
    for view in z:
        x_t = (view @ a).unsqueeze(-1) * t
        error = (x_t.cos().mean(0) - phi) ** 2 + x_t.sin().mean(0) ** 2
        terms.append(2 * batch * torch.trapezoid(error * phi, t, dim=-1).mean())
    return 0.98 * prediction + 0.02 * torch.stack(terms).mean()


def _torch_model(name: str) -> Any:
    """The same encoders and projector."""
    import torch
    from torch import nn
    from torch.nn import functional

    def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> Any:
        return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int):
            super().__init__()
            self.branch = nn.Sequential(
                *(conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU()),
                *(conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)),
            )
            short = conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            same = stride == 1 and inputs == outputs
            self.shortcut = nn.Identity() if same else nn.Sequential(*short)

        def forward(self, x: Any) -> Any:
            return functional.relu(self.branch(x) + self.shortcut(x))

    class Layer(nn.Module):
        def __init__(self, width: int, heads: int):
            super().__init__()
            self.heads = heads
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x: Any) -> Any:
            qkv = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1))
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v)
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
            return x + self.mlp(self.norms[1](x))

    class Transformer(nn.Module):
        def __init__(self, width: int, depth: int, num_heads: int):
            super().__init__()
            self.patches = nn.Conv2d(3, width, 4, 4)
            tokens = (SIZE // 4) ** 2 + 1
            self.cls = nn.Parameter(torch.zeros(1, 1, width))
            self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, width))
            self.layers = nn.Sequential(*(Layer(width, num_heads) for _ in range(depth)))
            self.norm = nn.LayerNorm(width)

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
            return self.norm(self.layers(x))[:, 0]

    if name == "ResNet":
        features = 192
        encoder = nn.Sequential(
            *(conv(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()),
            *(Block(16, 32, 2), Block(32, 64, 2), Block(64, 192, 2)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        ).to(memory_format=torch.channels_last)
    else:
        features, encoder = VIT["width"], Transformer(**VIT)
    hidden = 512
    projector = nn.Sequential(
        *(nn.Linear(features, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()),
        *(nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()),
        nn.Linear(hidden, 64),
    )
    return nn.Sequential(encoder, projector)


def _torch_loader(images: np.ndarray, batch: int, workers: int) -> Iterator[Any]:
    """Views by PIL, the way torchvision makes them: one image and one view at a time."""
    import torch
    from PIL import Image, ImageEnhance

    def view(image: Any, rng: np.random.Generator) -> np.ndarray:
        area, ratio = rng.uniform(0.2, 1) * 32 * 32, np.exp(rng.uniform(-0.28, 0.28))
        wide, high = (min(32, (area * r) ** 0.5) for r in (ratio, 1 / ratio))
        left, top = rng.uniform(0, 32 - wide), rng.uniform(0, 32 - high)
        box = (left, top, left + wide, top + high)
        seen = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
        if rng.random() < 0.5:
            seen = seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if rng.random() < 0.8:
            for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                seen = change(seen).enhance(rng.uniform(0.6, 1.4))
            hue, saturation, value = seen.convert("HSV").split()
            turn = int(rng.integers(-25, 26))
            hue = hue.point(lambda h: (h + turn) % 256)
            seen = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
        if rng.random() < 0.2:
            seen = seen.convert("L").convert("RGB")
        return np.asarray(seen, np.float32) / 255

    class Views(torch.utils.data.IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            rng = np.random.default_rng(0)
            mean, std = np.float32(CIFAR_MEAN), np.float32(CIFAR_STD)
            for _ in itertools.count():
                chosen = [Image.fromarray(images[i]) for i in rng.integers(0, len(images), batch)]
                drawn = np.stack([[view(one, rng) for one in chosen] for _ in range(VIEWS)])
                yield torch.from_numpy(((drawn - mean) / std).transpose(0, 1, 4, 2, 3).copy())

    return iter(torch.utils.data.DataLoader(Views(), batch_size=None, num_workers=workers))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--share", action="store_true", help="only SIGReg's, of a larger step")
    options = parser.parse_args()
    if options.share:
        print(machine())
        share(min(options.batch, 16), min(options.steps, 3))
        return
    images = np.random.default_rng(0).integers(0, 256, (2048, 32, 32, 3), np.uint8)
    print(machine())
    print(
        f"\nPretraining steps of {options.batch} images, {VIEWS} views of {SIZE} pixels; medians\n"
    )
    columns = (
        "encoder",
        "parameters, ours and theirs",
        "ours, images/s",
        "PyTorch",
        "ours / PyTorch",
    )
    columns += "waits for data", "SIGReg's share", "compiled in"
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    for name, encoder in encoders().items():
        mine = ours(encoder, images, options.batch, options.steps)
        other = theirs(name, images, options.batch, options.steps)
        sizes = f"{mine['parameters']:,}" + (f", {other['parameters']:,}" if other else "")
        rate = f"{other['rate']:.0f}" if other else "–"
        gain = f"{mine['rate'] / other['rate']:.1f}" if other else "–"
        print(
            f"| {name} | {sizes} | {mine['rate']:.0f} | {rate} | {gain} | {mine['wait']:.1%} |"
            f" {mine['sigreg']:.1%} | {mine['compile']:.0f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
