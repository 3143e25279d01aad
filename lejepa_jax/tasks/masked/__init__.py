"""Masked prediction: what a part of an image says about the tokens of its other parts."""

from lejepa_jax.tasks.masked.masked_prediction import (
    MaskedPredictionConfig,
    masked_prediction_task,
)

__all__ = ["MaskedPredictionConfig", "masked_prediction_task"]
