"""What frozen features are worth: nearest neighbors, linear and few-shot probes."""

from lejepa_jax.evaluation.dense import DenseProbe, dense_probe, mean_iou, patch_labels
from lejepa_jax.evaluation.errors import class_accuracies, confusion_matrix
from lejepa_jax.evaluation.features import (
    Mapped,
    ShardBatch,
    fetch,
    map_examples,
    stratified_subset,
)
from lejepa_jax.evaluation.few_shot import FewShot, few_shot_accuracy
from lejepa_jax.evaluation.knn import knn_accuracy, knn_predict
from lejepa_jax.evaluation.labels import stratified_mask
from lejepa_jax.evaluation.linear import (
    L2_GRID,
    LinearProbe,
    linear_accuracy,
    linear_predict,
    linear_probe,
    probe_accuracy,
    probe_logits,
    select_l2,
)
from lejepa_jax.evaluation.quick import QuickEvaluator, quick_probes, quick_subset
from lejepa_jax.evaluation.results import (
    Evaluator,
    Picture,
    Results,
    by_score,
    merge_results,
)
from lejepa_jax.evaluation.standardization import standardize
from lejepa_jax.evaluation.suite import ProbeResults, probe_suite, run_probes

__all__ = [
    "L2_GRID",
    "DenseProbe",
    "Evaluator",
    "FewShot",
    "LinearProbe",
    "Mapped",
    "Picture",
    "ProbeResults",
    "QuickEvaluator",
    "Results",
    "ShardBatch",
    "by_score",
    "class_accuracies",
    "confusion_matrix",
    "dense_probe",
    "fetch",
    "few_shot_accuracy",
    "knn_accuracy",
    "knn_predict",
    "linear_accuracy",
    "linear_predict",
    "linear_probe",
    "map_examples",
    "mean_iou",
    "merge_results",
    "patch_labels",
    "probe_accuracy",
    "probe_logits",
    "probe_suite",
    "quick_probes",
    "quick_subset",
    "run_probes",
    "select_l2",
    "standardize",
    "stratified_mask",
    "stratified_subset",
]
