"""Checks for property tests of one's own: what a part must promise to work with the rest."""

from lejepa_jax.testing.encoders import check_encoder, check_sharded, random_variables
from lejepa_jax.testing.regularizers import check_null_means, check_regularizer
from lejepa_jax.testing.statistics import check_devices, check_statistic

__all__ = [
    "check_devices",
    "check_encoder",
    "check_null_means",
    "check_regularizer",
    "check_sharded",
    "check_statistic",
    "random_variables",
]
