"""Plans a second: many episodes as one program, against one after the other in plain PyTorch.

    python -m benchmarks.planning [--episodes 256] [--samples 300] [--iterations 10] [--rounds 3]

CEM over 5 blocks of 5 actions in two dimensions, with the cost summed over the imagined path of a
predictor that is an MLP with a residual: latents and block -> width -> width -> latents, SiLU. The
other is the same search and the same network, weights included, in plain PyTorch
(pip install -e '.[bench]'), an episode after the other; its time is measured on `--other` episodes
and scaled to all, with one thread and with one a core, and the faster one counts. Before anything
is timed both compute the costs of the same plans, which must agree, and plan for the same episodes,
whose costs are printed. Also timed: ours one after the other, which says what is due to the batch
and what to the program.
"""

import argparse
import functools
import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import machine, milliseconds
from lejepa_jax.worldmodels.planning import cem, path_cost

HORIZON, BLOCK = 5, 10

Weights = list[tuple[np.ndarray, np.ndarray]]


def make_weights(latent: int, width: int) -> Weights:
    """Draw the weights of the predictor."""
    rng = np.random.default_rng(0)
    sizes = [(latent + BLOCK, width), (width, width), (width, latent)]
    return [
        (
            (rng.normal(size=(fan_in, fan_out)) / np.sqrt(fan_in)).astype(np.float32),
            (0.1 * rng.normal(size=fan_out)).astype(np.float32),
        )
        for fan_in, fan_out in sizes
    ]


def costs(weights: Any, start: jax.Array, goal: jax.Array, actions: jax.Array) -> jax.Array:
    """Costs of plans (n, h, a) of one episode."""
    (one, one_bias), (two, two_bias), (three, three_bias) = weights
    latent = jnp.broadcast_to(start[None], (len(actions), len(start)))
    path = []
    for step in range(actions.shape[1]):
        hidden = jax.nn.silu(jnp.concatenate([latent, actions[:, step]], 1) @ one + one_bias[None])
        hidden = jax.nn.silu(hidden @ two + two_bias[None])
        latent = latent + hidden @ three + three_bias[None]
        path.append(latent)
    return path_cost(jnp.stack(path, 1), goal)


def plan_ours(
    weights: Any, key: jax.Array, start: jax.Array, goal: jax.Array, options: argparse.Namespace
) -> jax.Array:
    """Plan for one episode."""
    return cem(
        key,
        functools.partial(costs, weights, start, goal),
        horizon=HORIZON,
        action_size=BLOCK,
        low=-1.0,
        high=1.0,
        num_samples=options.samples,
        iterations=options.iterations,
        elites=options.samples // 10,
    ).actions


class Plain:
    """The same in PyTorch, as one would write it."""

    def __init__(self, weights: Weights, options: argparse.Namespace):
        import torch

        self.torch, self.options = torch, options
        self.weights = [tuple(map(torch.from_numpy, layer)) for layer in weights]
        self.generator = torch.Generator().manual_seed(0)

    def costs(self, start: Any, goal: Any, actions: Any) -> Any:
        """Costs of plans (n, h, a)."""
        torch, silu = self.torch, self.torch.nn.functional.silu
        (one, one_bias), (two, two_bias), (three, three_bias) = self.weights
        latent = start.expand(len(actions), -1)
        total = 0.0
        for step in range(actions.shape[1]):
            hidden = silu(torch.addmm(one_bias, torch.cat([latent, actions[:, step]], 1), one))
            hidden = silu(torch.addmm(two_bias, hidden, two))
            latent = latent + torch.addmm(three_bias, hidden, three)
            total = total + (latent - goal).square().sum(1)
        return total

    def plan(self, start: Any, goal: Any) -> Any:
        """Plan for one episode."""
        torch, count = self.torch, self.options.samples
        with torch.inference_mode():
            mean, std = torch.zeros(HORIZON, BLOCK), torch.ones(HORIZON, BLOCK)
            for _ in range(self.options.iterations):
                noise = torch.randn(count, HORIZON, BLOCK, generator=self.generator)
                noise[0] = 0
                plans = (mean + noise * std).clamp(-1, 1)
                best = self.costs(start, goal, plans).topk(count // 10, largest=False).indices
                mean, std = plans[best].mean(0), plans[best].std(0, correction=0)
            return mean


def main() -> None:
    """Compare, then time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    numbers = {"episodes": 256, "samples": 300, "iterations": 10, "latent": 32, "width": 64}
    for name, value in (numbers | {"rounds": 3, "other": 64}).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    episodes = options.episodes
    weights = make_weights(options.latent, options.width)
    rng = np.random.default_rng(1)
    starts, goals = (
        rng.normal(size=(episodes, options.latent)).astype(np.float32) for _ in range(2)
    )
    plain = Plain(weights, options)
    tensors = [plain.torch.from_numpy(array) for array in (starts, goals)]
    keys = jax.random.split(jax.random.key(0), episodes)

    # The same costs for the same plans.
    plans = rng.uniform(-1, 1, (options.samples, HORIZON, BLOCK)).astype(np.float32)
    own = np.asarray(costs(weights, jnp.asarray(starts[0]), jnp.asarray(goals[0]), plans))
    other = plain.costs(tensors[0][0], tensors[1][0], plain.torch.from_numpy(plans)).numpy()
    np.testing.assert_allclose(own, other, rtol=1e-4)

    single = jax.jit(lambda *arrays: plan_ours(weights, *arrays, options))
    batch = jax.jit(jax.vmap(lambda *arrays: plan_ours(weights, *arrays, options)))
    price = jax.jit(jax.vmap(functools.partial(costs, weights)))
    few = min(options.other, episodes)
    found = np.asarray(batch(keys, starts, goals))
    theirs = np.stack([plain.plan(tensors[0][i], tensors[1][i]).numpy() for i in range(few)])
    zeros = np.zeros_like(theirs)
    means = [
        float(price(starts[:few], goals[:few], actions[:few, None]).mean())
        for actions in (zeros, found, theirs)
    ]

    def others(threads: int) -> float:
        plain.torch.set_num_threads(threads)
        began = time.perf_counter()
        for i in range(few):
            plain.plan(tensors[0][i], tensors[1][i])
        return time.perf_counter() - began

    times = milliseconds(
        {
            "all at once": lambda: batch(keys, starts, goals),
            "one after the other": lambda: [
                single(keys[i], starts[i], goals[i]) for i in range(few)
            ],
        },
        options.rounds,
    )
    ours, alone = times["all at once"], times["one after the other"] / few * episodes
    # Small operations may be faster in one thread: the better one counts.
    by_threads = {
        threads: 1e3 * float(np.median([others(threads) for _ in range(options.rounds)]))
        for threads in {1, os.cpu_count() or 1}
    }
    threads = min(by_threads, key=by_threads.__getitem__)
    torch_time = by_threads[threads] / few * episodes
    print(f"{machine()}, torch {plain.torch.__version__}\n")
    print(
        f"{episodes} episodes, CEM {options.samples} x {options.iterations}, latents "
        f"{options.latent}, width {options.width}; mean cost without plan {means[0]:.1f}, ours "
        f"{means[1]:.1f}, PyTorch's {means[2]:.1f}\n"
    )
    print("| | ms for all | plans a second | times as fast |\n| --- | --- | --- | --- |")
    rows = {
        f"PyTorch, one episode after the other ({threads} threads)": torch_time,
        "ours, one after the other": alone,
        "ours, all at once": ours,
    }
    for name, ms in rows.items():
        print(f"| {name} | {ms:.0f} | {1e3 * episodes / ms:.0f} | {torch_time / ms:.1f} |")


if __name__ == "__main__":
    main()
