"""Rotary position encodings in any number of dimensions, commuting or not.

Encodings are :class:`Encoding`, a NamedTuple of pure functions; constructors take
``(head_dim, num_heads, *, num_axes=2, ...)``. Positions and their measures come from the grids of
:mod:`rope_jax.coordinates`, :func:`attention` weighs keys by measure, :mod:`rope_jax.kernels` has
positional kernels, :mod:`rope_jax.analysis` says what an encoding is invariant to.
"""

from rope_jax import analysis, frequencies, kernels
from rope_jax.additive import learned_absolute, sincos
from rope_jax.analysis import equivariance_report
from rope_jax.compose import (
    over_channels,
    over_heads,
    partial_rotation,
    stop_learning,
    with_prefix,
)
from rope_jax.coordinates import (
    Coordinates,
    Packed,
    augment_positions,
    boxes,
    healpix_grid,
    log_polar,
    pack,
    patch_grid,
    perturb_positions,
    points,
    sphere_grid,
    torus_grid,
    unit_vectors,
    wrap,
)
from rope_jax.encoding import (
    Encoding,
    Params,
    Rotation,
    cast_rotation,
    init_layers,
    no_position,
    prepare_layers,
)
from rope_jax.field import attention, log_measure
from rope_jax.layout import Layout, convert_layout, layout_permutation
from rope_jax.lie import (
    comrope,
    exp_skew,
    liere,
    rotate_in_basis,
    skew,
    string_cayley,
    string_circulant,
)
from rope_jax.registry import ENCODINGS, encoding_by_name
from rope_jax.rotary import (
    axial,
    fixed_directions,
    from_frequencies,
    mixed,
    pair_rotation,
    rope_1d,
    rotate_pairs,
    rotation_angles,
    uniform,
)
from rope_jax.triplets import geope, rodrigues, rotate_blocks, rotate_spherical, spherical

__all__ = [
    "ENCODINGS",
    "Coordinates",
    "Encoding",
    "Layout",
    "Packed",
    "Params",
    "Rotation",
    "analysis",
    "attention",
    "augment_positions",
    "axial",
    "boxes",
    "cast_rotation",
    "comrope",
    "convert_layout",
    "encoding_by_name",
    "equivariance_report",
    "exp_skew",
    "fixed_directions",
    "frequencies",
    "from_frequencies",
    "geope",
    "healpix_grid",
    "init_layers",
    "kernels",
    "layout_permutation",
    "learned_absolute",
    "liere",
    "log_measure",
    "log_polar",
    "mixed",
    "no_position",
    "over_channels",
    "over_heads",
    "pack",
    "pair_rotation",
    "partial_rotation",
    "patch_grid",
    "perturb_positions",
    "points",
    "prepare_layers",
    "rodrigues",
    "rope_1d",
    "rotate_blocks",
    "rotate_in_basis",
    "rotate_pairs",
    "rotate_spherical",
    "rotation_angles",
    "sincos",
    "skew",
    "sphere_grid",
    "spherical",
    "stop_learning",
    "string_cayley",
    "string_circulant",
    "torus_grid",
    "uniform",
    "unit_vectors",
    "with_prefix",
    "wrap",
]
