"""Data sets: sources with random access, readers by name, splits and batches."""

from lejepa_jax.data.loading import (
    BadRecord,
    Batch,
    ImageSource,
    Source,
    Splits,
    batches,
    epoch_order,
    eval_batches,
    from_arrays,
    load,
    stratified_split,
)

__all__ = [
    "BadRecord",
    "Batch",
    "ImageSource",
    "Source",
    "Splits",
    "batches",
    "epoch_order",
    "eval_batches",
    "from_arrays",
    "load",
    "stratified_split",
]
