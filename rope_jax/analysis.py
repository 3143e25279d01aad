r"""What an encoding does, measured on the encoding itself.

Everything here treats an encoding as a black box of linear maps :math:`R(p)` and reads its
properties off them: is it a group law, along which axes do scores ignore a shift, does the kernel
separate, which frequencies are in it, how far does it reach. The same questions can be put to a
trained encoding.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from rope_jax.coordinates import patch_grid
from rope_jax.encoding import Encoding, Params, Rotation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)


def count_parameters(encoding: Encoding) -> int:
    """Numbers that one layer of the encoding learns.

    Examples:
        >>> import rope_jax
        >>> count_parameters(rope_jax.mixed(64, 6))
        384
    """
    shapes = jax.eval_shape(encoding.init, jax.random.key(0))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))


def rotation_matrices(
    encoding: Encoding, rotation: Rotation, num_tokens: int, head_dim: int, num_heads: int
) -> Float[Array, "n h d d"]:
    """The map that every token's queries and keys go through, one matrix for each head.

    Args:
        encoding: Any encoding.
        rotation: What ``prepare`` returned for ``num_tokens`` positions.
        num_tokens: Tokens.
        head_dim: Channels of one head.
        num_heads: Heads.

    Returns:
        Matrices whose column ``j`` is the image of channel ``j``.

    Examples:
        >>> import rope_jax
        >>> encoding = rope_jax.rope_1d(2, 1)
        >>> rotation = encoding.prepare({}, jnp.array([[jnp.pi / 2]]))
        >>> np.asarray(rotation_matrices(encoding, rotation, 1, 2, 1)[0, 0]).round(3) + 0.0
        array([[ 0., -1.],
               [ 1.,  0.]], dtype=float32)
    """
    basis = jnp.broadcast_to(
        jnp.eye(head_dim)[:, None, None, :], (head_dim, num_tokens, num_heads, head_dim)
    )
    # The channel put in is a leading axis of x: tables of shape (n, h, ..) broadcast over it.
    return jnp.moveaxis(encoding.rotate(rotation, basis), 0, -1)


def scores(
    encoding: Encoding,
    params: Params,
    positions: Float[Array, "n m"],
    q: Float[Array, "n h d"],
    k: Float[Array, "n h d"],
) -> Float[Array, "h n n"]:
    r"""Attention scores :math:`\langle R(p_i) q_i, R(p_j) k_j \rangle / \sqrt N`.

    Examples:
        >>> import rope_jax
        >>> q = jnp.ones((3, 2, 8))
        >>> scores(rope_jax.axial(8, 2), {}, jnp.zeros((3, 2)), q, q).shape
        (2, 3, 3)
    """
    rotation = encoding.prepare(params, positions)
    q, k = encoding.rotate(rotation, q), encoding.rotate(rotation, k)
    return _einsum("ihd,jhd->hij", q, k) / q.shape[-1] ** 0.5


def shift_error(
    key: PRNGKeyArray,
    encoding: Encoding,
    params: Params,
    positions: Float[Array, "n m"],
    shift: Float[Array, " m"],
    *,
    head_dim: int,
    num_heads: int,
) -> Float[Array, ""]:
    r"""How much scores of random queries and keys change when all positions shift.

    .. math:: E(\delta) = \mathrm{rms}_{ij}\,|S_{ij}(p + \delta) - S_{ij}(p)| \,/\, \mathrm{std}(S)

    Zero for a relative encoding. Between patches only: a class token has no position to shift.

    Args:
        key: For queries and keys.
        encoding: Any encoding.
        params: Its parameters.
        positions: Positions of the patches.
        shift: The shift :math:`\delta`.
        head_dim: Channels of one head.
        num_heads: Heads.

    Returns:
        The relative error.

    Examples:
        >>> import rope_jax
        >>> where, shift = rope_jax.patch_grid((2, 2)).positions, jnp.array([0.3, 0.7])
        >>> encoding = rope_jax.axial(4, 1)
        >>> key = jax.random.key(0)
        >>> error = shift_error(key, encoding, {}, where, shift, head_dim=4, num_heads=1)
        >>> bool(error < 1e-5)
        True
    """
    q, k = jax.random.normal(key, (2, positions.shape[0], num_heads, head_dim))
    before = scores(encoding, params, positions, q, k)
    after = scores(encoding, params, positions + shift[None, :], q, k)
    return jnp.sqrt(jnp.mean(jnp.square(after - before))) / jnp.std(before)


def group_law_error(
    encoding: Encoding,
    params: Params,
    positions: Float[Array, "n m"],
    *,
    head_dim: int,
    num_heads: int,
) -> Float[Array, ""]:
    r"""Mean of :math:`\|R(p)^\top R(p') - R(p' - p)\|_F / \sqrt N` over pairs of positions.

    Needs no queries and keys: zero if and only if the encoding is relative on these positions.
    :math:`R(0)` is taken off, so an encoding in another basis is judged by what it turns.

    Args:
        encoding: Any encoding.
        params: Its parameters.
        positions: Positions.
        head_dim: Channels of one head.
        num_heads: Heads.

    Returns:
        The mean error.

    Examples:
        >>> import rope_jax
        >>> positions = rope_jax.patch_grid((2, 2)).positions
        >>> law = group_law_error(
        ...     rope_jax.uniform(4, 1), {}, positions, head_dim=4, num_heads=1
        ... )
        >>> bool(law < 1e-6)
        True
    """
    num, axes = positions.shape
    differences = (positions[None, :, :] - positions[:, None, :]).reshape(-1, axes)
    everything = jnp.concatenate([positions, differences, jnp.zeros((1, axes))])
    rotation = encoding.prepare(params, everything)
    r = rotation_matrices(encoding, rotation, len(everything), head_dim, num_heads)
    one, two, origin = r[:num], r[num:-1], r[-1]
    product = _einsum("nhdi,mhdj->nmhij", one, one)
    expected = _einsum("hdi,nhdj->nhij", origin, two).reshape(product.shape)
    norms = jnp.sqrt(jnp.sum(jnp.square(product - expected), axis=(-1, -2)))
    return jnp.mean(norms) / head_dim**0.5


def commutator_norm(a: Float[Array, "*b d d"], b: Float[Array, "*b d d"]) -> Float[Array, "*b"]:
    r"""Commutator :math:`\|AB - BA\|_F / (\|A\|_F \|B\|_F)`: zero if they commute.

    Args:
        a: Matrices.
        b: Matrices.

    Returns:
        Between 0 and :math:`\sqrt 2`; 0 too if one of them is zero.

    Examples:
        >>> yaw = jnp.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
        >>> roll = jnp.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])
        >>> commutator_norm(yaw, roll).round(5)
        Array(0.70711, dtype=float32)
    """
    defect = _einsum("...ij,...jk->...ik", a, b) - _einsum("...ij,...jk->...ik", b, a)

    def square(x: Array) -> Array:
        return jnp.sum(jnp.square(x), axis=(-1, -2))

    scale = square(a) * square(b)
    ratio = square(defect) / jnp.where(scale > 0, scale, 1.0)
    # The root has no slope at zero, which is where commuting matrices are.
    return jnp.where(ratio > 0, jnp.sqrt(jnp.where(ratio > 0, ratio, 1.0)), 0.0)


def generators(
    encoding: Encoding,
    params: Params,
    *,
    num_axes: int,
    head_dim: int,
    num_heads: int,
    step: float = 0.05,
) -> Float[Array, "m h d d"]:
    r"""Skew matrices that generate the motion along each axis.

    .. math:: R(p\, e_m) = R(0)\, e^{p A_m}

    Along a single axis every encoding here has this form, commuting or not. Found by the logarithm
    of :math:`Q = R(0)^\top R(\delta e_m)`, whose odd part has the eigenvalues
    :math:`\pm i \sin\omega\delta`: exact, not a finite difference, as long as
    :math:`|\omega|\,\delta < \pi/2`.

    Args:
        encoding: Any encoding that rotates.
        params: Its parameters.
        num_axes: Number of coordinates.
        head_dim: Channels of one head.
        num_heads: Heads.
        step: :math:`\delta`, in units of position.

    Returns:
        One generator for each axis and head.

    Examples:
        >>> import rope_jax
        >>> a = generators(rope_jax.rope_1d(2, 1), {}, num_axes=1, head_dim=2, num_heads=1)
        >>> np.asarray(a[0, 0]).round(3) + 0.0
        array([[ 0., -1.],
               [ 1.,  0.]], dtype=float32)
    """
    places = np.concatenate([step * np.eye(num_axes), np.zeros((1, num_axes))])

    @jax.jit
    def matrices(params: Params, places: Float[Array, "n m"]) -> Float[Array, "n h d d"]:
        rotation = encoding.prepare(params, places)
        return rotation_matrices(encoding, rotation, num_axes + 1, head_dim, num_heads)

    r = np.asarray(matrices(params, jnp.asarray(places, jnp.float32)), np.float64)
    q = np.einsum("hdi,mhdj->mhij", r[-1], r[:-1])
    odd = (q - np.swapaxes(q, -1, -2)) / 2
    values, vectors = np.linalg.eigh(-1j * odd)  # Hermitian: real values, orthonormal vectors
    rates = np.arcsin(np.clip(values, -1, 1)) / step
    out = np.einsum("...ik,...k,...jk->...ij", vectors, 1j * rates, vectors.conj()).real
    return jnp.asarray(out, jnp.float32)


class Spectrum(NamedTuple):
    """Frequencies of an encoding, by head."""

    frequencies: Float[Array, "h d m"]  # vectors, every pair once with either sign
    commutator: Float[Array, ""]  # largest among axes and heads; above 0 frequencies are means


def spectrum(
    encoding: Encoding, params: Params, *, num_axes: int, head_dim: int, num_heads: int
) -> Spectrum:
    r"""Frequency vectors of an encoding, fixed or learned, whatever its basis.

    Commuting generators have common eigenvectors, and the frequencies are their eigenvalues. They
    are found as the eigenvectors of a generic combination. Where generators do not commute, the
    value along each axis is the expectation in that basis, and the commutator says how far to trust
    it.

    Args:
        encoding: Any encoding that rotates.
        params: Its parameters.
        num_axes: Number of coordinates.
        head_dim: Channels of one head.
        num_heads: Heads.

    Returns:
        Frequency vectors, in radians per unit of position.

    Examples:
        >>> import rope_jax
        >>> s = spectrum(rope_jax.axial(4, 1), {}, num_axes=2, head_dim=4, num_heads=1)
        >>> jnp.abs(s.frequencies[0]).sum(0).round(3)
        Array([2., 2.], dtype=float32)
    """
    a = generators(encoding, params, num_axes=num_axes, head_dim=head_dim, num_heads=num_heads)
    exact = -1j * np.asarray(a, np.float64)
    # Irrational weights: no two different frequency vectors that occur in practice fall together.
    generic = np.einsum("m,mhij->hij", np.sqrt(np.array([2.0, 3.0, 5.0, 7.0])[:num_axes]), exact)
    _, vectors = np.linalg.eigh(generic)
    values = np.einsum("hik,mhij,hjk->hkm", vectors.conj(), exact, vectors).real
    pairs = [(i, j) for i in range(num_axes) for j in range(i)]
    worst = [jnp.max(commutator_norm(a[i], a[j])) for i, j in pairs]
    largest = jnp.max(jnp.stack(worst)) if worst else jnp.zeros(())
    return Spectrum(jnp.asarray(values, jnp.float32), largest)


def nyquist_coverage(
    frequencies: Float[Array, "*b m"], spacing: float | Sequence[float]
) -> Float[Array, ""]:
    r"""Share of frequency vectors that the patch grid can carry.

    .. math:: |\omega_m|\, \delta_m \le \pi \quad\text{for every axis } m

    Those above alias: they look like slower ones, and at a finer resolution they no longer do.

    Args:
        frequencies: Frequency vectors.
        spacing: Patch spacing :math:`\delta`, for all axes or for each.

    Returns:
        Between 0 and 1.

    Examples:
        >>> nyquist_coverage(jnp.array([[1.0, 0.0], [9.0, 0.0]]), 0.5)
        Array(0.5, dtype=float32)
    """
    num_axes = frequencies.shape[-1]
    widths = np.broadcast_to(np.asarray(spacing, np.float32), (num_axes,))
    phase = jnp.abs(frequencies) * jnp.asarray(widths).reshape(
        (1,) * (frequencies.ndim - 1) + (-1,)
    )
    return jnp.mean(jnp.all(phase <= np.pi, axis=-1).astype(jnp.float32))


def kernel_map(
    encoding: Encoding,
    params: Params,
    displacements: Float[Array, "n m"],
    *,
    head_dim: int,
    num_heads: int,
    origin: Float[Array, " m"] | None = None,
) -> Float[Array, "h n"]:
    r"""Mean score of a vector with itself, displaced.

    .. math:: s(\delta) = \mathrm{tr}\, R(o)^\top R(o + \delta) / N

    The average of :math:`\langle R(o) z, R(o + \delta) z\rangle` over all directions of :math:`z`:
    one at :math:`\delta = 0`, and for a relative encoding a mean of cosines
    :math:`\cos\omega_d\delta`, whatever the origin.

    Args:
        encoding: Any encoding that rotates.
        params: Its parameters.
        displacements: Displacements :math:`\delta`.
        head_dim: Channels of one head.
        num_heads: Heads.
        origin: Where the query is.

    Returns:
        The kernel of each head at each displacement.

    Examples:
        >>> import rope_jax
        >>> half_turn = jnp.array([[0.0], [jnp.pi]])
        >>> kernel_map(rope_jax.rope_1d(2, 1), {}, half_turn, head_dim=2, num_heads=1)
        Array([[ 1., -1.]], dtype=float32)
    """
    base = jnp.zeros((displacements.shape[-1],)) if origin is None else origin
    places = jnp.concatenate([base[None, :], base[None, :] + displacements])
    rotation = encoding.prepare(params, places)
    r = rotation_matrices(encoding, rotation, len(places), head_dim, num_heads)
    return _einsum("hij,nhij->hn", r[0], r[1:]) / head_dim


def locality(
    kernel: Float[Array, "*b n"],
    displacements: Float[Array, "n m"],
    *,
    sharpness: float = 1.0,
) -> Float[Array, "*b"]:
    r"""Root mean square displacement under the attention weights :math:`e^{\beta s(\delta)}`.

    Compare with the value for a kernel that is constant: that is the size of the window.

    Args:
        kernel: Scores at displacements, from :func:`kernel_map` or a model.
        displacements: The displacements.
        sharpness: :math:`\beta`; scores of unit-variance queries and keys have :math:`\sqrt N`.

    Returns:
        A distance.

    Examples:
        >>> round(float(locality(jnp.zeros(2), jnp.array([[3.0], [4.0]]))), 3)
        3.536
    """
    weights = jax.nn.softmax(sharpness * kernel.astype(jnp.float32), axis=-1)
    return jnp.sqrt(_einsum("...n,n->...", weights, jnp.sum(jnp.square(displacements), axis=-1)))


def mixed_difference(
    key: PRNGKeyArray,
    encoding: Encoding,
    params: Params,
    displacements: Float[Array, "n 2"],
    *,
    head_dim: int,
    num_heads: int,
    num_axes: int = 2,
    axes: tuple[int, int] = (0, 1),
) -> Float[Array, ""]:
    r"""Mixed second difference of the score: zero if and only if it separates into two axes.

    .. math:: S(a,b) - S(a,0) - S(0,b) + S(0,0),\quad S(\delta) = \langle R(0) q, R(\delta) k\rangle

    Args:
        key: For queries and keys.
        encoding: Any encoding.
        params: Its parameters.
        displacements: Pairs :math:`(a, b)`.
        head_dim: Channels of one head.
        num_heads: Heads.
        num_axes: Width of the positions.
        axes: The two axes; the others stay at zero.

    Returns:
        Root mean square of the difference over the standard deviation of the scores.

    Examples:
        >>> import rope_jax
        >>> encoding, key = rope_jax.axial(4, 1), jax.random.key(0)
        >>> e = mixed_difference(key, encoding, {}, jnp.ones((4, 2)), head_dim=4, num_heads=1)
        >>> bool(e < 1e-6)
        True
    """
    num = len(displacements)
    a = jnp.zeros((num, num_axes)).at[:, axes[0]].set(displacements[:, 0])
    b = jnp.zeros((num, num_axes)).at[:, axes[1]].set(displacements[:, 1])
    places = jnp.concatenate([a + b, a, b, jnp.zeros((num, num_axes))])
    rotation = encoding.prepare(params, places)
    draws = jax.random.normal(key, (2, 16, 1, num_heads, head_dim))
    q, k = jnp.broadcast_to(draws, (2, 16, len(places), num_heads, head_dim))
    # The query sits at the origin, which is where the last block of places is.
    q = encoding.rotate(rotation, q)[:, -1:, :, :]
    s = _einsum("rihd,rnhd->rnh", q, encoding.rotate(rotation, k))
    ab, a0, b0, zero = jnp.split(s, 4, axis=1)
    return jnp.sqrt(jnp.mean(jnp.square(ab - a0 - b0 + zero))) / jnp.std(s)


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
    line = jnp.linspace(-extent, extent, resolution)
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
                spacing * jnp.eye(num_axes),
            )
            rotation = encoding.prepare(own, positions)
            r = rotation_matrices(encoding, rotation, len(positions), head_dim, num_heads)
            defect = _einsum("nhki,nhkj->nhij", r, r) - jnp.eye(head_dim)[None, None]
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
                else jnp.full((), jnp.inf)
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
