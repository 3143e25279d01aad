"""Trained encoders as something to keep and use: save, load, embed, continue."""

from lejepa_jax.models.loading import bundled_models, load
from lejepa_jax.models.model import Model, random_model
from lejepa_jax.models.preprocessing import (
    CloudPreprocessing,
    FieldPreprocessing,
    ImagePreprocessing,
)
from lejepa_jax.models.saving import save
from lejepa_jax.models.storage.hub import publish_model

__all__ = [
    "CloudPreprocessing",
    "FieldPreprocessing",
    "ImagePreprocessing",
    "Model",
    "bundled_models",
    "load",
    "publish_model",
    "random_model",
    "save",
]
