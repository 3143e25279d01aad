"""The empirical characteristic function of one-dimensional projections.

The primitive under everything here: SIGReg asks it of embeddings along random directions, the
spherical Fourier transform of point clouds asks it of points along directions that cover the
sphere.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_samples

T = TypeVar("T")

# Rows handled at once on a CPU: the four (rows, k) arrays of the recurrence then stay in cache.
_CPU_BLOCK_ROWS = 128


class Ecf(NamedTuple):
    """Real and imaginary part of an empirical characteristic function."""

    real: Float[Array, "*batch k m"]
    imag: Float[Array, "*batch k m"]


def sample_count(
    shape: tuple[int, ...],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: str | None = None,
) -> Float[Array, "*#batch"]:
    """Count the valid samples of the global batch.

    Args:
        shape: Shape `(*batch, n)` of the local samples.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are spread.

    Returns:
        The count as float32, at least 1 so that an empty batch divides safely; a scalar when there
        is no mask, one count a batch entry otherwise.

    Examples:
        >>> sample_count((3, 8))
        Array(8., dtype=float32)
    """
    count = jnp.float32(shape[-1]) if mask is None else mask.sum(-1, dtype=jnp.float32)
    if axis_name is not None:
        count = lax.psum(count, axis_name)
    return jnp.maximum(count, 1)


def ecf(
    projections: Float[Array, "*batch n k"],
    t: Float[Array | np.ndarray, " m"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: str | None = None,
) -> Ecf:
    r"""Evaluate the empirical characteristic function over the global sample.

    .. math:: \hat\varphi_k(t_m) = \frac1n \sum_j e^{i t_m x_{jk}}

    No `(n, k, m)` tensor is ever formed. If `t` is known while tracing (a NumPy array, say) and
    equally spaced, one sine and cosine a sample serve every frequency: each next term is the last
    one times :math:`e^{i \Delta t\, x}`, and the gradient is a polynomial in the same complex
    number (Horner's rule), whose coefficients are the cotangents. This path differentiates in
    reverse mode only. Any other `t` is evaluated one frequency at a time and differentiates in
    every mode, with respect to `t` too.

    Args:
        projections: Samples on the last axis but one, one slice a column.
        t: Frequencies, in inverse units of the projections.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are spread. Sums and counts cross devices
            (`2 k m + 1` floats), so shards of unequal valid counts are exact.

    Returns:
        Means of cosine and sine, float32.

    Raises:
        ValueError: For a wrong rank, an empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> x = jnp.array([[0.0], [jnp.pi]])
        >>> ecf(x, np.array([0.0, 1.0, 2.0])).real.round(6) + 0.0
        Array([[1., 0., 1.]], dtype=float32)

    References:
        T. W. Epps, L. B. Pulley, A test for normality based on the empirical characteristic
        function, Biometrika 70, 1983. R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025,
        Section 4.2.3 and Algorithm 1.
    """
    check_samples("projections", projections, mask)
    x = projections.astype(jnp.float32)
    weights = None if mask is None else mask.astype(jnp.float32)
    grid = _equal_spacing(t)
    if grid is None:
        cos, sin = _sums_at(x, weights, jnp.asarray(t, jnp.float32))
    else:
        # Said again here, since functools.partial hides the types of the decorated function.
        cos, sin = cast(tuple[jax.Array, jax.Array], _sums_on_grid(x, weights, grid))
    if axis_name is not None:
        cos, sin = lax.psum(cos, axis_name), lax.psum(sin, axis_name)
    count = sample_count(x.shape[:-1], mask=mask, axis_name=axis_name)[..., None, None]
    count = jnp.broadcast_to(count, (*x.shape[:-2], 1, 1))
    return Ecf(cos / count, sin / count)


class _Grid(NamedTuple):
    """Frequencies `start + step * arange(num)`; hashable, so that it can be static."""

    start: float
    step: float
    num: int


def _equal_spacing(t: jax.Array | np.ndarray) -> _Grid | None:
    if isinstance(t, Tracer):
        return None
    t = np.asarray(t, np.float64)
    if t.ndim != 1 or t.size < 2:
        return None
    step = (t[-1] - t[0]) / (t.size - 1)
    # A tenth of a float32 rounding of the largest frequency would change no result.
    if step == 0 or np.abs(t - (t[0] + step * np.arange(t.size))).max() > 1e-6 * np.abs(t).max():
        return None
    return _Grid(float(t[0]), float(step), t.size)


def _sums_at(x: jax.Array, weights: jax.Array | None, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sum cosines and sines one frequency at a time, recomputing them for the gradient."""

    @jax.checkpoint
    def one(t_m: jax.Array) -> tuple[jax.Array, jax.Array]:
        cos, sin = jnp.cos(t_m * x), jnp.sin(t_m * x)
        if weights is not None:
            cos, sin = cos * weights[..., None], sin * weights[..., None]
        return cos.sum(-2), sin.sum(-2)

    cos, sin = lax.map(one, t)
    return jnp.moveaxis(cos, 0, -1), jnp.moveaxis(sin, 0, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _sums_on_grid(
    x: jax.Array, weights: jax.Array | None, grid: _Grid
) -> tuple[jax.Array, jax.Array]:
    """Sum cosines and sines at equally spaced frequencies by recurrence."""

    def block(operands: tuple[jax.Array, jax.Array | None]) -> tuple[jax.Array, jax.Array]:
        x, weights = operands
        ratio = _unit_complex(grid.step * x)
        # The weights enter once, in the first term, and ride along.
        if grid.start != 0:
            first = _unit_complex(grid.start * x)
            if weights is not None:
                first = (first[0] * weights[..., None], first[1] * weights[..., None])
            total = (first[0].sum(-2), first[1].sum(-2))
            second = _times(first, ratio)
        else:
            ones = (
                jnp.ones_like(x)
                if weights is None
                else jnp.broadcast_to(weights[..., None], x.shape)
            )
            total = (ones.sum(-2), jnp.zeros_like(x[..., 0, :]))
            second = ratio if weights is None else (ratio[0] * ones, ratio[1] * ones)

        def advance(term, _):
            return _times(term, ratio), (term[0].sum(-2), term[1].sum(-2))

        _, (cos, sin) = lax.scan(advance, second, length=grid.num - 1)
        return (
            jnp.concatenate([total[0][None], cos]),
            jnp.concatenate([total[1][None], sin]),
        )

    def over_blocks(blocks: tuple[jax.Array, jax.Array | None]) -> tuple[jax.Array, jax.Array]:
        cos, sin = lax.map(block, blocks)
        return jnp.moveaxis(cos.sum(0), 0, -1), jnp.moveaxis(sin.sum(0), 0, -1)

    return _in_blocks(over_blocks, x, weights)


def _sums_on_grid_fwd(x, weights, grid):
    return _sums_on_grid(x, weights, grid), (x, weights)


def _sums_on_grid_bwd(grid, residuals, cotangents):
    r"""Evaluate :math:`\bar x = \mathrm{Re} \sum_m t_m (\bar S_m + i \bar C_m) e^{i t_m x}`."""
    x, weights = residuals
    t = jnp.asarray(grid.start + grid.step * np.arange(grid.num), jnp.float32)
    cos_bar, sin_bar = cotangents
    # (m, *batch, 1, k), so that a row of coefficients meets a block of samples.
    real, imag = (
        jnp.moveaxis(bar * jnp.broadcast_to(t, bar.shape), -1, 0)[..., None, :]
        for bar in (sin_bar, cos_bar)
    )

    def block(operands: tuple[jax.Array, jax.Array | None]) -> jax.Array:
        x, weights = operands
        ratio = _unit_complex(grid.step * x)
        leading = jnp.broadcast_to(real[-1], x.shape), jnp.broadcast_to(imag[-1], x.shape)

        def step(value, coefficient):
            return _times((value[0] + coefficient[0], value[1] + coefficient[1]), ratio), None

        # Carries are products with data, never constants: under shard_map they vary by device.
        inner = real[1:-1], imag[1:-1]
        value, _ = lax.scan(step, _times(leading, ratio), inner, reverse=True)
        if grid.start != 0:
            value = (value[0] + real[0], value[1] + imag[0])
            value = _times(value, _unit_complex(grid.start * x))
        return value[0] if weights is None else value[0] * weights[..., None]

    def over_blocks(blocks: tuple[jax.Array, jax.Array | None]) -> jax.Array:
        x_bar = jnp.moveaxis(lax.map(block, blocks), 0, -2)
        return x_bar.reshape(*x.shape[:-2], -1, x.shape[-1])[..., : x.shape[-2], :]

    x_bar = _in_blocks(over_blocks, x, weights)
    return x_bar, None if weights is None else jnp.zeros_like(weights)


_sums_on_grid.defvjp(_sums_on_grid_fwd, _sums_on_grid_bwd)


def _unit_complex(angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.cos(angle), jnp.sin(angle)


def _times(
    a: tuple[jax.Array, jax.Array], b: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _in_blocks(function: Callable[..., T], x: jax.Array, weights: jax.Array | None) -> T:
    """Call `function` on `(x, weights)` cut into blocks of rows, as few as the platform likes.

    A CPU wants each block of `(rows, k)` numbers in its cache. An accelerator wants one block: a
    loop over many small ones would be bound by the launch of its kernels.
    """

    def cut(max_rows: int, x: jax.Array, weights: jax.Array | None) -> T:
        num_samples = x.shape[-2]
        num_blocks = -(-num_samples // max_rows)
        rows = -(-num_samples // num_blocks)
        padding = rows * num_blocks - num_samples
        if padding:
            if weights is None:
                weights = jnp.ones_like(x[..., 0])
            batch_padding = [(0, 0)] * (x.ndim - 2)
            x = jnp.pad(x, [*batch_padding, (0, padding), (0, 0)])
            weights = jnp.pad(weights, [*batch_padding, (0, padding)])

        def split(array: jax.Array, axis: int) -> jax.Array:
            # Rows that are num_blocks apart share a block, so that a batch sharded over devices
            # by the compiler stays where it is: every block has rows of every device.
            shape = array.shape
            array = array.reshape(*shape[:axis], rows, num_blocks, *shape[axis + 1 :])
            return jnp.moveaxis(array, axis + 1, 0)

        blocks = split(x, x.ndim - 2)
        return function((blocks, None if weights is None else split(weights, x.ndim - 2)))

    return lax.platform_dependent(
        x,
        weights,
        cpu=functools.partial(cut, _CPU_BLOCK_ROWS),
        default=functools.partial(cut, x.shape[-2]),
    )
