"""Tasks on clouds that the loop can train, one file each."""

from pointcloud_jax.tasks.cloud_classification import ClassificationConfig, classification_task
from pointcloud_jax.tasks.cloud_pretraining import CloudPretrainingConfig, cloud_pretraining_task
from pointcloud_jax.tasks.cloud_segmentation import SegmentationConfig, segmentation_task
from pointcloud_jax.tasks.rotation_protocols import apply_protocol
from pointcloud_jax.tasks.scores import call_parts, confusion_matrix, part_iou
from pointcloud_jax.tasks.supervised import SupervisedConfig

__all__ = [
    "ClassificationConfig",
    "CloudPretrainingConfig",
    "SegmentationConfig",
    "SupervisedConfig",
    "apply_protocol",
    "call_parts",
    "classification_task",
    "cloud_pretraining_task",
    "confusion_matrix",
    "part_iou",
    "segmentation_task",
]
