r"""What an encoding does, measured on the encoding itself.

Every function treats an encoding as a black box of linear maps :math:`R(p)` and measures its
properties: whether it satisfies the group law, along which axes scores are shift-invariant, whether
the kernel separates, which frequencies it has and how far it reaches. It takes trained parameters
as well as initial ones.
"""

from rope_jax.analysis.invariance import (
    commutator_norm,
    group_law_error,
    mixed_difference,
    shift_error,
)
from rope_jax.analysis.matrices import count_parameters, rotation_matrices, scores
from rope_jax.analysis.reach import kernel_map, locality
from rope_jax.analysis.report import Equivariance, EquivarianceReport, equivariance_report
from rope_jax.analysis.spectra import Spectrum, generators, nyquist_coverage, spectrum

__all__ = [
    "Equivariance",
    "EquivarianceReport",
    "Spectrum",
    "commutator_norm",
    "count_parameters",
    "equivariance_report",
    "generators",
    "group_law_error",
    "kernel_map",
    "locality",
    "mixed_difference",
    "nyquist_coverage",
    "rotation_matrices",
    "scores",
    "shift_error",
    "spectrum",
]
