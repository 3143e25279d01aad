"""Draw the pictures of docs/rope.md and print its table of properties.

python -m benchmarks.rope_pictures    # writes docs/rope/NAME.png
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

import rope_jax

mpl.use("agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).parent.parent / "docs" / "rope"
HEAD_DIM, NUM_HEADS, GRID = 24, 4, 7
NAMES = (
    "axial",
    "uniform",
    "mixed",
    "fixed_directions",
    "comrope",
    "string_cayley",
    "string_circulant",
    "spherical",
    "geope",
    "liere",
)


def encodings() -> dict[str, rope_jax.Encoding]:
    """What is drawn: heads of 24 channels, which pairs, triplets and blocks of 8 divide."""
    return {name: rope_jax.encoding_by_name(name, HEAD_DIM, NUM_HEADS) for name in NAMES}


def report(path: Path) -> None:
    """What is relative along which axis, measured; kernels averaged over content, and spectra."""
    found = rope_jax.equivariance_report(
        jax.random.key(0), encodings(), head_dim=HEAD_DIM, num_heads=NUM_HEADS, grid=GRID
    )
    print(found)
    found.figure(path)


def kernels(path: Path) -> None:
    """The kernel of a head, seen from two places: what moves along is relative, what bends is not.

    For content that is one fixed vector, the attention of a query at the cross to every position,
    softmax over the image.
    """
    built = encodings()
    side = 61
    coordinates = rope_jax.patch_grid((side, side))
    places = jnp.asarray([[0.0, 0.0], [1.6, 1.6]])
    figure, axes = plt.subplots(2, len(built), figsize=(1.45 * len(built), 3.3))
    content = jax.random.normal(jax.random.key(4), (HEAD_DIM,))
    for column, (name, encoding) in enumerate(built.items()):
        params = encoding.init(jax.random.key(2))
        keys = jnp.broadcast_to(content, (side**2, NUM_HEADS, HEAD_DIM))
        queries = keys[: len(places)]
        k = encoding.rotate(encoding.prepare(params, coordinates.positions), keys)
        q = encoding.rotate(encoding.prepare(params, places), queries)
        scores = jnp.einsum("qd,kd->qk", q[:, 0], k[:, 0]) / HEAD_DIM**0.5
        weights = np.asarray(jax.nn.softmax(scores, -1)).reshape(len(places), side, side)
        for row in range(len(places)):
            ax = axes[row, column]
            extent = (-np.pi, np.pi, np.pi, -np.pi)
            ax.imshow(weights[row], extent=extent, cmap="viridis", vmin=0, vmax=weights.max())
            ax.plot(*np.asarray(places[row]), "+", color="white", markersize=7)
            ax.set_xticks([])
            ax.set_yticks([])
            if row == 0:
                ax.set_title(name, fontsize=8)
    axes[0, 0].set_ylabel("query in the middle", fontsize=8)
    axes[1, 0].set_ylabel("query off the middle", fontsize=8)
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def field(x: jax.Array) -> jax.Array:
    """A smooth field on [-pi, pi]."""
    return jnp.sin(x) + 0.5 * jnp.sin(3 * x + 1)


def smooth(points: jax.Array, places: jax.Array, log_measure: jax.Array | None) -> jax.Array:
    """Attend from places to a field sampled at points: near things that look alike."""
    scale = jnp.asarray([2.0, 0.0])

    def embed(x: jax.Array) -> jax.Array:
        return (field(x)[:, None] * scale[None])[:, None]

    bias = -0.5 * jnp.square((places[:, None] - points[None]) / 0.7)
    values = field(points)[:, None, None]
    out = rope_jax.attention(
        embed(places), embed(points), values, bias=bias, log_measure=log_measure
    )
    return out[:, 0, 0]


def sampled(path: Path) -> None:
    """One field, sampled coarsely and finely in one half; and the share of a class token."""
    coarse = jnp.linspace(-jnp.pi, jnp.pi, 25)[:-1] + jnp.pi / 24
    edges = jnp.concatenate([jnp.linspace(-jnp.pi, 0.4, 15), jnp.linspace(0.4, jnp.pi, 141)[1:]])
    uneven = (edges[1:] + edges[:-1]) / 2
    places = jnp.linspace(-jnp.pi, jnp.pi, 300)
    samples = {"24 even samples": coarse, "14 samples left, 140 right": uneven}
    measures = dict(zip(samples, (jnp.full(24, jnp.pi / 12), jnp.diff(edges)), strict=True))
    figure, axes = plt.subplots(1, 3, figsize=(11, 3))
    for ax, weighted in zip(axes[:2], (False, True), strict=True):
        curves = []
        for (name, points), style in zip(samples.items(), ("-", "--"), strict=True):
            logs = rope_jax.log_measure(measures[name]) if weighted else None
            curves.append(np.asarray(smooth(points, places, logs)))
            ax.plot(places, curves[-1], style, label=name, linewidth=1.8)
        ax.plot(places, field(places), color="0.75", linewidth=1, zorder=0, label="the field")
        ax.axvline(0.4, color="0.85", linewidth=1, zorder=0)
        gap = np.abs(curves[0] - curves[1]).max()
        kind = "weighted by measure" if weighted else "plain"
        ax.set_title(f"{kind}: they differ by {gap:.3f}", fontsize=9)
        print(f"field, {kind}: largest difference of the two samplings {gap:.4f}")
        ax.set_ylim(-1.6, 1.9)
    axes[0].legend(fontsize=7, loc="upper left")
    sides = np.array([4, 6, 8, 12, 16, 24, 32])
    share = 1 / (1 + sides**2)  # of a token that scores like the patches
    axes[2].plot(sides, share, "o-", label="plain", markersize=3)
    logs = [rope_jax.log_measure(jnp.ones(int(n) ** 2), num_prefix=1, num_train=64) for n in sides]
    kept = [float(jax.nn.softmax(log)[0]) for log in logs]
    axes[2].plot(sides, kept, "s-", label="weighted, trained at 8 x 8", markersize=3)
    axes[2].set(xscale="log", yscale="log")
    axes[2].set_xlabel("patches a side", fontsize=8)
    axes[2].set_xticks(sides, [str(n) for n in sides])
    axes[2].minorticks_off()
    axes[2].set_title("share of a class token among equal scores", fontsize=9)
    axes[2].legend(fontsize=7)
    for ax in axes:
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


PICTURES: dict[str, Callable[[Path], None]] = {
    "report": report,
    "kernels": kernels,
    "sampled": sampled,
}


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(PICTURES), choices=list(PICTURES))
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        PICTURES[name](FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
