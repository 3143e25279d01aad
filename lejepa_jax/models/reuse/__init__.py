"""A model as the beginning of something else: probes on other data, another run, a classifier."""

from lejepa_jax.models.reuse.finetuning import (
    FinetuneOptions,
    finetune_recipe,
    finetune_task,
    linear_probe,
)
from lejepa_jax.models.reuse.initialization import initialize_from, match_arrays
from lejepa_jax.models.reuse.resizing import inflate_patches, resize_patches
from lejepa_jax.models.reuse.transfer import evaluate_transfer, load_for

__all__ = [
    "FinetuneOptions",
    "evaluate_transfer",
    "finetune_recipe",
    "finetune_task",
    "inflate_patches",
    "initialize_from",
    "linear_probe",
    "load_for",
    "match_arrays",
    "resize_patches",
]
