"""Sums and gradients for TPU and GPU: one pass over the samples, without a loop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lejepa_jax.statistics.characteristic.horner import Grid, vjp_horner
from lejepa_jax.statistics.characteristic.sincos import (
    Complex,
    UnitComplex,
    polynomials,
    times,
    weigh,
)


class Tuning(NamedTuple):
    """What an accelerator likes.

    Attributes:
        together: Frequencies whose sums a TPU takes in one pass over the samples.
        with_product: Terms of Horner's rule that the compiler for TPU makes one pass of, together
            with the product of matrices that follows. Of more it would store all, unless a barrier
            puts the product later.
    """

    together: int = 32
    with_product: int = 20


TUNING = Tuning()


def power_sums(x: jax.Array, weights: jax.Array | None, grid: Grid) -> Complex:
    """Sum the powers of one complex number by one reduction of many operands.

    The compiler for TPU makes that one pass, and for its arithmetic units a cosine and a sine are
    expensive. The one for GPU would store all powers.
    """
    sums = []
    for group in np.array_split(grid.frequencies(), -(-grid.num // TUNING.together)):
        first = jnp.ones_like(x), jnp.zeros_like(x)
        if group[0] != 0:
            first = polynomials(np.float32(group[0]) * x)
        if weights is not None:
            first = weigh(first[0], weights), weigh(first[1], weights)
        powers, ratio = [first], polynomials(np.float32(grid.step) * x)
        while len(powers) < len(group):
            powers += [times(power, ratio) for power in powers[: len(group) - len(powers)]]
            ratio = times(ratio, ratio)
        parts = [part for power in powers for part in power]
        zeros = [np.float32(0)] * len(parts)
        sums += lax.reduce(parts, zeros, lambda a, b: jax.tree.map(jnp.add, a, b), (x.ndim - 2,))
    return jnp.stack(sums[0::2], -1), jnp.stack(sums[1::2], -1)


def direct_sums(
    x: jax.Array, weights: jax.Array | None, grid: Grid, unit_complex: UnitComplex
) -> Complex:
    """Sum the cosine and the sine of every angle, with nothing to share that would be stored.

    The compiler for GPU makes that one pass each, with all angles in registers.
    """
    t = jnp.asarray(grid.frequencies(), jnp.float32)
    cos, sin = unit_complex(x[..., None] * jnp.expand_dims(t, range(x.ndim)))
    if weights is not None:
        cos, sin = cos * weights[..., None, None], sin * weights[..., None, None]
    return cos.sum(-3), sin.sum(-3)


def separate_vjp(x: jax.Array, cos_bar: jax.Array, sin_bar: jax.Array, grid: Grid) -> jax.Array:
    """Pull cotangents back, in a pass apart from what follows where there are many terms."""
    x_bar = vjp_horner(x, cos_bar, sin_bar, grid)
    return lax.optimization_barrier(x_bar) if grid.num > TUNING.with_product else x_bar
