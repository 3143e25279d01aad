"""Draw what the spectra of clouds see and how far from invariant each is, for docs/pointcloud.md.

python -m benchmarks.pointcloud_pictures    # writes docs/pointcloud/NAME.png, prints the errors
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from pointcloud_jax import (
    dasft,
    debye_spectrum,
    degree_spectrum,
    fibonacci,
    icosahedral,
    lebedev,
    random_rotation,
    rotate,
    spherical_design,
)
from pointcloud_jax.data import load
from pointcloud_jax.render import part_colors, render_clouds

FOLDER = Path(__file__).parent.parent / "docs" / "pointcloud"
SHOWN = ("helix", "chair", "mug", "torus")
RADII = np.linspace(0, 12, 49)
TURNS = 3
FAMILIES = {
    "Fibonacci": ("o", [fibonacci(n) for n in (12, 24, 36, 72, 151)]),
    "icosahedral": ("s", [icosahedral(n) for n in (6, 16, 31)]),
    "Lebedev, half": ("^", [lebedev(degree) for degree in (5, 9, 15, 19, 23, 29)]),
    "design, weighted": ("D", [spherical_design(n) for n in (16, 36, 64)]),
}


def clouds() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Give one solid of each family, 512 points, and the parts of the points."""
    source = load("shapes:2", num_points=512, parts=True).train
    batch = source.gather(np.arange(0, len(source), 2))
    return batch["points"], batch["part"], source.class_names


def draw_solids(points: np.ndarray, part: np.ndarray) -> None:
    """Draw the eighteen families, colored by part."""
    from matplotlib.image import imsave

    first = part.min(1, keepdims=True)
    pictures = render_clouds(points, size=120, colors=part_colors(part - first))
    rows = [np.concatenate(list(pictures[i : i + 9]), 1) for i in (0, 9)]
    imsave(FOLDER / "solids.png", np.concatenate(rows, 0))


def draw_spectra(points: np.ndarray, names: tuple[str, ...]) -> None:
    """Draw spectra of some solids before (lines) and after a rotation (dots)."""
    turn = random_rotation(jax.random.key(1))
    ways = {
        "DASFT, 36 Fibonacci directions": lambda x: dasft(x, fibonacci(36), RADII)[None],
        "DASFT, 43 half-Lebedev directions": lambda x: dasft(x, lebedev(15), RADII)[None],
        "by degree, 0 to 4": functools.partial(degree_spectrum, radii=RADII, max_degree=4),
    }
    figure = Figure(figsize=(11, 2.3 * len(SHOWN)), layout="constrained")
    panels = figure.subplots(len(SHOWN), len(ways), sharex=True)
    for row, name in zip(panels, SHOWN, strict=True):
        cloud = jnp.asarray(points[names.index(name)])
        for ax, (title, way) in zip(row, ways.items(), strict=True):
            spectrum = jax.jit(way)
            before, after = spectrum(cloud), spectrum(rotate(cloud, turn))
            for i, (one, other) in enumerate(zip(before, after, strict=True)):
                (line,) = ax.plot(RADII, one, linewidth=1.2, label=f"degree {i}")
                ax.plot(RADII, other, ".", markersize=4, color=line.get_color())
            ax.set_yscale("log")
            ax.set_ylim(1e-4, 1.5)
            ax.spines[["top", "right"]].set_visible(False)
            if name == SHOWN[0]:
                ax.set_title(title, fontsize=10)
            if name == SHOWN[-1]:
                ax.set_xlabel("radius (frequency)")
        row[0].set_ylabel(name)
    panels[0, -1].legend(fontsize=7, frameon=False)
    figure.savefig(FOLDER / "spectra.png", dpi=110)


def draw_errors(points: np.ndarray) -> None:
    """Draw by how much each rule is off the exact average, over solids and rotations."""
    turns = random_rotation(jax.random.key(0), (TURNS,))
    turned = jnp.stack([rotate(jnp.asarray(points), turn) for turn in turns])
    radii = RADII[1:]
    exact = jax.jit(functools.partial(debye_spectrum, radii=radii))(jnp.asarray(points))[None]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    print(f"{'rule':20s} directions  mean error  largest")
    for name, (marker, rules) in FAMILIES.items():
        errors = []
        for rule in rules:
            spectrum = jax.jit(lambda x, rule=rule: dasft(x, rule, radii))(turned)
            error = np.abs(np.asarray(spectrum / exact) - 1)
            errors.append((len(rule.directions), error.mean(), error.max()))
            print(f"{name:20s} {errors[-1][0]:10d}  {errors[-1][1]:10.1e}  {errors[-1][2]:7.1e}")
        number, mean, largest = np.array(errors).T
        for ax, heights in zip(panels, (mean, largest), strict=True):
            ax.plot(number, heights, marker=marker, markersize=4, linewidth=1, label=name)
    degrees = jax.jit(functools.partial(degree_spectrum, radii=radii, max_degree=4))
    before, after = degrees(jnp.asarray(points)), degrees(turned)
    error = np.asarray(jnp.abs(after - before[None]).max(-1) / before.max(-1)[None])
    print(f"{'by degree':20s} {'none':>10s}  {error.mean():10.1e}  {error.max():7.1e}")
    for ax, title in zip(panels, ("mean", "largest"), strict=True):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("directions")
        ax.set_title(f"{title} relative error", fontsize=10)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].axhline(float(error.mean()), color="0.4", linestyle="--", linewidth=1)
    panels[1].axhline(float(error.max()), color="0.4", linestyle="--", linewidth=1)
    panels[0].legend(fontsize=8, frameon=False)
    figure.savefig(FOLDER / "invariance.png", dpi=110)


def main() -> None:
    """Draw all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    points, part, names = clouds()
    draw_solids(points, part)
    draw_spectra(points, names)
    draw_errors(points)


if __name__ == "__main__":
    main()
