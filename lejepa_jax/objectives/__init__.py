"""What is trained for: directions, SIGReg, the prediction loss and LeJEPA."""

from lejepa_jax.objectives.directions import (
    DIRECTIONS,
    DirectionSampler,
    directions_by_name,
    orthogonal_directions,
    sobol_directions,
    unit_directions,
)
from lejepa_jax.objectives.lejepa import (
    LejepaLoss,
    Weighting,
    check_trade_off,
    lejepa_loss,
)
from lejepa_jax.objectives.prediction import Target, prediction_loss
from lejepa_jax.objectives.regularizers.names import (
    REGULARIZERS,
    regularizer_by_name,
    regularizer_null_mean,
)
from lejepa_jax.objectives.regularizers.protocol import DescribedRegularizer, Regularizer
from lejepa_jax.objectives.slicing import sigreg, slice_statistics

__all__ = [
    "DIRECTIONS",
    "REGULARIZERS",
    "DescribedRegularizer",
    "DirectionSampler",
    "LejepaLoss",
    "Regularizer",
    "Target",
    "Weighting",
    "check_trade_off",
    "directions_by_name",
    "lejepa_loss",
    "orthogonal_directions",
    "prediction_loss",
    "regularizer_by_name",
    "regularizer_null_mean",
    "sigreg",
    "slice_statistics",
    "sobol_directions",
    "unit_directions",
]
