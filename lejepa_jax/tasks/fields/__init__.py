"""Tasks on series, planes and volumes."""

from lejepa_jax.tasks.fields.pretraining import FieldPretrainingConfig, field_pretraining_task

__all__ = ["FieldPretrainingConfig", "field_pretraining_task"]
