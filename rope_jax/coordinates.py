r"""Where tokens live: positions, and the measure that goes with them.

A token stands for a piece of the space it was cut from. Its position says where, its measure how
much of it: the area of a patch, the solid angle of a cell of the sphere, zero for padding.
Encodings read positions; :func:`rope_jax.attention` reads measures as quadrature weights.

**Order of coordinates.** Grids are given rows first, ``(H, W)`` or ``(T, H, W)``, and tokens are
flattened row-major. Positions come column first by default, ``(x, y)`` or ``(x, y, t)``, as
rope-vit and timm have it (``order="xy"``); ``order="ij"`` keeps the order of the shape (DINOv3,
LieRE).

**Conventions of grids.** ``"centers"`` (default): patch centers, the training grid filling
:math:`[-\pi, \pi]`; a larger grid reaches further *at the same spacing*, and no two columns share
an angle. ``"integer"``: 0, 1, 2.. as rope-vit. ``"linspace"``: the papers' way, first and last
center on the two ends; there the spacing changes with the grid (by 0.963 from 14 to 28) and with an
integer frequency the first and last column coincide.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rope_jax.encoding import check_choice, expand_to


class Coordinates(NamedTuple):
    """Positions of tokens and how much of the space each stands for."""

    positions: Float[Array, "*b n m"]
    measure: Float[Array, "*b n"]


class Packed(NamedTuple):
    """Token sets of different sizes in one array."""

    positions: Float[Array, "b n m"]
    measure: Float[Array, "b n"]  # zero where there is no token
    segments: Int[Array, "b n"]  # which set a token belongs to, -1 where there is none

    @property
    def mask(self) -> Bool[Array, "b 1 n n"]:
        """Which queries may see which keys: those of their own set; padding sees padding."""
        return self.segments[:, None, :, None] == self.segments[:, None, None, :]


def _per_axis(name: str, value: float | Sequence[float], num: int) -> np.ndarray:
    values = np.asarray(value, np.float64)
    if values.ndim == 0:
        return np.full(num, float(values))
    if values.shape != (num,):
        raise ValueError(f"{name} must be a number or {num} of them, got {value}")
    return values


def _mesh(axes: Sequence[np.ndarray], spacing: np.ndarray, order: str) -> Coordinates:
    """Product of one-dimensional rules; numpy in float64, so that spacings are exact."""
    check_choice("order", order, ("xy", "ij"))
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    if order == "xy":
        mesh = mesh[:, ::-1]
    measure = np.full(len(mesh), np.prod(spacing))
    return Coordinates(jnp.asarray(mesh, jnp.float32), jnp.asarray(measure, jnp.float32))


def patch_grid(
    shape: Sequence[int],
    *,
    train_shape: Sequence[int] | None = None,
    convention: str = "centers",
    extent: float | Sequence[float] = float(np.pi),
    normalize: str = "separate",
    order: str = "xy",
) -> Coordinates:
    r"""Positions of the patches of an image, a clip or a volume.

    With :math:`P` patches along an axis and :math:`P_0` in training, patch :math:`i` is at

    ============  ==========================================================
    ``centers``   :math:`(2i + 1 - P)\, e / P_0`
    ``integer``   :math:`i`
    ``linspace``  :math:`(2i/(P-1) - 1)\, e P / P_0`
    ============  ==========================================================

    Args:
        shape: Patches along each axis, rows first: ``(H, W)``, ``(T, H, W)``.
        train_shape: The grid whose outer edges lie at ``extent``; by default ``shape``. Pass the
            training grid when evaluating at another size.
        convention: ``"centers"``, ``"integer"`` or ``"linspace"``.
        extent: Half the width :math:`e` of the training image, or one for each axis of ``shape``
            (a clip may span less in time than in space).
        normalize: When sides differ: ``"separate"`` maps each to ``extent``; ``"max"`` the longer
            one and ``"min"`` the shorter one, patches staying square.
        order: ``"xy"`` or ``"ij"``, see the module.

    Returns:
        ``prod(shape)`` positions; the measure is the volume of a patch in the same units.

    Raises:
        ValueError: If a size is not positive, sizes do not agree in number, or a choice is unknown.

    Examples:
        >>> patch_grid((2, 3), convention="integer").positions.tolist()
        [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
        >>> patch_grid((1, 4), train_shape=(1, 2), extent=1.0).positions[:, 0]
        Array([-1.5, -0.5,  0.5,  1.5], dtype=float32)

    References:
        Heo et al., arXiv 2403.13298, 2024 (integer); Siméoni et al., "DINOv3", arXiv 2508.10104,
        2025 (centers); "RoPE in vision: is equivariance needed?", arXiv 2511.08368, 2025
        (linspace).
    """
    sizes = np.asarray(shape, np.int64)
    train = sizes if train_shape is None else np.asarray(train_shape, np.int64)
    check_choice("convention", convention, ("centers", "integer", "linspace"))
    check_choice("normalize", normalize, ("separate", "max", "min"))
    if sizes.ndim != 1 or not sizes.size or (sizes < 1).any():
        raise ValueError(f"shape must hold positive sizes, got {tuple(shape)}")
    if train.shape != sizes.shape or (train < 1).any():
        raise ValueError(f"train_shape must hold {len(sizes)} positive sizes, got {train_shape}")
    reference = {"separate": train, "max": np.full_like(train, train.max())}.get(
        normalize, np.full_like(train, train.min())
    )
    extents = _per_axis("extent", extent, len(sizes))
    spacing = 2 * extents / reference
    if convention == "integer":
        spacing = np.ones(len(sizes))
        axes = [np.arange(size, dtype=np.float64) for size in sizes]
    elif convention == "centers":
        # Integers times one factor: the spacing is the same to the last bit whatever the size.
        axes = [(2 * np.arange(p) + 1 - p) * (s / 2) for p, s in zip(sizes, spacing, strict=True)]
    else:
        reach = spacing * sizes / 2
        axes = [
            np.linspace(-r, r, p) if p > 1 else np.zeros(1)
            for p, r in zip(sizes, reach, strict=True)
        ]
        spacing = np.where(sizes > 1, 2 * reach / np.maximum(sizes - 1, 1), spacing)
    return _mesh(axes, spacing, order)


def boxes(low: Float[Array, "*b n m"], high: Float[Array, "*b n m"]) -> Coordinates:
    """Tokens cut from boxes of any size: mixed patch sizes, merged tokens, tubelets of a clip.

    Args:
        low: Corner of each box with the smaller coordinates.
        high: The opposite corner.

    Returns:
        Centers, and volumes as the measure.

    Examples:
        >>> boxes(jnp.zeros((1, 2)), jnp.array([[2.0, 3.0]]))
        Coordinates(positions=Array([[1. , 1.5]], dtype=float32), measure=Array([6.],
        dtype=float32))
    """
    low, high = low.astype(jnp.float32), high.astype(jnp.float32)
    return Coordinates((low + high) / 2, jnp.prod(high - low, axis=-1))


def points(
    positions: Float[Array, "*b n m"],
    *,
    mask: Bool[Array, "*b n"] | None = None,
    num_neighbors: int | None = None,
    intrinsic_dim: int | None = None,
) -> Coordinates:
    r"""Points in space, with equal weights or with weights for their density.

    With ``num_neighbors = k`` the measure is :math:`r_k(i)^D`, the volume (up to a factor that
    cancels) of the ball to the k-th neighbor: where points crowd, each stands for less.

    Args:
        positions: The points.
        mask: Which of them exist; the others get no measure.
        num_neighbors: ``k``, or ``None`` for equal weights.
        intrinsic_dim: Dimension :math:`D` of what the points sample: 2 for a scanned surface. By
            default the dimension of the space.

    Returns:
        The points, and a measure of mean one over those that exist.

    Raises:
        ValueError: If there are not more points than neighbors.

    Examples:
        >>> line = jnp.array([[0.0], [1.0], [2.0], [4.0]])
        >>> points(line, num_neighbors=1).measure
        Array([0.8, 0.8, 0.8, 1.6], dtype=float32)
    """
    positions = positions.astype(jnp.float32)
    *_, num, dim = positions.shape
    exists = jnp.ones(positions.shape[:-1], bool) if mask is None else mask
    if num_neighbors is None:
        measure = jnp.ones(positions.shape[:-1])
    else:
        if not 0 < num_neighbors < num:
            raise ValueError(f"num_neighbors must be between 1 and {num - 1}, got {num_neighbors}")
        offsets = positions[..., :, None, :] - positions[..., None, :, :]
        square = jnp.sum(jnp.square(offsets), axis=-1)
        square = jnp.where(exists[..., None, :], square, jnp.finfo(jnp.float32).max)
        # The nearest point to a point is itself; the floor keeps duplicates, and their logarithm.
        radius = jnp.sort(square, axis=-1)[..., num_neighbors]
        measure = jnp.maximum(radius, 1e-20) ** (0.5 * (intrinsic_dim or dim))
    measure = jnp.where(exists, measure, 0.0)
    count = jnp.sum(exists, axis=-1, keepdims=True, dtype=jnp.float32)
    return Coordinates(positions, measure * count / jnp.sum(measure, axis=-1, keepdims=True))


def torus_grid(shape: Sequence[int], *, order: str = "xy") -> Coordinates:
    r"""Grid on a torus, each axis running once around :math:`[-\pi, \pi)`.

    No point is there twice, and encodings with integer frequencies (``axial(base=1)``, ``uniform``)
    close up exactly.

    Args:
        shape: Points along each axis, rows first.
        order: ``"xy"`` or ``"ij"``.

    Returns:
        Angles, and the measure :math:`(2\pi)^M / n`.

    Examples:
        >>> (torus_grid((4,)).positions[:, 0] / jnp.pi).tolist()
        [-1.0, -0.5, 0.0, 0.5]
    """
    axes = [-np.pi + 2 * np.pi * np.arange(size) / size for size in shape]
    return _mesh(axes, 2 * np.pi / np.asarray(shape, np.float64), order)


def wrap(
    offsets: Float[Array, "*b m"], period: float | Sequence[float] = float(2 * np.pi)
) -> Float[Array, "*b m"]:
    """Shortest way around: offsets on a torus brought into half a period either side.

    Args:
        offsets: Differences of positions, or positions.
        period: Length of the way around, for all axes or for each.

    Returns:
        Offsets in ``[-period / 2, period / 2]``.

    Examples:
        >>> wrap(jnp.array([0.75, -0.25]), 1.0)
        Array([-0.25, -0.25], dtype=float32)
    """
    widths = _per_axis("period", period, offsets.shape[-1])
    periods = expand_to(jnp.asarray(widths, jnp.float32), offsets.ndim)
    return offsets - periods * jnp.round(offsets / periods)


def _clenshaw_curtis(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of equally spaced colatitudes, poles included, and their weights on [-1, 1]."""
    if num == 1:
        return np.zeros(1), np.full(1, 2.0)
    order = num - 1
    angle = np.pi * np.arange(num) / order
    k = np.arange(1, order // 2 + 1)
    factor = np.where(2 * k == order, 1.0, 2.0)
    inner = 1 - (factor / (4 * k**2 - 1) * np.cos(2 * np.outer(angle, k))).sum(-1)
    end = np.where((np.arange(num) == 0) | (np.arange(num) == order), 1.0, 2.0)
    return np.cos(angle), end * inner / order


def sphere_grid(num_latitudes: int, num_longitudes: int, *, rule: str = "midpoint") -> Coordinates:
    r"""Latitude-longitude grid on the unit sphere with the weights of its rule.

    Args:
        num_latitudes: Circles of latitude, north to south.
        num_longitudes: Points on a circle; no meridian is there twice.
        rule: ``"midpoint"`` (centers of equal bands, exact areas), ``"clenshaw_curtis"`` (equal
            angles with both poles), or ``"gauss_legendre"``. No weight is zero, so its logarithm is
            finite; the naive cosine of the latitude vanishes at the poles.

    Returns:
        ``(longitude, latitude)`` in radians, row-major; the measure sums to :math:`4\pi`.

    Raises:
        ValueError: If the rule is unknown.

    Examples:
        >>> grid = sphere_grid(4, 8)
        >>> round(float(grid.measure.sum()) / np.pi, 4)
        4.0

    References:
        Bonev et al., "Attention on the sphere", arXiv 2505.11157, 2025.
    """
    check_choice("rule", rule, ("midpoint", "clenshaw_curtis", "gauss_legendre"))
    if rule == "midpoint":
        edges = np.pi * np.arange(num_latitudes + 1) / num_latitudes
        latitude = np.pi / 2 - (edges[1:] + edges[:-1]) / 2
        weights = np.cos(edges[:-1]) - np.cos(edges[1:])
    else:
        nodes, weights = (
            _clenshaw_curtis(num_latitudes)
            if rule == "clenshaw_curtis"
            else tuple(part[::-1] for part in np.polynomial.legendre.leggauss(num_latitudes))
        )
        latitude = np.arcsin(np.clip(nodes, -1, 1))
    longitude = -np.pi + 2 * np.pi * np.arange(num_longitudes) / num_longitudes
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    measure = np.repeat(weights * 2 * np.pi / num_longitudes, num_longitudes)
    positions = np.stack([lon.reshape(-1), lat.reshape(-1)], axis=-1)
    return Coordinates(jnp.asarray(positions, jnp.float32), jnp.asarray(measure, jnp.float32))


def healpix_grid(num_sides: int) -> Coordinates:
    r"""HEALPix pixel centers, ring order: :math:`12\, n^2` cells of equal area.

    Args:
        num_sides: :math:`n`, divisions of the side of a base pixel.

    Returns:
        ``(longitude, latitude)`` in radians, longitude in :math:`[0, 2\pi)`; equal measures that
        sum to :math:`4\pi`.

    Raises:
        ValueError: If ``num_sides`` is not positive.

    Examples:
        >>> healpix_grid(2).positions.shape
        (48, 2)

    References:
        Górski et al., "HEALPix", ApJ 622, 2005, equations 2 to 9.
    """
    if num_sides < 1:
        raise ValueError(f"num_sides must be positive, got {num_sides}")
    n = num_sides
    longitude, height = [], []
    for ring in range(1, 4 * n):
        cap = min(ring, 4 * n - ring)  # distance from the nearer pole
        if cap < n:
            count, shift = 4 * cap, 0.5
            z = (1 - cap**2 / (3 * n**2)) * (1 if ring < 2 * n else -1)
        else:
            # Equatorial rings are staggered by half a pixel, starting with ring n.
            count, shift = 4 * n, 0.5 * ((ring - n + 1) % 2)
            z = 4 / 3 - 2 * ring / (3 * n)
        longitude.append(2 * np.pi * (np.arange(count) + shift) / count)
        height.append(np.full(count, z))
    lon, z = np.concatenate(longitude), np.concatenate(height)
    positions = np.stack([lon, np.arcsin(z)], axis=-1)
    measure = np.full(len(lon), 4 * np.pi / len(lon))
    return Coordinates(jnp.asarray(positions, jnp.float32), jnp.asarray(measure, jnp.float32))


def unit_vectors(positions: Float[Array, "*b n 2"]) -> Float[Array, "*b n 3"]:
    """Points of the unit sphere from ``(longitude, latitude)``.

    Args:
        positions: Angles in radians.

    Returns:
        Cartesian unit vectors, the north pole at ``(0, 0, 1)``.

    Examples:
        >>> unit_vectors(jnp.zeros((1, 2)))
        Array([[1., 0., 0.]], dtype=float32)
    """
    longitude, latitude = positions[..., 0], positions[..., 1]
    cos = jnp.cos(latitude)
    return jnp.stack([cos * jnp.cos(longitude), cos * jnp.sin(longitude), jnp.sin(latitude)], -1)


def log_polar(
    positions: Float[Array, "*b n 2"], *, center: Sequence[float] = (0.0, 0.0), min_radius: float
) -> Float[Array, "*b n 2"]:
    r"""Coordinates :math:`(\log r, \vartheta)`, in which scaling and turning the plane are shifts.

    Canonical coordinates of that group: a relative encoding of them is invariant to scale and
    rotation about the center as others are to translation. Frequencies of the angle must be
    integers, or the encoding jumps where it wraps.

    Args:
        positions: ``(x, y)``.
        center: The fixed point.
        min_radius: Radii below count as this: the logarithm has no value at the center.

    Returns:
        Log radius and angle in :math:`(-\pi, \pi]`.

    Raises:
        ValueError: If ``min_radius`` is not positive.

    Examples:
        >>> np.asarray(log_polar(jnp.array([[0.0, 1.0]]), min_radius=0.1)).round(3)
        array([[0.   , 1.571]], dtype=float32)

    References:
        Schenck et al., arXiv 2502.02562, 2025, on canonical coordinates of Abelian groups.
    """
    if min_radius <= 0:
        raise ValueError(f"min_radius must be positive, got {min_radius}")
    offset = positions - expand_to(jnp.asarray(center, jnp.float32), positions.ndim)
    square = jnp.sum(jnp.square(offset), axis=-1)
    # At the center itself the angle has no derivative either: a point beside it stands in.
    away = square > 0
    x, y = jnp.where(away, offset[..., 0], 1.0), jnp.where(away, offset[..., 1], 0.0)
    log_radius = 0.5 * jnp.log(jnp.maximum(square, min_radius**2))
    return jnp.stack([log_radius, jnp.arctan2(y, x)], axis=-1)


def pack(sets: Sequence[Coordinates], length: int, *, share_rows: bool = False) -> Packed:
    """Put token sets of different sizes (images of different shapes) into rows of one length.

    Args:
        sets: Coordinates without leading axes.
        length: Tokens in a row.
        share_rows: Whether a row may hold several sets, first fit (sequence packing); otherwise one
            each.

    Returns:
        Rows of positions, measures (zero for padding) and segment numbers.

    Raises:
        ValueError: If a set is longer than a row.

    Examples:
        >>> packed = pack([patch_grid((1, 2)), patch_grid((1, 1))], 4, share_rows=True)
        >>> packed.segments
        Array([[ 0,  0,  1, -1]], dtype=int32)
    """
    longest = max(len(s.positions) for s in sets)
    if longest > length:
        raise ValueError(f"length must be at least the longest set's {longest}, got {length}")
    rows: list[list[int]] = []
    free: list[int] = []
    for index, tokens in enumerate(sets):
        need = len(tokens.positions)
        fits = [row for row in range(len(rows)) if free[row] >= need] if share_rows else []
        if not fits:
            rows.append([])
            free.append(length)
            fits = [len(rows) - 1]
        rows[fits[0]].append(index)
        free[fits[0]] -= need

    def fill(parts: list[Array], value: float, dtype: type) -> Array:
        whole = jnp.concatenate(parts).astype(dtype)
        pad = [(0, length - whole.shape[0])] + [(0, 0)] * (whole.ndim - 1)
        return jnp.pad(whole, pad, constant_values=value)

    return Packed(
        positions=jnp.stack([fill([sets[i].positions for i in r], 0, jnp.float32) for r in rows]),
        measure=jnp.stack([fill([sets[i].measure for i in r], 0, jnp.float32) for r in rows]),
        segments=jnp.stack(
            [fill([jnp.full(len(sets[i].positions), i) for i in r], -1, jnp.int32) for r in rows]
        ),
    )


def augment_positions(
    key: PRNGKeyArray,
    positions: Float[Array, "*b n m"],
    *,
    shift: float = 0.0,
    jitter: float = 1.0,
    rescale: float = 1.0,
) -> Float[Array, "*b n m"]:
    r"""DINOv3's augmentation of coordinates, in training only.

    .. math:: p \mapsto \big(p + U(-s, s)^M\big)\; e^{U(-\log J, \log J)^M}\; e^{U(-\log R, \log R)}

    One draw for all tokens and examples; ``jax.vmap`` over keys and positions draws one for each
    example. All tokens scale alike, so their measures keep their ratios.

    Args:
        key: PRNG key.
        positions: Positions, ``[-extent, extent]``.
        shift: Largest shift :math:`s` of each axis, in units of position.
        jitter: Largest factor :math:`J` of each axis on its own.
        rescale: Largest factor :math:`R` of all axes together; 2 in DINOv3.

    Returns:
        New positions.

    Raises:
        ValueError: If ``shift`` is negative or a factor is below one.

    Examples:
        >>> p = augment_positions(jax.random.key(0), jnp.ones((3, 2)), rescale=2.0)
        >>> bool((p >= 0.5).all() and (p <= 2.0).all() and (p == p[0, 0]).all())
        True

    References:
        Siméoni et al., "DINOv3", arXiv 2508.10104, 2025, section 3.2.
    """
    if shift < 0 or jitter < 1 or rescale < 1:
        raise ValueError(
            f"wanted shift >= 0, jitter >= 1, rescale >= 1, got {shift}, {jitter}, {rescale}"
        )
    axes = positions.shape[-1]
    shift_key, jitter_key, rescale_key = jax.random.split(key, 3)
    moved = jax.random.uniform(shift_key, (axes,), minval=-shift, maxval=shift)
    log_jitter, log_rescale = float(np.log(jitter)), float(np.log(rescale))
    stretched = jax.random.uniform(jitter_key, (axes,), minval=-log_jitter, maxval=log_jitter)
    scaled = jax.random.uniform(rescale_key, (1,), minval=-log_rescale, maxval=log_rescale)
    factor = jnp.exp(stretched + scaled)
    ndim = positions.ndim
    return (positions.astype(jnp.float32) + expand_to(moved, ndim)) * expand_to(factor, ndim)


def perturb_positions(
    key: PRNGKeyArray,
    positions: Float[Array, "*b n m"],
    spacing: float | Sequence[float],
    *,
    strength: float = 1.0,
) -> Float[Array, "*b n m"]:
    r"""ComRoPE's perturbation: every token moves a little inside its own patch.

    .. math:: p \mapsto p + \delta\, \mathrm{clip}(\mathcal N(0, (s/2)^2), -\tfrac12, \tfrac12)

    Args:
        key: PRNG key.
        positions: Positions.
        spacing: Patch width :math:`\delta`, for all axes or for each.
        strength: :math:`s`.

    Returns:
        New positions.

    Examples:
        >>> p = perturb_positions(jax.random.key(0), jnp.zeros((9, 2)), 2.0)
        >>> bool((jnp.abs(p) <= 1.0).all())
        True

    References:
        Yu et al., "ComRoPE", CVPR 2025.
    """
    noise = 0.5 * strength * jax.random.normal(key, positions.shape)
    width = jnp.asarray(_per_axis("spacing", spacing, positions.shape[-1]), jnp.float32)
    return positions.astype(jnp.float32) + expand_to(width, positions.ndim) * jnp.clip(
        noise, -0.5, 0.5
    )
