"""What is trained for: directions, SIGReg, the prediction loss and LeJEPA."""

from lejepa_jax.objectives.directions import (
    orthogonal_directions,
    sobol_directions,
    unit_directions,
)
from lejepa_jax.objectives.lejepa import (
    LejepaLoss,
    Target,
    Weighting,
    check_trade_off,
    lejepa_loss,
    prediction_loss,
)
from lejepa_jax.objectives.slicing import paper_epps_pulley, sigreg, slice_statistics

__all__ = [
    "LejepaLoss",
    "Target",
    "Weighting",
    "check_trade_off",
    "lejepa_loss",
    "orthogonal_directions",
    "paper_epps_pulley",
    "prediction_loss",
    "sigreg",
    "slice_statistics",
    "sobol_directions",
    "unit_directions",
]
