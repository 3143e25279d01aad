"""All measurements of several encodings in one table and one figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, PRNGKeyArray

from rope_jax.analysis.invariance import group_law_error, mixed_difference, shift_error
from rope_jax.analysis.matrices import count_parameters, exact_einsum, rotation_matrices
from rope_jax.analysis.reach import kernel_map, locality
from rope_jax.analysis.spectra import nyquist_coverage, spectrum
from rope_jax.encodings.encoding import Encoding, Params
from rope_jax.positions.grids import patch_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Equivariance(NamedTuple):
    """What :func:`equivariance_report` measured of one encoding."""

    parameters: int
    orthogonality: float  # largest entry of R^T R - I
    shift: tuple[float, ...]  # score error under a shift of one patch, for each axis
    group_law: float
    commutator: float
    mixed: float  # mixed second difference, 0 if separable; nan with one axis
    coverage: float  # share of frequencies below the patch Nyquist limit
    reach: float  # rms displacement of the kernel, in patches

    @property
    def verdict(self) -> str:
        """In words: exactly relative, along which axes, separable or oblique."""
        names = "xyt"
        exact = [names[axis] for axis, error in enumerate(self.shift) if error < 1e-4]
        if len(exact) == len(self.shift):
            kind = "relative"
        elif exact:
            broken = [name for name in names[: len(self.shift)] if name not in exact]
            kind = f"relative in {', '.join(exact)}; broken in {', '.join(broken)}"
        else:
            kind = "not relative"
        if np.isnan(self.mixed):
            return kind
        return f"{kind}; {'separable' if self.mixed < 1e-4 else 'oblique'}"


class EquivarianceReport(NamedTuple):
    """Measurements of several encodings, with what the figure shows. ``str`` is the table."""

    rows: dict[str, Equivariance]
    kernels: dict[str, Float[np.ndarray, "r r"]]  # mean over heads, or along the axis in 1-D
    spectra: dict[str, Float[np.ndarray, "k m"]]
    displacement: float  # half width of the kernel maps, in units of position
    nyquist: float

    def __str__(self) -> str:
        """One line for each encoding."""
        axes = len(next(iter(self.rows.values())).shift)
        head = ["encoding", "params", "|RtR-I|", *[f"E({name})" for name in "xyt"[:axes]]]
        head += ["group law", "commut.", "mixed", "coverage", "reach", "verdict"]
        lines = [head]
        for name, row in self.rows.items():
            numbers = [row.orthogonality, *row.shift, row.group_law, row.commutator, row.mixed]
            shown = [f"{x:.1e}" if x < 1e-3 else f"{x:.3f}" for x in numbers]
            reached = [f"{row.coverage:.2f}", f"{row.reach:.2f}", row.verdict]
            lines.append([name, str(row.parameters), *shown, *reached])
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def figure(self, path: str | Path | None = None) -> "Figure":
        """Draw kernel, spectrum and shift errors of every encoding, one column each.

        Args:
            path: Where to save the picture, if anywhere.

        Returns:
            The figure.
        """
        # Not pyplot: that would keep the figure alive and reach for a display.
        from matplotlib.figure import Figure

        names = list(self.rows)
        figure = Figure(figsize=(2.1 * len(names) + 0.6, 6.2), layout="constrained")
        panels = figure.subplots(3, len(names), squeeze=False)
        limit = 1.05 * max(
            self.nyquist,
            *(float(np.abs(points).max(initial=0)) for points in self.spectra.values()),
        )
        d = self.displacement
        for column, name in enumerate(names):
            row, kernel, points = self.rows[name], self.kernels[name], self.spectra[name]
            top, middle, bottom = panels[:, column]
            image = top.imshow(
                kernel,
                vmin=-1,
                vmax=1,
                cmap="RdBu_r",
                extent=(-d, d, d, -d),
                interpolation="nearest",
            )
            top.set_title(name, fontsize=10)
            second = points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
            middle.scatter(points[:, 0], second, s=5, alpha=0.6, color="#1f4e79", linewidths=0)
            middle.add_patch(_square(self.nyquist))
            if row.commutator > 1e-3:
                note = f"means: commutator {row.commutator:.2f}"
                middle.text(0.03, 0.03, note, transform=middle.transAxes, fontsize=6, color="0.4")
            middle.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
            errors = np.maximum(row.shift, 1e-8)
            colors = ["#2e7d32" if error < 1e-4 else "#c62828" for error in errors]
            bottom.bar(list("xyt"[: len(errors)]), errors, color=colors)
            bottom.set(yscale="log", ylim=(1e-8, 3))
            for panel in (top, middle, bottom):
                panel.tick_params(labelsize=7)
                if column:
                    panel.tick_params(labelleft=False)
        panels[0, 0].set_ylabel("kernel over displacement", fontsize=8)
        panels[1, 0].set_ylabel("spectrum, patch Nyquist", fontsize=8)
        panels[2, 0].set_ylabel("score error, shift of one patch", fontsize=8)
        figure.colorbar(image, ax=panels[0, -1], shrink=0.7)
        if path is not None:
            figure.savefig(path, dpi=130)
        return figure


def _square(half: float):
    from matplotlib.patches import Rectangle

    return Rectangle((-half, -half), 2 * half, 2 * half, fill=False, ls="--", lw=0.8, color="0.4")


def equivariance_report(
    key: PRNGKeyArray,
    encodings: Mapping[str, Encoding],
    *,
    head_dim: int,
    num_heads: int,
    num_axes: int = 2,
    grid: int = 7,
    extent: float = float(np.pi),
    resolution: int = 41,
    params: Mapping[str, Params] | None = None,
) -> EquivarianceReport:
    r"""Measure encodings side by side: what is exactly invariant, and what is not.

    Of spherical RoPE it says what its paper does not: scores are exactly invariant to shifts along
    the outermost axis, and broken along the others.

    Args:
        key: For parameters, queries and keys.
        encodings: The encodings by name, all made for ``head_dim``, ``num_heads`` and ``num_axes``.
        head_dim: Channels of one head.
        num_heads: Heads.
        num_axes: Number of coordinates.
        grid: Patches along each axis.
        extent: Half width of the image.
        resolution: Points along each side of the kernel maps.
        params: Parameters by name, for trained encodings; others are drawn.

    Returns:
        The report: ``str(report)`` is a table, ``report.figure(path)`` a picture.

    Examples:
        >>> import rope_jax
        >>> report = equivariance_report(
        ...     jax.random.key(0), {"spherical": rope_jax.spherical(3, 1)},
        ...     head_dim=3, num_heads=1, grid=3, resolution=3,
        ... )
        >>> report.rows["spherical"].verdict
        'relative in x; broken in y; oblique'
    """
    positions = patch_grid((grid,) * num_axes, extent=extent).positions
    spacing = 2 * extent / grid
    line = jnp.linspace(-extent, extent, resolution, dtype=jnp.float32)
    plane = jnp.stack(jnp.meshgrid(line, line, indexing="xy"), axis=-1).reshape(-1, 2)
    plane = jnp.pad(plane, ((0, 0), (0, max(num_axes - 2, 0))))[:, :num_axes]
    rows, kernels, spectra = {}, {}, {}
    for index, (name, encoding) in enumerate(encodings.items()):
        init_key, draw_key = jax.random.split(jax.random.fold_in(key, index))
        drawn = encoding.init(init_key)
        own = drawn if params is None or name not in params else params[name]

        @jax.jit
        def measure(own, draw_key, encoding=encoding):
            shift = lax.map(
                lambda step: shift_error(
                    draw_key, encoding, own, positions, step, head_dim=head_dim, num_heads=num_heads
                ),
                spacing * jnp.eye(num_axes, dtype=jnp.float32),
            )
            rotation = encoding.prepare(own, positions)
            r = rotation_matrices(encoding, rotation, len(positions), head_dim, num_heads)
            defect = (
                exact_einsum("nhki,nhkj->nhij", r, r)
                - jnp.eye(head_dim, dtype=jnp.float32)[None, None]
            )
            mixed = (
                mixed_difference(
                    draw_key,
                    encoding,
                    own,
                    positions[:, :2],
                    num_axes=num_axes,
                    head_dim=head_dim,
                    num_heads=num_heads,
                )
                if num_axes > 1
                else jnp.full((), jnp.inf, jnp.float32)
            )
            law = group_law_error(
                encoding,
                own,
                positions[:: max(1, grid // 3)],
                head_dim=head_dim,
                num_heads=num_heads,
            )
            kernel = kernel_map(encoding, own, plane, head_dim=head_dim, num_heads=num_heads)
            return jnp.max(jnp.abs(defect)), shift, law, mixed, kernel

        orthogonality, shift, law, mixed, kernel = measure(own, draw_key)
        frequencies, commutator = spectrum(
            encoding, own, num_axes=num_axes, head_dim=head_dim, num_heads=num_heads
        )
        reach = jnp.mean(locality(kernel, plane, sharpness=head_dim**0.5)) / spacing
        rows[name] = Equivariance(
            parameters=count_parameters(encoding),
            orthogonality=float(orthogonality),
            shift=tuple(float(error) for error in shift),
            group_law=float(law),
            commutator=float(commutator),
            mixed=float(mixed) if num_axes > 1 else float("nan"),
            coverage=float(nyquist_coverage(frequencies, spacing)),
            reach=float(reach),
        )
        kernels[name] = np.asarray(jnp.mean(kernel, axis=0)).reshape(resolution, resolution)
        spectra[name] = np.asarray(frequencies).reshape(-1, num_axes)
    return EquivarianceReport(rows, kernels, spectra, float(extent), float(np.pi / spacing))
