"""Positions of tokens and their measures: grids, point sets, packing, augmentation."""

from rope_jax.positions.coordinates import Coordinates, boxes, points
from rope_jax.positions.grids import patch_grid, torus_grid
from rope_jax.positions.healpix import healpix_grid, healpix_interpolation, healpix_nested
from rope_jax.positions.packing import Packed, pack
from rope_jax.positions.sphere import sphere_grid, unit_vectors
from rope_jax.positions.transforms import augment_positions, log_polar, perturb_positions, wrap

__all__ = [
    "Coordinates",
    "Packed",
    "augment_positions",
    "boxes",
    "healpix_grid",
    "healpix_interpolation",
    "healpix_nested",
    "log_polar",
    "pack",
    "patch_grid",
    "perturb_positions",
    "points",
    "sphere_grid",
    "torus_grid",
    "unit_vectors",
    "wrap",
]
