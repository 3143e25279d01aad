"""Position encodings: what rotates queries and keys, and what is added to tokens."""

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

__all__ = [
    "Encoding",
    "Params",
    "Rotation",
    "axial",
    "cast_rotation",
    "comrope",
    "exp_skew",
    "fixed_directions",
    "from_frequencies",
    "geope",
    "init_layers",
    "learned_absolute",
    "liere",
    "mixed",
    "no_position",
    "pair_rotation",
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
    "spherical",
    "string_cayley",
    "string_circulant",
    "uniform",
]
