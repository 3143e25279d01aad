"""A small ViT on CIFAR-10 with every encoding, same budget and seeds: accuracy at three sizes.

    python -m benchmarks.rope_cifar10 --data-dir TFDS_DIR            # sized for one CPU core
    python -m benchmarks.rope_cifar10 --table                        # of what was measured so far

Each run appends a line to the file of results, and those that are there are not run again: a run
that was stopped goes on, and a table can be made at any time. Trained at 24 pixels (6 x 6 patches
of 4), tested there on all test images, and at 36 and 48 pixels on the first `--far-images` of them,
with and without weights for the keys.
"""

import argparse
import functools
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lejepa_jax import data
from lejepa_jax.augment import CIFAR_MEAN, CIFAR_STD, ViewSpec, eval_view
from lejepa_jax.nn import ViT
from lejepa_jax.tasks import ClassificationConfig
from lejepa_jax.tasks.labeled.classifier import Classifier
from lejepa_jax.training.networks import Variables, network

ENCODINGS = (
    "learned_absolute",
    "sincos",
    "axial",
    "mixed",
    "spherical",
    "spherical(learned=True)",
    "liere",
    "none",
    "axial(learned='joint')",
    "fixed_directions",
    "uniform",
    "geope",
    "comrope",
    "string_cayley",
    "string_circulant",
)


def configure(args: argparse.Namespace, encoding: str) -> ClassificationConfig:
    """The task: random crops and mirror images, no other augmentation."""
    encoder = functools.partial(
        ViT,
        width=24 * args.heads,
        depth=args.depth,
        num_heads=args.heads,
        patch_size=4,
        image_size=args.size,
    )
    view = ViewSpec(count=1, size=args.size, scale=(0.5, 1.0), mean=CIFAR_MEAN, std=CIFAR_STD)
    return ClassificationConfig(
        image_size=32,
        encoder=encoder,
        encoding=encoding,
        view=view,
        eval_size=args.size,
    )


def make_step(task: Any, optimizer: optax.GradientTransformation):
    """One step of training, compiled once for all seeds."""

    def step(variables, moments, key, batch):
        def loss(params):
            outputs, _ = task.encode(params, variables.state, key, batch)
            value, (_, metrics) = task.loss(params, variables.state, key, outputs, batch)
            return value, metrics

        (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(variables.params)
        updates, moments = optimizer.update(gradient, moments, variables.params)
        params = optax.apply_updates(variables.params, updates)
        return variables._replace(params=params), moments, value, metrics

    return jax.jit(step, donate_argnums=(0, 1))


def make_score(config: ClassificationConfig):
    """How many images of a batch are recognized at some side, compiled once for all seeds."""

    def make(key: jax.Array) -> Classifier:
        rngs = nnx.Rngs(key)
        encoder = config.make_encoder(in_channels=3, dtype=jnp.float32, axis_name=None, rngs=rngs)
        return Classifier(encoder, 10, rngs=rngs)

    net = network(make)

    @functools.partial(jax.jit, static_argnums=(3, 4))
    def score(variables, images, labels, size, weigh):
        model = net.merge(*variables)
        seen = eval_view(images, size, mean=CIFAR_MEAN, std=CIFAR_STD)
        features = model.encoder(seen, weigh_tokens=weigh)
        return (model.head(features).argmax(-1) == labels).sum()

    return score


def run(args: argparse.Namespace, splits: data.Splits, encoding: str, seeds: list[int], write):
    """Train and test one encoding with every seed."""
    config = configure(args, encoding)
    task = config.build(splits)
    rate = optax.warmup_cosine_decay_schedule(0.0, args.rate, args.steps // 10, args.steps)
    optimizer = optax.adamw(rate, b2=0.99, weight_decay=0.05, mask=_kernels)
    step = make_step(task, optimizer)
    score = make_score(config)

    def accuracy(variables: Variables, count: int, size: int, weigh: bool) -> float:
        parts = [splits.test.gather(np.arange(i, i + 500)) for i in range(0, count, 500)]
        right = [score(variables, b["image"], b["label"], size, weigh) for b in parts]
        return int(sum(right)) / count

    for seed in seeds:
        init_key, step_key = jax.random.split(jax.random.key(seed))
        variables = jax.jit(task.init)(init_key)
        moments = optimizer.init(variables.params)
        count = sum(leaf.size for leaf in jax.tree.leaves(variables.params))
        losses, start = [], 0.0
        order = data.batches(
            splits.train, batch_size=args.batch, seed=seed, steps=args.steps, prefetch=0
        )
        for number, batch in enumerate(order):
            key = jax.random.fold_in(step_key, number)
            variables, moments, loss, _ = step(variables, moments, key, batch)
            losses.append(loss)
            if number == 0:  # compiled
                loss.block_until_ready()
                start = time.perf_counter()
        losses = np.asarray(jnp.stack(losses))
        seconds = time.perf_counter() - start
        found = {f"{args.size} px": accuracy(variables, len(splits.test), args.size, False)}
        found["near"] = accuracy(variables, args.far_images, args.size, False)
        for size in (args.size * 3 // 2, args.size * 2):
            found[f"{size} px"] = accuracy(variables, args.far_images, size, False)
            found[f"{size} px, weighted"] = accuracy(variables, args.far_images, size, True)
        write(
            {
                "encoding": encoding,
                "seed": seed,
                "steps": args.steps,
                "batch": args.batch,
                "depth": args.depth,
                "heads": args.heads,
                "size": args.size,
                "parameters": count,
                "seconds": seconds,
                "loss": float(losses[-50:].mean()),
                **found,
            }
        )


def _kernels(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: getattr(path[-1], "key", None) == "kernel", params
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and spread over seeds, as Markdown."""
    size = rows[0]["size"]
    names = [f"{size} px", "near"]
    for far in (size * 3 // 2, size * 2):
        names += [f"{far} px", f"{far} px, weighted"]
    heads = " | ".join(names).replace("near", f"{size} px, same images")
    lines = [f"| encoding | parameters | loss | {heads} |", "|" + "---|" * 9]
    for encoding in dict.fromkeys(row["encoding"] for row in rows):
        own = [row for row in rows if row["encoding"] == encoding]
        cells = [f"`{encoding}`", f"{own[0]['parameters']:,}"]
        cells.append(f"{np.mean([row['loss'] for row in own]):.3f}")
        for name in names:
            values = [100 * row[name] for row in own]
            spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.1f}{spread}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir")
    parser.add_argument("--results", type=Path, default=Path("runs/rope_cifar10.jsonl"))
    parser.add_argument("--encodings", nargs="*", default=list(ENCODINGS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=24)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--far-images", type=int, default=2000)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    results: Path = args.results
    results.parent.mkdir(parents=True, exist_ok=True)

    def rows() -> list[dict[str, Any]]:
        lines = results.read_text().splitlines() if results.exists() else []
        return [json.loads(line) for line in lines]

    def write(row: dict[str, Any]) -> None:
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")

    if not args.table:
        splits = data.load("cifar10", image_size=32, data_dir=args.data_dir)
        for encoding in args.encodings:
            done = {row["seed"] for row in rows() if row["encoding"] == encoding}
            run(args, splits, encoding, [s for s in args.seeds if s not in done], write)
    print(table(rows()))


if __name__ == "__main__":
    main()
