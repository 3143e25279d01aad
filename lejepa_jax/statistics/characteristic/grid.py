"""Sums at equally spaced frequencies: which form runs where, and their custom derivative."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from lejepa_jax.statistics.characteristic.accelerator import (
    direct_sums,
    power_sums,
    separate_vjp,
)
from lejepa_jax.statistics.characteristic.cpu import block_sums, folded_vjp
from lejepa_jax.statistics.characteristic.horner import Grid, vjp_horner
from lejepa_jax.statistics.characteristic.sincos import Complex, native, polynomials


class Form(NamedTuple):
    """One way to the sums, and one to their gradient.

    Attributes:
        forward: `(x, weights, grid)` to the sums of cosines and sines.
        backward: `(x, cos_bar, sin_bar, grid)` to the cotangents of the samples.
    """

    forward: Callable[..., Complex]
    backward: Callable[..., jax.Array]


#: The form of each platform, where samples are on one device or cross devices by a named axis.
FORMS = {
    # A product serves several frequencies and little is stored: memory traffic is what costs.
    "cpu": Form(block_sums, folded_vjp),
    # A reduction of many operands is one pass, and multiplying is cheaper than a cosine.
    "tpu": Form(power_sums, separate_vjp),
    # Cosine and sine are cheap on a GPU, and a reduction of many operands would be stored.
    "default": Form(functools.partial(direct_sums, unit_complex=native), vjp_horner),
}
#: The forms where the compiler alone may shard the samples.
FORMS_OF_SHARDED = FORMS | {
    # There a reduction of many operands is not summed across devices but gathered, one by one.
    "tpu": Form(functools.partial(direct_sums, unit_complex=polynomials), separate_vjp),
}


def equal_spacing(t: jax.Array | np.ndarray) -> Grid | None:
    """Find the grid that frequencies known while tracing lie on, or None."""
    if isinstance(t, Tracer):
        return None
    t = np.asarray(t, np.float64)
    if t.ndim != 1 or t.size < 2:
        return None
    step = (t[-1] - t[0]) / (t.size - 1)
    # A tenth of a float32 rounding of the largest frequency would change no result.
    if step == 0 or np.abs(t - (t[0] + step * np.arange(t.size))).max() > 1e-6 * np.abs(t).max():
        return None
    return Grid(float(t[0]), float(step), t.size)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _sums(x: jax.Array, weights: jax.Array | None, grid: Grid, by_compiler: bool) -> Complex:
    gathers = by_compiler and jax.device_count() > 1
    forms = FORMS_OF_SHARDED if gathers else FORMS
    ways = {name: functools.partial(form.forward, grid=grid) for name, form in forms.items()}
    return lax.platform_dependent(x, weights, **ways)


@_sums.defjvp
def _sums_jvp(grid, by_compiler, primals, tangents):
    """One frequency at a time: forward mode meets this in Hessians only, and saves memory there."""
    x, weights = primals
    change = tangents[0] if weights is None else tangents[0] * weights[..., None]

    def one(t_m: jax.Array) -> Complex:
        moved = t_m * change
        return -(jnp.sin(t_m * x) * moved).sum(-2), (jnp.cos(t_m * x) * moved).sum(-2)

    cos, sin = lax.map(one, jnp.asarray(grid.frequencies(), jnp.float32))
    moved = jnp.moveaxis(cos, 0, -1), jnp.moveaxis(sin, 0, -1)
    return _sums(x, weights, grid, by_compiler), moved


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def sums_on_grid(x: jax.Array, weights: jax.Array | None, grid: Grid, by_compiler: bool) -> Complex:
    """Sum cosines and sines at equally spaced frequencies, in the way that suits the platform.

    Args:
        x: Samples `(*batch, n, k)`.
        weights: One a sample `(*batch, n)`.
        grid: Frequencies.
        by_compiler: Whether the compiler may shard the samples over devices, which knows no axis to
            name.

    Returns:
        Sums of cosines and sines `(*batch, k, m)`.
    """
    return _sums(x, weights, grid, by_compiler)


def _forward(x, weights, grid, by_compiler):
    # Not the decorated function, so that forward mode over reverse (jax.hessian) goes through.
    return _sums(x, weights, grid, by_compiler), (x, weights)


def _backward(grid, by_compiler, residuals, cotangents):
    del by_compiler  # the gradient of a sample is its own
    x, weights = residuals
    ways = {name: functools.partial(form.backward, grid=grid) for name, form in FORMS.items()}
    x_bar = lax.platform_dependent(x, *cotangents, **ways)
    if weights is None:
        return x_bar, None
    return x_bar * weights[..., None], jnp.zeros_like(weights)


sums_on_grid.defvjp(_forward, _backward)
