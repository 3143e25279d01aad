"""The empirical characteristic function of one-dimensional projections."""

from lejepa_jax.statistics.characteristic.specification import Ecf, ecf

__all__ = ["Ecf", "ecf"]
