"""What is watched: covariances, spectra, and tests of Gaussianity."""

from lejepa_jax.diagnostics.covariance import (
    Covariance,
    FrequentDirections,
    ProjectedCovariance,
    Summary,
    frequent_directions,
    isotropy_penalty,
    merge_covariances,
    project_covariance,
    sample_covariance,
    summary_spectrum,
    whiten,
)
from lejepa_jax.diagnostics.density import jepa_score
from lejepa_jax.diagnostics.gaussianity import GaussianityTest, gaussianity_test
from lejepa_jax.diagnostics.null_law import SigregNull, sigreg_null, sigreg_p_value
from lejepa_jax.diagnostics.spectrum import (
    alpha_req,
    condition_number,
    covariance_spectrum,
    effective_rank,
    feature_std,
    isotropy,
    label_free_score,
    lidar,
    rankme,
)
from lejepa_jax.diagnostics.summary import CloudSummary, summarize_cloud

__all__ = [
    "CloudSummary",
    "Covariance",
    "FrequentDirections",
    "GaussianityTest",
    "ProjectedCovariance",
    "SigregNull",
    "Summary",
    "alpha_req",
    "condition_number",
    "covariance_spectrum",
    "effective_rank",
    "feature_std",
    "frequent_directions",
    "gaussianity_test",
    "isotropy",
    "isotropy_penalty",
    "jepa_score",
    "label_free_score",
    "lidar",
    "merge_covariances",
    "project_covariance",
    "rankme",
    "sample_covariance",
    "sigreg_null",
    "sigreg_p_value",
    "summarize_cloud",
    "summary_spectrum",
    "whiten",
]
