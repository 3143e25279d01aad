"""Step time of every encoding relative to a learned absolute one, in the same transformer.

    python -m benchmarks.rope                        # ViT-S/16 at 224, batch 8
    python -m benchmarks.rope --batch 64 --dtype bfloat16

Forward and backward pass with respect to all parameters, the encoding's included, parameters of the
encoding one set a layer. Rounds go through all encodings in turn, so that a machine that slows down
slows all of them down; the ratio is of medians, and its spread is the interquartile range of the
rounds' own ratios. On a machine that others use, `--clock cpu` counts the time of the processor in
place of that of the wall.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import rope_jax
from rope_jax import analysis


def encodings(head_dim: int, num_heads: int, grid: int) -> dict[str, rope_jax.Encoding]:
    """Learned absolute first: the one the others are compared with."""
    d, h = head_dim, num_heads
    return {
        "learned absolute": rope_jax.learned_absolute(d, h, grid=(grid, grid)),
        "none": rope_jax.no_position(d, h),
        "axial": rope_jax.axial(d, h),
        "axial, adjacent": rope_jax.axial(d, h, layout="adjacent"),
        "axial, learned": rope_jax.axial(d, h, learned="joint"),
        "uniform": rope_jax.uniform(d, h),
        "mixed": rope_jax.mixed(d, h),
        "fixed directions": rope_jax.fixed_directions(d, h),
        "spherical": rope_jax.spherical(d, h, remainder="pass"),
        "spherical, learned": rope_jax.spherical(d, h, learned=True, remainder="pass"),
        "geope": rope_jax.geope(d, h, remainder="pass"),
        "liere 8": rope_jax.liere(d, h, block_size=8),
        "comrope 8": rope_jax.comrope(d, h, block_size=8),
        "string, cayley": rope_jax.string_cayley(d, h, restore_basis=False),
        "string, circulant": rope_jax.string_circulant(d, h, restore_basis=False),
    }


def init_layer(key: jax.Array, width: int) -> dict[str, jax.Array]:
    """One pre-norm block, without biases."""
    keys = jax.random.split(key, 4)
    shapes = {
        "qkv": (width, 3 * width),
        "out": (width, width),
        "up": (width, 4 * width),
        "down": (4 * width, width),
    }
    layer = {
        name: jax.random.normal(k, shape) * shape[0] ** -0.5
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    return layer | {"norm1": jnp.ones(width), "norm2": jnp.ones(width)}


def norm(x: jax.Array, gain: jax.Array) -> jax.Array:
    """Root-mean-square norm, in float32."""
    wide = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + 1e-6)
    return (wide * scale * gain).astype(x.dtype)


def make_step(
    encoding: rope_jax.Encoding, num_heads: int, depth: int, positions: jax.Array
) -> Callable[..., jax.Array]:
    """Gradient of a readout of the transformer, summed to one number."""
    encoding = rope_jax.with_prefix(encoding, 1)

    def loss(params, tokens):
        x = tokens
        if encoding.embed is not None:
            own = jax.tree.map(lambda p: p[0], params["encoding"])
            x = x + encoding.embed(own, positions).astype(x.dtype)
        rotations = rope_jax.prepare_layers(encoding, params["encoding"], positions, depth)
        for layer, rotation in zip(params["layers"], rotations, strict=True):
            weights = {k: w.astype(x.dtype) if w.ndim > 1 else w for k, w in layer.items()}
            qkv = norm(x, layer["norm1"]) @ weights["qkv"]
            q, k, v = jnp.split(qkv.reshape(*x.shape[:-1], 3 * num_heads, -1), 3, axis=-2)
            q, k = encoding.rotate(rotation, q), encoding.rotate(rotation, k)
            x = x + rope_jax.attention(q, k, v).reshape(x.shape) @ weights["out"]
            hidden = jax.nn.gelu(norm(x, layer["norm2"]) @ weights["up"])
            x = x + hidden @ weights["down"]
        return jnp.mean(jnp.sin(x[:, 0].astype(jnp.float32)))

    def step(params, tokens):
        value, gradient = jax.value_and_grad(loss)(params, tokens)
        return value + sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradient))

    return jax.jit(step)


def main() -> None:
    """Time every encoding and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--grid", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--only", nargs="*", help="names of encodings")
    args = parser.parse_args()
    width, key = args.heads * args.head_dim, jax.random.key(0)
    positions = rope_jax.patch_grid((args.grid, args.grid)).positions
    shape = (args.batch, args.grid**2 + 1, width)
    tokens = jax.random.normal(key, shape).astype(args.dtype)
    layers = [init_layer(k, width) for k in jax.random.split(key, args.depth)]
    built = encodings(args.head_dim, args.heads, args.grid)
    if args.only:
        built = {n: e for n, e in built.items() if n in args.only or n == "learned absolute"}
    runs = {}
    for name, encoding in built.items():
        if encoding.embed is None:
            own = rope_jax.init_layers(encoding, key, args.depth)
        else:  # added once, in front of the first layer
            own = jax.tree.map(lambda p: p[None], encoding.init(key))
        step = make_step(encoding, args.heads, args.depth, positions)
        params = {"layers": layers, "encoding": own}
        step(params, tokens).block_until_ready()
        runs[name] = (step, params)
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    times = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, (step, params) in runs.items():
            start = clock()
            step(params, tokens).block_until_ready()
            times[name].append(clock() - start)
    reference = np.array(times["learned absolute"])
    device = jax.devices()[0]
    print(f"{device.device_kind}, {args.dtype}, batch {args.batch}, {args.depth} layers,", end=" ")
    print(f"{args.heads} heads of {args.head_dim}, {args.grid**2 + 1} tokens, {args.rounds} rounds")
    print(f"{'encoding':20} {'params/layer':>12} {'ms':>9} {'over APE':>9}   quartiles")
    for name, taken in times.items():
        own = np.array(taken)
        ratio = np.median(own) / np.median(reference) - 1
        low, high = np.percentile(own / reference - 1, [25, 75])
        count = analysis.count_parameters(built[name])
        print(
            f"{name:20} {count:12d} {1e3 * np.median(own):9.1f} {ratio:+9.1%}"
            f"   {low:+.1%} .. {high:+.1%}"
        )


if __name__ == "__main__":
    main()
