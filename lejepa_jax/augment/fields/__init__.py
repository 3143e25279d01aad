"""Views of series, planes and volumes, made on the device from keys."""

from lejepa_jax.augment.fields.drawing import draw_field, draw_fields
from lejepa_jax.augment.fields.sheet import field_table
from lejepa_jax.augment.fields.specs import OPERATIONS, FieldView, Operation
from lejepa_jax.augment.fields.views import eval_field, make_field_views

__all__ = [
    "OPERATIONS",
    "FieldView",
    "Operation",
    "draw_field",
    "draw_fields",
    "eval_field",
    "field_table",
    "make_field_views",
]
