"""Linear identifiability: when does an encoder find the latents of a world?

    python -m benchmarks.identifiability [--dim 4] [--steps 4000] [--seeds 3]

The coordinates of a latent z are independent and follow a stationary process, z' = rho z + noise:
an Ornstein-Uhlenbeck process, or one whose law is Laplace's. What is observed is x = g(z), with g
an invertible network. An encoder f is trained on pairs (x, x') alone, by the prediction loss and
SIGReg. Then a linear map from f(x) to z is fitted, and scored on other samples (R2).

Of an Ornstein-Uhlenbeck process a Hermite polynomial of degree k keeps rho^k of itself after a
step: among all maps with f(x) ~ N(0, I) those that are linear in z predict best, and R2 is 1. It
is below 1 where SIGReg aims at another law than N(0, I), and where the latents have another one.

References:
    D. Klindt, Y. LeCun, R. Balestriero, "When Does LeJEPA Learn a World Model?", arXiv 2605.26379,
    2026. The networks, sizes and the other laws here are our choice.
"""

import argparse
import functools
import itertools
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from benchmarks.timing import machine
from lejepa_jax.nn.layers import gelu
from lejepa_jax.objectives.lejepa import lejepa_loss
from lejepa_jax.statistics.normality import epps_pulley
from lejepa_jax.statistics.targets import (
    CharacteristicFunction,
    generalized_normal_target,
    laplace_target,
    normal_target,
    sphere_target,
)
from lejepa_jax.worldmodels.evaluation.probes import r2_scores, ridge_predict

#: Rotations and shears of the map from latents to observations.
LAYERS = 2


class Setting(NamedTuple):
    """What is trained.

    Attributes:
        dim: Numbers of the latent, of the observation and of the embedding.
        steps: Training steps, each with fresh samples.
        batch: Pairs a step.
        rho: What a latent keeps of itself after a step.
        hidden: Width of the encoder.
        first_trade_off: Weight of SIGReg at the start. Where it is large at once, embeddings are
            made normal by maps that fold the latents, and stay so.
        trade_off: Weight of SIGReg at the end, which it grows to by a constant factor a step. Where
            it is small, tails are pulled in, which SIGReg hardly sees and predicts well.
        learning_rate: That of Adam, which falls to 0 along a cosine.
    """

    dim: int = 4
    steps: int = 4000
    batch: int = 256
    rho: float = 0.8
    hidden: int = 128
    first_trade_off: float = 0.005
    trade_off: float = 0.1
    learning_rate: float = 3e-3


class Found(NamedTuple):
    """What came out.

    Attributes:
        embeddings: R2 of a linear map from embeddings to latents.
        observations: R2 of a linear map from observations to latents.
        prediction: Prediction loss at the end.
        regularizer: SIGReg at the end.
    """

    embeddings: float
    observations: float
    prediction: float
    regularizer: float


Pair = tuple[Float[Array, "n d"], Float[Array, "n d"]]
Weights = list[tuple[Array, Array]]


def normal_pairs(key: PRNGKeyArray, count: int, dim: int, rho: float) -> Pair:
    """Draw pairs of an Ornstein-Uhlenbeck process."""
    first, noise = jax.random.normal(key, (2, count, dim))
    return first, rho * first + (1 - rho**2) ** 0.5 * noise


def laplace_pairs(key: PRNGKeyArray, count: int, dim: int, rho: float) -> Pair:
    """Draw pairs of a stationary process whose law is Laplace's, of variance one.

    Its noise is 0 with probability rho^2, else Laplace's: (1 + rho^2 s^2 t^2) / (1 + s^2 t^2) is
    its characteristic function.
    """
    values, jumps = jax.random.split(key)
    first, noise = jax.random.laplace(values, (2, count, dim)) * 2**-0.5
    jump = jax.random.bernoulli(jumps, 1 - rho**2, (count, dim))
    return first, rho * first + jnp.where(jump, noise, 0.0)


LATENTS: Mapping[str, Callable[..., Pair]] = MappingProxyType(
    {"normal": normal_pairs, "laplace": laplace_pairs}
)


def targets(dim: int) -> dict[str, CharacteristicFunction]:
    """Give the laws that SIGReg may aim at, all of variance one."""
    # Power 8 is nearly uniform; its variance is 8^(1/4) Gamma(3/8) / Gamma(1/8).
    flat = functools.partial(generalized_normal_target, power=8.0, scale=1.3747)
    return {
        "normal": normal_target,
        "sphere": functools.partial(sphere_target, dim=dim),
        "laplace": laplace_target,
        "nearly uniform": flat,
    }


def mix(key: PRNGKeyArray, latents: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Observe latents through rotations and shears, x_b + sin(3/2 x_a), which can be inverted."""
    x = latents
    for layer in jax.random.split(key, LAYERS):
        x = x @ jax.random.orthogonal(layer, x.shape[1])
        first, second = jnp.split(x, 2, axis=1)
        x = jnp.concatenate([first, second + jnp.sin(1.5 * first)], 1)
    return x


def make_encoder(key: PRNGKeyArray, dim: int, hidden: int) -> Weights:
    """Draw a perceptron of three hidden layers; BatchNorm would blur its few numbers."""
    widths = dim, hidden, hidden, hidden, dim
    return [
        (jax.random.normal(own, pair) / pair[0] ** 0.5, jnp.zeros(pair[1]))
        for own, pair in zip(jax.random.split(key, 4), itertools.pairwise(widths), strict=True)
    ]


def encode(weights: Any, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Embed observations."""
    for kernel, bias in weights[:-1]:
        x = gelu(x @ kernel + bias[None])
    kernel, bias = weights[-1]
    return x @ kernel + bias[None]


def recover(
    seed: int,
    setting: Setting,
    *,
    latents: str = "normal",
    target: CharacteristicFunction = normal_target,
) -> Found:
    """Train an encoder on pairs of observations, and read the latents from it.

    Args:
        seed: Of the world, the encoder and the samples.
        setting: What is trained.
        latents: Name of the law of the latents.
        target: Law that SIGReg aims at.

    Returns:
        R2 on samples that nothing was fitted to.
    """
    keys = jax.random.split(jax.random.key(seed), 4)
    dim, draw = setting.dim, LATENTS[latents]
    optimizer = optax.adam(optax.cosine_decay_schedule(setting.learning_rate, setting.steps))
    statistic = functools.partial(epps_pulley, target=target)
    growth = setting.trade_off / setting.first_trade_off

    def loss(params, key, weight):
        sample, slices = jax.random.split(key)
        pair = jnp.concatenate(draw(sample, setting.batch, dim, setting.rho))
        embeddings = encode(params, mix(keys[0], pair))
        found = lejepa_loss(
            slices,
            embeddings.reshape(2, setting.batch, dim),
            num_global=2,
            num_slices=64,
            statistic=statistic,
        )
        total = (1 - weight) * found.prediction + weight * found.regularizer
        return total, jnp.stack(found[1:])

    def step(carry, now):
        (params, own), (key, progress) = carry, now
        weight = setting.first_trade_off * growth**progress
        gradient, parts = jax.grad(loss, has_aux=True)(params, key, weight)
        updates, own = optimizer.update(gradient, own, params)
        return (optax.apply_updates(params, updates), own), parts

    @jax.jit
    def train():
        params = make_encoder(keys[1], dim, setting.hidden)
        inputs = jax.random.split(keys[2], setting.steps), jnp.linspace(0, 1, setting.steps)
        carry, parts = jax.lax.scan(step, (params, optimizer.init(params)), inputs)
        z = draw(keys[3], 10_000, dim, setting.rho)[0]
        seen = mix(keys[0], z)
        return z, seen, encode(carry[0], seen), parts[-100:].mean(0)

    z, seen, embeddings, parts = map(np.asarray, train())
    half = len(z) // 2

    def score(features):
        predicted = ridge_predict(features[:half], z[:half], features[half:], l2=0.0)
        return float(r2_scores(z[half:], predicted).mean())

    return Found(score(embeddings), score(seen), *map(float, parts))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, value in Setting()._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--seeds", type=int, default=3)
    options = vars(parser.parse_args())
    seeds = range(options.pop("seeds"))
    setting = Setting(**options)
    print(f"{machine()}\n\n{setting}\n")
    columns = "latents", "target", "R2, linear", "by seed", "of observations", "SIGReg", "s a seed"
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    laws = targets(setting.dim)
    for latents, name in [*(("normal", name) for name in laws), ("laplace", "normal")]:
        began = time.perf_counter()
        found = [recover(seed, setting, latents=latents, target=laws[name]) for seed in seeds]
        seconds = (time.perf_counter() - began) / len(found)
        mean = Found(*np.mean(found, 0))
        each = ", ".join(f"{one.embeddings:.4f}" for one in found)
        print(
            f"| {latents} | {name} | {mean.embeddings:.4f} | {each} | {mean.observations:.3f} |"
            f" {mean.regularizer:.2f} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
