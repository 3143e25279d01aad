"""The networks of a world model, and what they imagine."""

from lejepa_jax.worldmodels.networks.conditioning import ConditionedBlock
from lejepa_jax.worldmodels.networks.imagination import Predict, imagine
from lejepa_jax.worldmodels.networks.predictor import ActionEncoder, Predictor
from lejepa_jax.worldmodels.networks.world_model import (
    SIZES,
    InverseDynamics,
    NetworkSizes,
    WorldModel,
    encoder_maker,
)

__all__ = [
    "SIZES",
    "ActionEncoder",
    "ConditionedBlock",
    "InverseDynamics",
    "NetworkSizes",
    "Predict",
    "Predictor",
    "WorldModel",
    "encoder_maker",
    "imagine",
]
