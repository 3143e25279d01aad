"""Supervised classification of examples of any kind."""

from lejepa_jax.tasks.labeled.classifier import (
    Classifier,
    kept_classifier,
    keys_apart,
    labeled_task,
)
from lejepa_jax.tasks.labeled.config import LabeledConfig, check_classes, few_of

__all__ = [
    "Classifier",
    "LabeledConfig",
    "check_classes",
    "few_of",
    "kept_classifier",
    "keys_apart",
    "labeled_task",
]
