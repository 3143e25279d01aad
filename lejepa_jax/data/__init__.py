"""Data sets: sources with random access, readers by name, splits and batches."""

from lejepa_jax.data.batching import batches, epoch_order, eval_batches
from lejepa_jax.data.images.arrays import DecodedImages, from_arrays
from lejepa_jax.data.images.encoded import EncodedImages
from lejepa_jax.data.inspection import (
    Fingerprint,
    count_duplicates,
    fingerprint,
    fingerprint_changes,
)
from lejepa_jax.data.loading import READERS, load
from lejepa_jax.data.reading import DataOptions, Reader, Request
from lejepa_jax.data.records import BadRecord, Ledger, TooManyBadRecords, printable
from lejepa_jax.data.source import Batch, ImageSource, Source
from lejepa_jax.data.splits import Parts, Splits, hold_out, stratified_split

__all__ = [
    "READERS",
    "BadRecord",
    "Batch",
    "DataOptions",
    "DecodedImages",
    "EncodedImages",
    "Fingerprint",
    "ImageSource",
    "Ledger",
    "Parts",
    "Reader",
    "Request",
    "Source",
    "Splits",
    "TooManyBadRecords",
    "batches",
    "count_duplicates",
    "epoch_order",
    "eval_batches",
    "fingerprint",
    "fingerprint_changes",
    "from_arrays",
    "hold_out",
    "load",
    "printable",
    "stratified_split",
]
