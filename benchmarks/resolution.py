"""How much features change where a field is sampled in another way, with and without the measure.

    python -m benchmarks resolution

Random smooth fields of four channels on the line, the plane, the volume and the sphere; one
transformer with a class token for each, whose tokens are the samples. It is trained on one sampling
to give integrals of products of channels, then applied to the same fields on two others: finer
everywhere, and uneven (half of the field twice as fine, or thinner slices in one half; on the
sphere equal angles in place of equal areas). Printed is the root mean square of the change of the
features by their spread over fields.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import rope_jax
from lejepa_jax.nn import ViT
from lejepa_jax.nn.fields import Field

CHANNELS, WAVES, WIDTH, HEADS = 4, 6, 48, 4


class Sampling(NamedTuple):
    """Where a field is sampled, and how much of it each sample stands for."""

    name: str
    positions: np.ndarray
    measure: np.ndarray


def axis(count: int, *, uneven: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Centers and widths of cells that fill [-pi, pi]; the first half twice as fine if uneven."""
    widths = np.full(count, 2 * np.pi / count)
    if uneven:
        half = count // 2
        widths = np.concatenate([np.repeat(widths[:half] / 2, 2), widths[half:]])
    return np.cumsum(widths) - widths / 2 - np.pi, widths


def product(name: str, *axes: tuple[np.ndarray, np.ndarray]) -> Sampling:
    """Lay a grid out of axes."""
    places = np.stack(np.meshgrid(*(a[0] for a in axes), indexing="ij"), -1)
    sizes = np.stack(np.meshgrid(*(a[1] for a in axes), indexing="ij"), -1)
    return Sampling(name, places.reshape(-1, len(axes)), sizes.prod(-1).ravel())


def sphere(name: str, cells: rope_jax.Coordinates) -> Sampling:
    """Lay out cells of the sphere, positions as unit vectors times pi."""
    places = np.pi * np.asarray(rope_jax.unit_vectors(cells.positions), np.float64)
    return Sampling(name, places, np.asarray(cells.measure, np.float64))


#: The sampling trained on, then others.
KINDS: dict[str, tuple[Sampling, ...]] = {
    "line": (
        product("32", axis(32)),
        product("64", axis(64)),
        product("48, half twice as fine", axis(32, uneven=True)),
    ),
    "plane": (
        product("8 x 8", axis(8), axis(8)),
        product("16 x 16", axis(16), axis(16)),
        product("8 x 12, half twice as fine", axis(8), axis(8, uneven=True)),
    ),
    "volume": (
        product("4 x 6 x 6", axis(4), axis(6), axis(6)),
        product("12 x 6 x 6, thinner slices", axis(12), axis(6), axis(6)),
        product("6 x 6 x 6, thinner in one half", axis(4, uneven=True), axis(6), axis(6)),
    ),
    "sphere": (
        sphere("48 equal areas", rope_jax.healpix_grid(2)),
        sphere("192 equal areas", rope_jax.healpix_grid(4)),
        sphere("8 x 16 equal angles", rope_jax.sphere_grid(8, 16)),
    ),
}


def draw_fields(seed: int, count: int, num_axes: int, positions: np.ndarray) -> np.ndarray:
    """Draw sums of slow waves, and read them at positions: (count, samples, channels)."""
    rng = np.random.default_rng(seed)
    shape = (count, CHANNELS, WAVES)
    waves = rng.integers(-1, 2, (*shape, num_axes)).astype(float)
    height, phase = rng.normal(size=shape), rng.uniform(0, 2 * np.pi, shape)
    angles = np.einsum("nckm,sm->nskc", waves, positions) + phase.transpose(0, 2, 1)[:, None]
    values = (height.transpose(0, 2, 1)[:, None] * np.cos(angles)).sum(2) / WAVES**0.5
    return values.astype(np.float32)


def integrals(values: np.ndarray, measure: np.ndarray) -> np.ndarray:
    """Integrate the product of every two channels, and standardize over fields."""
    share = measure / measure.sum()
    found = np.einsum("nsc,nsd,s->ncd", values, values, share)
    found = found[:, *np.triu_indices(CHANNELS)]
    return (found - found.mean(0)) / found.std(0)


def make_encoder(samplings: tuple[Sampling, ...]) -> ViT:
    """Make a transformer whose tokens are samples; it finds a sampling by its number of samples."""
    num_axes = samplings[0].positions.shape[1]
    places = {len(s.positions): jnp.asarray(s.positions, jnp.float32) for s in samplings}
    position = rope_jax.encoding_by_name(
        "axial", WIDTH // HEADS, HEADS, num_axes=num_axes, remainder="pass"
    )
    return ViT(
        width=WIDTH,
        depth=3,
        num_heads=HEADS,
        num_axes=1,
        patch_size=1,
        image_size=len(samplings[0].positions),
        in_channels=CHANNELS,
        position=position,
        coordinates=places.__getitem__,
        rngs=nnx.Rngs(0),
    )


def train(encoder: ViT, sampling: Sampling, steps: int) -> None:
    """Train an encoder and a linear readout of it to give the integrals."""
    num_axes = sampling.positions.shape[1]
    values = draw_fields(1, 4096, num_axes, sampling.positions)
    targets = jnp.asarray(integrals(values, sampling.measure), jnp.float32)
    readout = nnx.Linear(WIDTH, targets.shape[1], rngs=nnx.Rngs(1))
    graph, params = nnx.split((encoder, readout))
    optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0, 1e-3, steps // 10 + 1, steps + 1))

    @jax.jit
    def step(params, state, x, y):
        def loss(params):
            encoder, readout = nnx.merge(graph, params)
            return jnp.square(readout(encoder(x)) - y).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state, rng, value = optimizer.init(params), np.random.default_rng(0), jnp.nan
    for _ in range(steps):
        rows = rng.integers(0, len(values), 64)
        params, state, value = step(params, state, jnp.asarray(values[rows]), targets[rows])
    print(f"trained {steps} steps, mean squared error {float(value):.2f} of 1", file=sys.stderr)
    nnx.update((encoder, readout), params)


def changes(encoder: ViT, samplings: tuple[Sampling, ...]) -> dict[str, tuple[float, float]]:
    """Compare features on other samplings with those of the first: with the measure, without."""
    num_axes, count = samplings[0].positions.shape[1], 256

    def features(sampling: Sampling, weigh: bool) -> np.ndarray:
        values = jnp.asarray(draw_fields(2, count, num_axes, sampling.positions))
        measure = jnp.asarray(sampling.measure, jnp.float32)
        own = jnp.broadcast_to(measure[None], values.shape[:2])
        encode: Callable[..., jax.Array] = nnx.jit(lambda e, x: e(x, weigh_tokens=False))
        return np.asarray(encode(encoder, Field(values, own) if weigh else values))

    first = features(samplings[0], weigh=False)
    spread = np.sqrt(np.square(first - first.mean(0)).sum(1).mean())

    def change(sampling: Sampling, weigh: bool) -> float:
        difference = features(sampling, weigh) - first
        return float(np.sqrt(np.square(difference).sum(1).mean()) / spread)

    return {s.name: (change(s, True), change(s, False)) for s in samplings[1:]}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    args = parser.parse_args()
    print("| % of the spread | from | to | trained, with | without | untrained, with | without |")
    print("| --- " * 7 + "|", flush=True)
    for kind in args.kinds:
        samplings = KINDS[kind]
        encoder = make_encoder(samplings)
        before = changes(encoder, samplings)
        after = before
        if args.steps:
            train(encoder, samplings[0], args.steps)
            after = changes(encoder, samplings)
        for name in before:
            cells = [f"{100 * x:.0f}" for x in (*after[name], *before[name])]
            text = " | ".join([kind, samplings[0].name, name, *cells])
            print(f"| {text} |", flush=True)


if __name__ == "__main__":
    main()
