"""LeJEPA in JAX: SIGReg, its statistics, the objective, encoders, views and probes."""

from lejepa_jax.directions import unit_directions
from lejepa_jax.ecf import Ecf, ecf, sample_count
from lejepa_jax.normality import Statistic, epps_pulley, epps_pulley_null_mean
from lejepa_jax.objective import LejepaLoss, lejepa_loss, prediction_loss
from lejepa_jax.sigreg import paper_epps_pulley, sigreg, slice_statistics

__all__ = [
    "Ecf",
    "LejepaLoss",
    "Statistic",
    "ecf",
    "epps_pulley",
    "epps_pulley_null_mean",
    "lejepa_loss",
    "paper_epps_pulley",
    "prediction_loss",
    "sample_count",
    "sigreg",
    "slice_statistics",
    "unit_directions",
]
