r"""Grids of positions, each with its measure.

A token represents a part of space: the position is its center, the measure its size (the area of a
patch, the solid angle of a cell of the sphere, zero for padding). Encodings use positions;
:func:`rope_jax.attention` uses measures as quadrature weights.

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
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np

from rope_jax.checks import check_choice, check_sizes, per_axis
from rope_jax.positions.coordinates import Coordinates

Order = Literal["xy", "ij"]
Convention = Literal["centers", "integer", "linspace"]


def _mesh(axes: Sequence[np.ndarray], spacing: np.ndarray, order: Order) -> Coordinates:
    """Product of one-dimensional rules; numpy in float64, so that spacings are exact."""
    check_choice("order", order, get_args(Order))
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    if order == "xy":
        mesh = mesh[:, ::-1]
    measure = np.full(len(mesh), np.prod(spacing))
    return Coordinates(jnp.asarray(mesh, jnp.float32), jnp.asarray(measure, jnp.float32))


def patch_grid(
    shape: Sequence[int],
    *,
    train_shape: Sequence[int] | None = None,
    convention: Convention = "centers",
    extent: float | Sequence[float] = float(np.pi),
    normalize: Literal["separate", "max", "min"] = "separate",
    anchor: Literal["center", "corner"] = "center",
    order: Order = "xy",
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
        anchor: ``"center"``: zero is the center of the image, whatever its sides. ``"corner"``: the
            outer corner of the first patch is at ``-extent``, so that only the side that
            ``normalize`` maps to ``extent`` is centered, as in timm and DINOv3. For ``"centers"``.
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
    check_choice("convention", convention, get_args(Convention))
    check_choice("normalize", normalize, ("separate", "max", "min"))
    check_choice("anchor", anchor, ("center", "corner"))
    if anchor == "corner" and convention != "centers":
        raise ValueError(f"anchor='corner' is for convention='centers', got {convention!r}")
    check_sizes("shape", shape)
    if train.shape != sizes.shape or (train < 1).any():
        raise ValueError(f"train_shape must hold {len(sizes)} positive sizes, got {train_shape}")
    reference = {"separate": train, "max": np.full_like(train, train.max())}.get(
        normalize, np.full_like(train, train.min())
    )
    extents = per_axis("extent", extent, len(sizes))
    spacing = 2 * extents / reference
    if convention == "integer":
        spacing = np.ones(len(sizes))
        axes = [np.arange(size, dtype=np.float64) for size in sizes]
    elif convention == "centers":
        # Integers times one factor: the spacing is the same to the last bit whatever the size.
        whole = sizes if anchor == "center" else reference
        axes = [
            (2 * np.arange(p) + 1 - w) * (s / 2)
            for p, w, s in zip(sizes, whole, spacing, strict=True)
        ]
    else:
        reach = spacing * sizes / 2
        axes = [
            np.linspace(-r, r, p) if p > 1 else np.zeros(1)
            for p, r in zip(sizes, reach, strict=True)
        ]
        spacing = np.where(sizes > 1, 2 * reach / np.maximum(sizes - 1, 1), spacing)
    return _mesh(axes, spacing, order)


def torus_grid(shape: Sequence[int], *, order: Order = "xy") -> Coordinates:
    r"""Grid on a torus, each axis running once around :math:`[-\pi, \pi)`.

    The endpoint is left out, so encodings with integer frequencies (``axial(base=1)``, ``uniform``)
    are exactly periodic on it.

    Args:
        shape: Points along each axis, rows first.
        order: ``"xy"`` or ``"ij"``.

    Returns:
        Angles, and the measure :math:`(2\pi)^M / n`.

    Raises:
        ValueError: If a size is not positive.

    Examples:
        >>> (torus_grid((4,)).positions[:, 0] / jnp.pi).tolist()
        [-1.0, -0.5, 0.0, 0.5]
    """
    check_sizes("shape", shape)
    axes = [-np.pi + 2 * np.pi * np.arange(size) / size for size in shape]
    return _mesh(axes, 2 * np.pi / np.asarray(shape, np.float64), order)
