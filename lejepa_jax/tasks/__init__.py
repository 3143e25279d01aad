"""Tasks that the loop can train, one file each."""

from lejepa_jax.tasks.image_classification import (
    ClassificationConfig,
    Classifier,
    classification,
    cross_entropy,
    mix_pairs,
    soft_targets,
)
from lejepa_jax.tasks.image_pretraining import PretrainingConfig, lejepa_pretraining
from lejepa_jax.tasks.joint_embedding import (
    Inputs,
    JointEmbedding,
    Modality,
    ObjectiveConfig,
    Place,
    joint_embedding,
)

__all__ = [
    "ClassificationConfig",
    "Classifier",
    "Inputs",
    "JointEmbedding",
    "Modality",
    "ObjectiveConfig",
    "Place",
    "PretrainingConfig",
    "classification",
    "cross_entropy",
    "joint_embedding",
    "lejepa_pretraining",
    "mix_pairs",
    "soft_targets",
]
