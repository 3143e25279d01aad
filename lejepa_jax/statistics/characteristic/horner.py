"""Gradients of sums at equally spaced frequencies: a polynomial in one complex number a sample."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lejepa_jax.statistics.characteristic.sincos import (
    Complex,
    UnitComplex,
    near_or_far,
    times,
)


class Grid(NamedTuple):
    """Frequencies `start + step * arange(num)`; hashable, so that it can be static."""

    start: float
    step: float
    num: int

    def frequencies(self) -> np.ndarray:
        """All of them, in float64."""
        return self.start + self.step * np.arange(self.num)


#: Terms of Horner's rule that become one expression, where rows have many slices.
NUM_TERMS = 64


def vjp_horner(
    x: jax.Array, cos_bar: jax.Array, sin_bar: jax.Array, grid: Grid, num_terms: int = NUM_TERMS
) -> jax.Array:
    r"""Evaluate :math:`\bar x = \mathrm{Re} \sum_m t_m (\bar S_m + i \bar C_m) e^{i t_m x}`.

    Args:
        x: Samples `(*batch, n, k)`.
        cos_bar: Cotangents of the sums of cosines `(*batch, k, m)`.
        sin_bar: Those of the sums of sines.
        grid: Frequencies.
        num_terms: Terms that become one expression.

    Returns:
        Cotangents of the samples, weights left out.
    """
    t = jnp.asarray(grid.frequencies(), jnp.float32)
    # (m, *batch, 1, k), so that a row of coefficients meets a block of samples.
    real, imag = (
        jnp.moveaxis(bar * jnp.broadcast_to(t, bar.shape), -1, 0)[..., None, :]
        for bar in (sin_bar, cos_bar)
    )

    def horner(first: int, last: int, unit_complex: UnitComplex, x: jax.Array) -> jax.Array:
        ratio = unit_complex(grid.step * x)
        value: Complex = real[last], imag[last]
        for m in reversed(range(first, last)):
            value = times(value, ratio)
            value = value[0] + real[m], value[1] + imag[m]
        start = grid.start + grid.step * first
        return times(value, unit_complex(start * x))[0] if start else value[0]

    # Unrolled, Horner's rule is one pass over the samples that keeps all else in registers.
    x_bar = jnp.zeros_like(x)
    for first in range(0, grid.num, num_terms):
        last = min(first + num_terms, grid.num) - 1
        scale = max(abs(grid.start + grid.step * first), abs(grid.step))
        x_bar = x_bar + near_or_far(functools.partial(horner, first, last), x, scale)
    return x_bar
