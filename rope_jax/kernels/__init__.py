"""Positional kernels, as rotary spectra and as biases of attention scores."""

from rope_jax.kernels.biases import (
    alibi,
    alibi_slopes,
    distances,
    euclidean,
    pairwise_bias,
    relative_bias,
    relative_index,
)
from rope_jax.kernels.radial import (
    Kernel,
    exponential,
    gaussian,
    matern,
    periodic,
    scale_free,
    von_mises_fisher,
    wendland,
)

__all__ = [
    "Kernel",
    "alibi",
    "alibi_slopes",
    "distances",
    "euclidean",
    "exponential",
    "gaussian",
    "matern",
    "pairwise_bias",
    "periodic",
    "relative_bias",
    "relative_index",
    "scale_free",
    "von_mises_fisher",
    "wendland",
]
