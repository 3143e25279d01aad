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
from lejepa_jax.statistics.reductions import AxisName

T = TypeVar("T")
_Complex = tuple[jax.Array, jax.Array]  # real and imaginary part

# Numbers handled at once on a CPU: a dozen arrays of that size should stay in its cache.
_CPU_BLOCK = 2**18
# Rows of the second number are what a CPU likes: slices fewer than the first share one, to fill its
# vectors, and a multiple is taken apart; but rows of the third where every sample has coefficients
# of its own. (Where the compiler spreads samples over devices, it adds up whole rows across them.)
_FEW_SLICES, _ROW, _ROW_OF_COEFFICIENTS = 128, 512, 64
# Powers on either side of a center; more of them need fewer centers, and more room in cache.
_REACH = 4
# Terms of Horner's rule that become one expression: of rows with many slices, and with few.
_TERMS, _FEW_TERMS = 64, 32
# Frequencies whose sums a TPU takes in one pass over the samples.
_TOGETHER = 32
# Terms of Horner's rule that the compiler for TPU makes one pass of, together with the product of
# matrices that follows. More it would all write down, unless told that the product comes later.
_WITH_PRODUCT = 20

# Cosine and sine: pi/2 in three parts, the first two so short that their multiples up to the
# largest angle are exact (Cody and Waite), and polynomials in the square of the rest, fitted on
# [0, (pi/4)^2] to the least largest error (2e-9 and 1e-10, below float32 rounding).
_MAX_REDUCED_ANGLE = 8192.0
_HALF_PI_PARTS = tuple(map(np.float32, (1.5703125, 4.837512969970703125e-4, 7.549789948768648e-8)))
_SINE = tuple(map(np.float32, (-0.000194956, 0.0083319784, -0.1666665066)))
_COSINE = tuple(map(np.float32, (2.4438415531e-05, -1.3887367213e-03, 4.1666646861e-02)))


class Ecf(NamedTuple):
    """Real and imaginary part of an empirical characteristic function."""

    real: Float[Array, "*batch k m"]
    imag: Float[Array, "*batch k m"]


def sample_count(
    shape: tuple[int, ...],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
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
    axis_name: AxisName | None = None,
) -> Ecf:
    r"""Evaluate the empirical characteristic function over the global sample.

    .. math:: \hat\varphi_k(t_m) = \frac1n \sum_j e^{i t_m x_{jk}}

    No `(n, k, m)` tensor is ever formed. If `t` is known while tracing (a NumPy array, say) and
    equally spaced, one sine and cosine a sample serve every frequency: all terms are powers of
    :math:`e^{i \Delta t\, x}`, and the gradient is a polynomial in the same complex number
    (Horner's rule), whose coefficients are the cotangents. This path differentiates in reverse
    mode only, and on TPU an angle beyond 8192 is off by a rounding of its own. Any other `t` is
    evaluated one frequency at a time and differentiates in every mode, with respect to `t` too.

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
        cos, sin = cast(_Complex, _sums_on_grid(x, weights, grid, axis_name is None))
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


def _fold(num_samples: int, num_slices: int, row: int) -> int:
    """How many samples to lay side by side, for rows of some length."""
    fold = 1
    if num_slices >= _FEW_SLICES:
        return fold
    while fold * num_slices < row and num_samples % (2 * fold) == 0:
        fold *= 2
    return fold


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _sums_on_grid(
    x: jax.Array, weights: jax.Array | None, grid: _Grid, by_compiler: bool
) -> _Complex:
    """Sum cosines and sines at equally spaced frequencies, in the way that suits the platform.

    The samples may be spread over devices `by_compiler`, which knows no axis to name.
    """
    together = functools.partial(_sums_together, grid=grid)
    apart = functools.partial(_sums_apart, grid=grid)
    # A reduction of many operands across devices is not added up there but gathered, one by one.
    gathers = by_compiler and jax.device_count() > 1
    return lax.platform_dependent(
        x,
        weights,
        cpu=functools.partial(_sums_by_blocks, grid=grid),
        tpu=functools.partial(apart, unit_complex=_polynomials) if gathers else together,
        default=functools.partial(apart, unit_complex=_library),
    )


def _sums_by_blocks(x: jax.Array, weights: jax.Array | None, grid: _Grid) -> _Complex:
    r"""Sum several frequencies by each product, over blocks that stay in the cache of a CPU.

    With :math:`Z = e^{i a x}` and :math:`w = e^{i r \Delta t\, x}` the four sums of products of
    their real and imaginary parts give the sums of both :math:`Z w` and :math:`Z \bar w`: powers
    up to a few, on either side of a few centers, reach every frequency. That is as many sums as
    stepping from each frequency to the next would take, and next to nothing is written.
    """
    reach = min(_REACH, grid.num // 2)
    span = 2 * reach + 1
    num_centers = -(-grid.num // span)

    def block(x: jax.Array, weights: jax.Array | None) -> _Complex:
        powers = [_unit_complex(grid.step * x)]
        for exponent in range(2, reach + 2):
            half = exponent // 2
            powers.append(_times(powers[half - 1], powers[exponent - half - 1]))
        # The weights enter once, in the first center, and ride along.
        center = powers[reach - 1]
        if grid.start != 0:
            center = _times(_unit_complex(grid.start * x), center)
        if weights is not None:
            center = _weigh(center[0], weights), _weigh(center[1], weights)
        stride = _times(powers[reach - 1], powers[reach])

        def sums(center, _):
            direct = [part.sum(-2) for part in center]
            products = [
                [(part * other).sum(-2) for part in center for other in power]
                for power in powers[:reach]
            ]
            cos, sin = [direct[0]], [direct[1]]
            for real_real, real_imag, imag_real, imag_imag in products:
                cos = [real_real + imag_imag, *cos, real_real - imag_imag]
                sin = [imag_real - real_imag, *sin, imag_real + real_imag]
            return _times(center, stride), (jnp.stack(cos), jnp.stack(sin))

        _, both = lax.scan(sums, center, length=num_centers)
        cos, sin = (part.reshape(-1, part.shape[-1])[: grid.num] for part in both)
        return cos, sin

    *batch, num_samples, num_slices = x.shape
    fold = _fold(num_samples, num_slices, _ROW)
    num_parts = max(1, num_slices // _ROW) if num_slices % _ROW == 0 else 1
    width = num_slices // num_parts
    # Where all of it is little, an eighth at a time takes less memory.
    largest = min(_CPU_BLOCK, max(x.size // num_parts // 8, _CPU_BLOCK // 8))

    def over_blocks(x: jax.Array, weights: jax.Array | None) -> _Complex:
        blocks, weights = _in_blocks(x, weights, max(1, largest // x.shape[-1]))
        both = lax.map(
            lambda i: block(cast(jax.Array, _take(blocks, i)), _take(weights, i)),
            jnp.arange(blocks.shape[-2]),
        )
        cos, sin = (part.sum(0).reshape(grid.num, fold, width).sum(-2).T for part in both)
        return cos, sin

    def over_parts(x: jax.Array, weights: jax.Array | None) -> _Complex:
        # Every block writes sums of a whole row: of long ones that would be more than is read.
        def part(start: jax.Array) -> _Complex:
            return over_blocks(lax.dynamic_slice_in_dim(x, start, fold * width, 1), weights)

        return lax.map(part, width * jnp.arange(num_parts))

    # Leading axes in turn: sums over rows of more than two axes are slow there.
    flat = x.reshape(-1, num_samples // fold, fold * num_slices)
    flat_weights = None if weights is None else weights.reshape(-1, num_samples // fold, fold)
    cos, sin = lax.map(lambda one: over_parts(*one), (flat, flat_weights))
    shape = *batch, num_slices, grid.num
    return cos.reshape(shape), sin.reshape(shape)


def _sums_together(x: jax.Array, weights: jax.Array | None, grid: _Grid) -> _Complex:
    """Sum the powers of one complex number by one reduction of many operands.

    The compiler for TPU makes that one pass, and for its arithmetic units a cosine and a sine are
    dear. The one for GPU would write all powers down.
    """
    sums = []
    t = grid.start + grid.step * np.arange(grid.num)
    for group in np.array_split(t, -(-grid.num // _TOGETHER)):
        first = jnp.ones_like(x), jnp.zeros_like(x)
        if group[0] != 0:
            first = _polynomials(np.float32(group[0]) * x)
        if weights is not None:
            first = _weigh(first[0], weights), _weigh(first[1], weights)
        powers, ratio = [first], _polynomials(np.float32(grid.step) * x)
        while len(powers) < len(group):
            powers += [_times(power, ratio) for power in powers[: len(group) - len(powers)]]
            ratio = _times(ratio, ratio)
        parts = [part for power in powers for part in power]
        zeros = [np.float32(0)] * len(parts)
        sums += lax.reduce(parts, zeros, lambda a, b: jax.tree.map(jnp.add, a, b), (x.ndim - 2,))
    return jnp.stack(sums[0::2], -1), jnp.stack(sums[1::2], -1)


def _sums_apart(
    x: jax.Array,
    weights: jax.Array | None,
    grid: _Grid,
    unit_complex: Callable[[jax.Array], _Complex],
) -> _Complex:
    """Sum the cosine and the sine of every angle, with nothing to share that could be written down.

    The compiler for GPU makes that one pass each, with all angles in registers.
    """
    t = jnp.asarray(grid.start + grid.step * np.arange(grid.num), jnp.float32)
    cos, sin = unit_complex(x[..., None] * jnp.expand_dims(t, range(x.ndim)))
    if weights is not None:
        cos, sin = cos * weights[..., None, None], sin * weights[..., None, None]
    return cos.sum(-3), sin.sum(-3)


def _sums_on_grid_fwd(x, weights, grid, by_compiler):
    return _sums_on_grid(x, weights, grid, by_compiler), (x, weights)


def _sums_on_grid_bwd(grid, by_compiler, residuals, cotangents):
    del by_compiler  # the gradient of a sample is its own
    x, weights = residuals
    slopes = functools.partial(_slopes, grid=grid, num_terms=_TERMS)

    def cpu(x: jax.Array, cos_bar: jax.Array, sin_bar: jax.Array) -> jax.Array:
        # Samples side by side, as in the sums.
        *batch, num_samples, num_slices = x.shape
        fold = _fold(num_samples, num_slices, _ROW_OF_COEFFICIENTS)
        rows = x.reshape(*batch, num_samples // fold, fold * num_slices)
        cos_bar, sin_bar = (jnp.concatenate([bar] * fold, -2) for bar in (cos_bar, sin_bar))
        num_terms = _TERMS if fold == 1 else _FEW_TERMS
        return _slopes(rows, cos_bar, sin_bar, grid, num_terms).reshape(x.shape)

    def tpu(x: jax.Array, cos_bar: jax.Array, sin_bar: jax.Array) -> jax.Array:
        x_bar = slopes(x, cos_bar, sin_bar)
        return lax.optimization_barrier(x_bar) if grid.num > _WITH_PRODUCT else x_bar

    x_bar = lax.platform_dependent(x, *cotangents, cpu=cpu, tpu=tpu, default=slopes)
    if weights is None:
        return x_bar, None
    return x_bar * weights[..., None], jnp.zeros_like(weights)


def _slopes(
    x: jax.Array, cos_bar: jax.Array, sin_bar: jax.Array, grid: _Grid, num_terms: int
) -> jax.Array:
    r"""Evaluate :math:`\bar x = \mathrm{Re} \sum_m t_m (\bar S_m + i \bar C_m) e^{i t_m x}`."""
    t = jnp.asarray(grid.start + grid.step * np.arange(grid.num), jnp.float32)
    # (m, *batch, 1, k), so that a row of coefficients meets a block of samples.
    real, imag = (
        jnp.moveaxis(bar * jnp.broadcast_to(t, bar.shape), -1, 0)[..., None, :]
        for bar in (sin_bar, cos_bar)
    )

    def horner(
        first: int, last: int, unit_complex: Callable[[jax.Array], _Complex], x: jax.Array
    ) -> jax.Array:
        ratio = unit_complex(grid.step * x)
        value = real[last], imag[last]
        for m in reversed(range(first, last)):
            value = _times(value, ratio)
            value = value[0] + real[m], value[1] + imag[m]
        start = grid.start + grid.step * first
        return _times(value, unit_complex(start * x))[0] if start else value[0]

    # Written out, Horner's rule is one pass over the samples that keeps all else in registers.
    x_bar = jnp.zeros_like(x)
    for first in range(0, grid.num, num_terms):
        last = min(first + num_terms, grid.num) - 1
        scale = max(abs(grid.start + grid.step * first), abs(grid.step))
        x_bar = x_bar + _near_or_far(functools.partial(horner, first, last), x, scale)
    return x_bar


_sums_on_grid.defvjp(_sums_on_grid_fwd, _sums_on_grid_bwd)


def _unit_complex(angle: jax.Array) -> _Complex:
    return _near_or_far(lambda unit_complex, angle: unit_complex(angle), angle, 1.0)


def _near_or_far(
    function: Callable[[Callable[[jax.Array], _Complex], jax.Array], T], x: jax.Array, scale: float
) -> T:
    """Call `function(unit_complex, x)` with the way to cosines and sines that the platform likes.

    On a CPU and a TPU that is by polynomials, which they compute on whole vectors. On a CPU, angles
    as large as `scale * x` may want the function of the library.
    """

    def cpu(x: jax.Array) -> T:
        near = jnp.abs(x).max() * np.float32(scale) < _MAX_REDUCED_ANGLE
        by = functools.partial
        return lax.cond(near, by(function, _polynomials), by(function, _library), x)

    tpu, default = (functools.partial(function, way) for way in (_polynomials, _library))
    return lax.platform_dependent(x, cpu=cpu, tpu=tpu, default=default)


def _library(angle: jax.Array) -> _Complex:
    return jnp.cos(angle), jnp.sin(angle)


def _polynomials(angle: jax.Array) -> _Complex:
    """Cosine and sine to 1.2e-7, of angles below 8192.

    Beyond, they are those of an angle that is off by one rounding; beyond 2^21, where a rounding
    is an eighth, they are within [-1, 1] and no more can be said.
    """
    quarters = jnp.round(angle * np.float32(2 / np.pi))
    rest = angle
    for part in _HALF_PI_PARTS:
        rest = rest - quarters * part
    # Rounding alone takes it further than pi/4, where the polynomials end.
    rest = jnp.clip(rest, -1, 1)
    square = rest * rest
    sin = rest + rest * square * _polynomial(square, _SINE)
    cos = 1 - 0.5 * square + square * square * _polynomial(square, _COSINE)
    turn = quarters.astype(jnp.int32)
    odd = turn % 2 != 0
    cos, sin = jnp.where(odd, sin, cos), jnp.where(odd, cos, sin)
    # Which quarters are negative follows from the second bit of their number.
    return (
        jnp.where((turn + 1) & 2 != 0, -cos, cos),
        jnp.where(turn & 2 != 0, -sin, sin),
    )


def _polynomial(x: jax.Array, coefficients: tuple[np.float32, ...]) -> jax.Array:
    value = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def _times(a: _Complex, b: _Complex) -> _Complex:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _in_blocks(
    x: jax.Array, weights: jax.Array | None, max_rows: int
) -> tuple[jax.Array, jax.Array | None]:
    """Split the axis of samples in two, (*batch, rows, blocks, ...), adding some of weight zero."""
    num_samples = x.shape[-2]
    num_blocks = -(-num_samples // max_rows)
    rows = -(-num_samples // num_blocks)
    padding = rows * num_blocks - num_samples
    if padding:
        if weights is None:
            weights = jnp.ones_like(x[..., :1])
        around = [(0, 0)] * (x.ndim - 2)
        x = jnp.pad(x, [*around, (0, padding), (0, 0)])
        weights = jnp.pad(weights, [*around, (0, padding), (0, 0)])

    # Rows that are num_blocks apart share a block, so that a batch sharded over devices by the
    # compiler stays where it is: every block has rows of every device.
    def split(array: jax.Array) -> jax.Array:
        return array.reshape(*array.shape[:-2], rows, num_blocks, array.shape[-1])

    return split(x), None if weights is None else split(weights)


def _take(array: jax.Array | None, index: jax.Array) -> jax.Array | None:
    if array is None:
        return None
    return lax.dynamic_index_in_dim(array, index, array.ndim - 2, keepdims=False)


def _weigh(values: jax.Array, weights: jax.Array) -> jax.Array:
    return (values.reshape(*weights.shape, -1) * weights[..., None]).reshape(values.shape)
