"""What frozen features are worth: nearest neighbors, linear and few-shot probes."""

from lejepa_jax.evaluation.probes import (
    L2_GRID,
    FewShot,
    LinearProbe,
    few_shot_accuracy,
    knn_accuracy,
    knn_predict,
    linear_accuracy,
    linear_probe,
    linear_probe_adamw,
    probe_accuracy,
    probe_logits,
    probe_suite,
    select_l2,
    standardize,
    stratified_mask,
)

__all__ = [
    "L2_GRID",
    "FewShot",
    "LinearProbe",
    "few_shot_accuracy",
    "knn_accuracy",
    "knn_predict",
    "linear_accuracy",
    "linear_probe",
    "linear_probe_adamw",
    "probe_accuracy",
    "probe_logits",
    "probe_suite",
    "select_l2",
    "standardize",
    "stratified_mask",
]
