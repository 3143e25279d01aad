"""Tasks that the loop can train, one file each."""

from lejepa_jax.tasks.image_classification import ClassificationConfig, classification_task
from lejepa_jax.tasks.image_pretraining import PretrainingConfig, lejepa_pretraining
from lejepa_jax.tasks.images import ImageConfig
from lejepa_jax.tasks.joint_embedding import joint_embedding_task
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.tasks.pretraining import JointEmbedding
from lejepa_jax.tasks.small_folders import SmallFolderConfig

__all__ = [
    "ClassificationConfig",
    "ImageConfig",
    "JointEmbedding",
    "Modality",
    "ObjectiveConfig",
    "PretrainingConfig",
    "SmallFolderConfig",
    "classification_task",
    "joint_embedding_task",
    "lejepa_pretraining",
]
