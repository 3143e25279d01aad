"""Sums and gradients for a CPU: blocks that stay in its cache, samples laid side by side."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax

from lejepa_jax.statistics.characteristic.horner import NUM_TERMS, Grid, vjp_horner
from lejepa_jax.statistics.characteristic.sincos import Complex, times, unit_complex, weigh


class Tuning(NamedTuple):
    """What a CPU likes.

    Attributes:
        block: Numbers handled at once. A dozen arrays of that size should stay in its cache.
        few_slices: With fewer slices than this, several samples share a row, to fill its vectors.
        row: Length of the rows of the sums. A multiple is taken apart. (Where the compiler shards
            samples over devices, it sums whole rows across them.)
        row_of_coefficients: Length of the rows of the gradient, where every sample has coefficients
            of its own.
        reach: Powers on either side of a center. More of them need fewer centers, and more room in
            cache.
        few_terms: Terms of Horner's rule that become one expression, where samples share rows.
    """

    block: int = 2**18
    few_slices: int = 128
    row: int = 512
    row_of_coefficients: int = 64
    reach: int = 4
    few_terms: int = 32


TUNING = Tuning()


def block_sums(x: jax.Array, weights: jax.Array | None, grid: Grid) -> Complex:
    r"""Sum several frequencies by each product, over blocks that stay in the cache of a CPU.

    With :math:`Z = e^{i a x}` and :math:`w = e^{i r \Delta t\, x}` the four sums of products of
    their real and imaginary parts give the sums of both :math:`Z w` and :math:`Z \bar w`: powers
    up to a few, on either side of a few centers, reach every frequency. That is as many sums as
    stepping from each frequency to the next would take, and next to nothing is stored.

    Args:
        x: Samples `(*batch, n, k)`.
        weights: One a sample.
        grid: Frequencies.

    Returns:
        Sums of cosines and sines `(*batch, k, m)`.
    """
    *batch, num_samples, num_slices = x.shape
    fold = _fold(num_samples, num_slices, TUNING.row)
    num_parts = max(1, num_slices // TUNING.row) if num_slices % TUNING.row == 0 else 1
    width = num_slices // num_parts
    # Where all of it is little, an eighth at a time takes less memory.
    largest = min(TUNING.block, max(x.size // num_parts // 8, TUNING.block // 8))

    def over_blocks(x: jax.Array, weights: jax.Array | None) -> Complex:
        blocks, weights = _in_blocks(x, weights, max(1, largest // x.shape[-1]))
        both = lax.map(
            lambda i: _sums_of_block(cast(jax.Array, _take(blocks, i)), _take(weights, i), grid),
            jnp.arange(blocks.shape[-2]),
        )
        cos, sin = (part.sum(0).reshape(grid.num, fold, width).sum(-2).T for part in both)
        return cos, sin

    def over_parts(x: jax.Array, weights: jax.Array | None) -> Complex:
        # Every block stores sums of a whole row: of long ones that would be more than is read.
        def part(start: jax.Array) -> Complex:
            return over_blocks(lax.dynamic_slice_in_dim(x, start, fold * width, 1), weights)

        return lax.map(part, width * jnp.arange(num_parts))

    # Leading axes in turn: sums over rows of more than two axes are slow there.
    flat = x.reshape(-1, num_samples // fold, fold * num_slices)
    flat_weights = None if weights is None else weights.reshape(-1, num_samples // fold, fold)
    cos, sin = lax.map(lambda one: over_parts(*one), (flat, flat_weights))
    shape = *batch, num_slices, grid.num
    return cos.reshape(shape), sin.reshape(shape)


def folded_vjp(x: jax.Array, cos_bar: jax.Array, sin_bar: jax.Array, grid: Grid) -> jax.Array:
    """Pull cotangents of the sums back to the samples, which lie side by side as in the sums."""
    *batch, num_samples, num_slices = x.shape
    fold = _fold(num_samples, num_slices, TUNING.row_of_coefficients)
    rows = x.reshape(*batch, num_samples // fold, fold * num_slices)
    cos_bar, sin_bar = (jnp.concatenate([bar] * fold, -2) for bar in (cos_bar, sin_bar))
    num_terms = NUM_TERMS if fold == 1 else TUNING.few_terms
    return vjp_horner(rows, cos_bar, sin_bar, grid, num_terms).reshape(x.shape)


def _sums_of_block(x: jax.Array, weights: jax.Array | None, grid: Grid) -> Complex:
    """Sums `(m, columns)` of one block `(rows, columns)`."""
    reach = min(TUNING.reach, grid.num // 2)
    num_centers = -(-grid.num // (2 * reach + 1))
    powers = [unit_complex(grid.step * x)]
    for exponent in range(2, reach + 2):
        half = exponent // 2
        powers.append(times(powers[half - 1], powers[exponent - half - 1]))
    # The weights enter once, in the first center, and ride along.
    center = powers[reach - 1]
    if grid.start != 0:
        center = times(unit_complex(grid.start * x), center)
    if weights is not None:
        center = weigh(center[0], weights), weigh(center[1], weights)
    stride = times(powers[reach - 1], powers[reach])

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
        return times(center, stride), (jnp.stack(cos), jnp.stack(sin))

    _, both = lax.scan(sums, center, length=num_centers)
    cos, sin = (part.reshape(-1, part.shape[-1])[: grid.num] for part in both)
    return cos, sin


def _fold(num_samples: int, num_slices: int, row: int) -> int:
    """How many samples to lay side by side, for rows of some length."""
    fold = 1
    if num_slices >= TUNING.few_slices:
        return fold
    while fold * num_slices < row and num_samples % (2 * fold) == 0:
        fold *= 2
    return fold


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
