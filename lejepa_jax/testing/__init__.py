"""Checks for property tests of one's own: what a part must promise to work with the rest."""

from lejepa_jax.testing.encoders import check_encoder, check_sharded, random_variables

__all__ = ["check_encoder", "check_sharded", "random_variables"]
