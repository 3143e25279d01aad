r"""Statistics of the distance of a whole cloud from N(0, I), without slices.

All look at pairs of samples: time is quadratic in n, memory linear (rows are handled in blocks).
Sharded over devices, each handles the pairs of its own rows with all samples. All carry the factor
n (n^1/2 for :func:`comb`) of the literature and test N(0, I) itself: for tests that no affine map
changes, whiten the cloud first (:func:`lejepa_jax.diagnostics.covariance.whiten`).
"""

from lejepa_jax.statistics.multivariate.characteristic_tests import bhep, henze_zirkler
from lejepa_jax.statistics.multivariate.distances import Mardia, energy_distance, mardia
from lejepa_jax.statistics.multivariate.generating_functions import bhep_mgf, comb, henze_visagie

__all__ = [
    "Mardia",
    "bhep",
    "bhep_mgf",
    "comb",
    "energy_distance",
    "henze_visagie",
    "henze_zirkler",
    "mardia",
]
