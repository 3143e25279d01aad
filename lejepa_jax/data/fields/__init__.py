"""Fields as data: series, planes and volumes of any channels, in the type of their files."""

from lejepa_jax.data.fields.loading import READERS, load_fields
from lejepa_jax.data.fields.normalization import Normalization
from lejepa_jax.data.fields.reading import (
    FieldOptions,
    FieldReader,
    FieldRequest,
    FieldSets,
    Records,
)
from lejepa_jax.data.fields.source import FieldsInMemory, FieldsOnDemand, FieldSource, Layout
from lejepa_jax.data.fields.statistics import measure_channels

__all__ = [
    "READERS",
    "FieldOptions",
    "FieldReader",
    "FieldRequest",
    "FieldSets",
    "FieldSource",
    "FieldsInMemory",
    "FieldsOnDemand",
    "Layout",
    "Normalization",
    "Records",
    "load_fields",
    "measure_channels",
]
