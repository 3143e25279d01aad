"""Tasks on series, planes and volumes."""

from lejepa_jax.tasks.fields.classification import FieldClassificationConfig
from lejepa_jax.tasks.fields.next_token import NextTokenConfig, next_token_loss, next_token_task
from lejepa_jax.tasks.fields.pretraining import FieldPretrainingConfig, field_pretraining_task

__all__ = [
    "FieldClassificationConfig",
    "FieldPretrainingConfig",
    "NextTokenConfig",
    "field_pretraining_task",
    "next_token_loss",
    "next_token_task",
]
