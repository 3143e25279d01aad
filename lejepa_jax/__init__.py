"""LeJEPA in JAX: SIGReg, its statistics and the objective, each a pure function.

Encoders, data, views, evaluation, the report and training are in the sub-packages `nn`, `data`,
`augment`, `evaluation`, `report` and `training`: what is here needs JAX alone. `load` and `save`
are for trained encoders, and `load_world_model` for what plans, see `models`.
"""

import importlib
import warnings
from typing import TYPE_CHECKING

from lejepa_jax.diagnostics.covariance import (
    Covariance,
    FrequentDirections,
    ProjectedCovariance,
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
from lejepa_jax.objectives.directions import (
    directions_by_name,
    orthogonal_directions,
    sobol_directions,
    unit_directions,
)
from lejepa_jax.objectives.lejepa import LejepaLoss, lejepa_loss
from lejepa_jax.objectives.prediction import prediction_loss
from lejepa_jax.objectives.slicing import sigreg, slice_statistics
from lejepa_jax.statistics.calibration import critical_value, p_value, simulate_null
from lejepa_jax.statistics.characteristic.specification import Ecf, ecf
from lejepa_jax.statistics.edf import anderson_darling, cramer_von_mises, watson
from lejepa_jax.statistics.moment_tests import extended_jarque_bera, jarque_bera, moments, vcreg
from lejepa_jax.statistics.multivariate import (
    Mardia,
    bhep,
    bhep_mgf,
    comb,
    energy_distance,
    henze_visagie,
    henze_zirkler,
    mardia,
)
from lejepa_jax.statistics.names import null_mean, statistic_by_name, target_by_name
from lejepa_jax.statistics.normality import (
    Statistic,
    epps_pulley,
    epps_pulley_null_mean,
    paper_epps_pulley,
)
from lejepa_jax.statistics.order_statistics import (
    order_statistic_nll,
    shapiro_wilk,
    vasicek_entropy,
)
from lejepa_jax.statistics.reductions import sample_count
from lejepa_jax.statistics.targets import (
    generalized_normal_target,
    laplace_target,
    normal_target,
    sphere_target,
)
from lejepa_jax.training.microbatch import MicrobatchResult, microbatched_value_and_grad

if TYPE_CHECKING:
    from lejepa_jax.models.loading import load
    from lejepa_jax.models.saving import save
    from lejepa_jax.models.storage.run_world_models import load_world_model

__version__ = "0.2.0"

__all__ = [
    "CloudSummary",
    "Covariance",
    "Ecf",
    "FrequentDirections",
    "GaussianityTest",
    "LejepaLoss",
    "Mardia",
    "MicrobatchResult",
    "ProjectedCovariance",
    "SigregNull",
    "Statistic",
    "alpha_req",
    "anderson_darling",
    "bhep",
    "bhep_mgf",
    "comb",
    "condition_number",
    "covariance_spectrum",
    "cramer_von_mises",
    "critical_value",
    "directions_by_name",
    "ecf",
    "effective_rank",
    "energy_distance",
    "epps_pulley",
    "epps_pulley_null_mean",
    "extended_jarque_bera",
    "feature_std",
    "frequent_directions",
    "gaussianity_test",
    "generalized_normal_target",
    "henze_visagie",
    "henze_zirkler",
    "isotropy",
    "isotropy_penalty",
    "jarque_bera",
    "jepa_score",
    "label_free_score",
    "laplace_target",
    "lejepa_loss",
    "lidar",
    "load",
    "load_world_model",
    "mardia",
    "merge_covariances",
    "microbatched_value_and_grad",
    "moments",
    "normal_target",
    "null_mean",
    "order_statistic_nll",
    "orthogonal_directions",
    "p_value",
    "paper_epps_pulley",
    "prediction_loss",
    "project_covariance",
    "rankme",
    "sample_count",
    "sample_covariance",
    "save",
    "shapiro_wilk",
    "sigreg",
    "sigreg_null",
    "sigreg_p_value",
    "simulate_null",
    "slice_statistics",
    "sobol_directions",
    "sphere_target",
    "statistic_by_name",
    "summarize_cloud",
    "summary_spectrum",
    "target_by_name",
    "unit_directions",
    "vasicek_entropy",
    "vcreg",
    "watson",
    "whiten",
]

# Networks are of Flax, which takes a second to import: only who asks for these waits for it.
_LATE = {
    "load": "lejepa_jax.models.loading",
    "load_world_model": "lejepa_jax.models.storage.run_world_models",
    "save": "lejepa_jax.models.saving",
}
_RENAMED = {"generalised_normal_target": "generalized_normal_target"}


def __getattr__(name: str) -> object:
    """Give what is imported late, and by its old name what was renamed."""
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    if name in _RENAMED:
        new = _RENAMED[name]
        message = f"lejepa_jax.{name} is now lejepa_jax.{new}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return globals()[new]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
