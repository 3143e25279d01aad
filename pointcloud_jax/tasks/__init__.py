"""Tasks on clouds that the loop can train, one file each."""

from pointcloud_jax.tasks.cloud_classification import (
    ClassificationConfig,
    check_float32,
    classification,
    confusion_matrix,
)
from pointcloud_jax.tasks.cloud_pretraining import (
    CloudEncoder,
    CloudPretrainingConfig,
    cloud_pretraining,
)
from pointcloud_jax.tasks.cloud_segmentation import (
    SegmentationConfig,
    call_parts,
    part_iou,
    segmentation,
)
from pointcloud_jax.tasks.supervised import (
    PROTOCOL_NAMES,
    Networks,
    SupervisedConfig,
    evaluation_view,
    global_mean,
    named,
    protocols,
    see,
    side_by_side,
    training_view,
)

__all__ = [
    "PROTOCOL_NAMES",
    "ClassificationConfig",
    "CloudEncoder",
    "CloudPretrainingConfig",
    "Networks",
    "SegmentationConfig",
    "SupervisedConfig",
    "call_parts",
    "check_float32",
    "classification",
    "cloud_pretraining",
    "confusion_matrix",
    "evaluation_view",
    "global_mean",
    "named",
    "part_iou",
    "protocols",
    "see",
    "segmentation",
    "side_by_side",
    "training_view",
]
