"""Rotary position encodings in any number of dimensions, commuting or not.

Encodings are :class:`Encoding`, a NamedTuple of pure functions; constructors take
``(head_dim, num_heads, *, num_axes=2, ...)``. Positions and their measures come from
:mod:`rope_jax.positions`, :func:`attention` weighs keys by measure, :mod:`rope_jax.kernels` has
positional kernels, :mod:`rope_jax.analysis` says what an encoding is invariant to.
"""

import warnings

from rope_jax import analysis, frequencies, kernels
from rope_jax.analysis.report import equivariance_report
from rope_jax.compose import (
    freeze,
    over_channels,
    over_heads,
    partial_rotation,
    with_prefix,
)
from rope_jax.encodings.additive import learned_absolute, sincos
from rope_jax.encodings.basis import rotate_in_basis, string_cayley, string_circulant
from rope_jax.encodings.blocks import rotate_blocks
from rope_jax.encodings.encoding import (
    Encoding,
    Params,
    Rotation,
    cast_rotation,
    init_layers,
    no_position,
    prepare_layers,
)
from rope_jax.encodings.lie import comrope, liere
from rope_jax.encodings.pairs import pair_rotation, rotate_pairs, rotate_plane, rotation_angles
from rope_jax.encodings.rotary import (
    axial,
    fixed_directions,
    from_frequencies,
    mixed,
    rope_1d,
    uniform,
)
from rope_jax.encodings.skew_matrices import exp_skew, rodrigues, skew
from rope_jax.encodings.triplets import geope, rotate_spherical, spherical
from rope_jax.layout import Layout, convert_layout, layout_permutation
from rope_jax.positions.coordinates import Coordinates, boxes, points
from rope_jax.positions.grids import patch_grid, torus_grid
from rope_jax.positions.healpix import healpix_grid, healpix_interpolation, healpix_nested
from rope_jax.positions.packing import Packed, pack
from rope_jax.positions.sphere import sphere_grid, unit_vectors
from rope_jax.positions.transforms import augment_positions, log_polar, perturb_positions, wrap
from rope_jax.registry import ENCODINGS, encoding_by_name, parse_choice
from rope_jax.weighted_attention import attention, log_measure

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
    "freeze",
    "frequencies",
    "from_frequencies",
    "geope",
    "healpix_grid",
    "healpix_interpolation",
    "healpix_nested",
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
    "parse_choice",
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
    "rotate_plane",
    "rotate_spherical",
    "rotation_angles",
    "sincos",
    "skew",
    "sphere_grid",
    "spherical",
    "string_cayley",
    "string_circulant",
    "torus_grid",
    "uniform",
    "unit_vectors",
    "with_prefix",
    "wrap",
]

_RENAMED = {"stop_learning": "freeze"}


def __getattr__(name: str) -> object:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(f"rope_jax.{name} is now rope_jax.{new}", DeprecationWarning, stacklevel=2)
        return globals()[new]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
