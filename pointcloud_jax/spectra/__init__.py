r"""Spectra of point clouds that do not change when the cloud is rotated.

All of them describe the energy of the cloud's Fourier transform,

.. math:: E(r, \omega) = \Bigl|\frac1n \sum_j e^{-i r\, \omega \cdot v_j}\Bigr|^2 .

`dasft` averages it over the directions of a rule, which is invariant as far as the rule is exact.
`debye_spectrum` is the average itself, in closed form and so exactly invariant; it shows that the
averaged spectrum is the sine transform of the histogram of pair distances and holds no direction
any more. `degree_spectrum` splits it by degree of the spherical harmonics: each degree is exactly
invariant, whatever the highest one, and together they distinguish far more shapes (on 69 classes of
CAD shapes a kernel ridge reaches 55 % from degrees up to 8, and 36 % from the averaged spectrum).

Each is 1 at radius 0 and does not depend on the number of points. (The published sums are these
times :math:`n^2`.) None distinguishes a cloud from its mirror image.
"""

from pointcloud_jax.spectra.degrees import degree_spectrum
from pointcloud_jax.spectra.directional import dasft
from pointcloud_jax.spectra.harmonics import solid_harmonics, spherical_bessel
from pointcloud_jax.spectra.normalization import normalize_radius
from pointcloud_jax.spectra.pairs import debye_spectrum, pair_histogram

__all__ = [
    "dasft",
    "debye_spectrum",
    "degree_spectrum",
    "normalize_radius",
    "pair_histogram",
    "solid_harmonics",
    "spherical_bessel",
]
