"""Means over all pairs of a cloud, in blocks of rows, on one device or many."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lejepa_jax.checks import check_samples
from lejepa_jax.statistics.reductions import AxisName, masked_rows, over_devices, sample_count

# Pairs are formed for this many rows at once.
_BLOCK_ROWS = 256


class Pair(NamedTuple):
    """Some rows against all samples: squared norms and features broadcast against `inner`."""

    inner: jax.Array
    row: jax.Array
    column: jax.Array
    row_feature: jax.Array
    column_feature: jax.Array
    same: jax.Array


def mean_over_pairs(
    term: Callable[[Pair], jax.Array],
    samples: jax.Array,
    mask: jax.Array | None,
    axis_name: AxisName | None,
    feature: Callable[[jax.Array], jax.Array] = jnp.zeros_like,
) -> tuple[jax.Array, jax.Array]:
    """Average a symmetric term over all pairs of the global sample, and return the count too.

    Terms combine all that nearly cancels before anything is summed: means of large parts,
    subtracted afterwards, would leave few digits in float32.
    """
    x = masked_rows(samples, mask)
    weight = jnp.ones(x.shape[:1], jnp.float32) if mask is None else mask.astype(jnp.float32)
    start = jnp.int32(0)
    everyone, everyones_weight = x, weight
    if axis_name is not None:
        everyone, everyones_weight = (
            lax.all_gather(value, axis_name, axis=0, tiled=True) for value in (x, weight)
        )
        start = lax.axis_index(axis_name) * x.shape[0]
    column = jnp.square(everyone).sum(-1)
    column_feature = feature(column)

    # Blocks of rows, padded with rows of weight 0.
    num_blocks = -(-x.shape[0] // _BLOCK_ROWS)
    rows = -(-x.shape[0] // num_blocks)
    padding = num_blocks * rows - x.shape[0]
    x = jnp.pad(x, [(0, padding), (0, 0)]).reshape(num_blocks, rows, -1)
    weight = jnp.pad(weight, [(0, padding)]).reshape(num_blocks, rows)
    index = start + jnp.arange(num_blocks * rows, dtype=jnp.int32).reshape(num_blocks, rows)

    @jax.checkpoint
    def block(operands: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        x, weight, index = operands
        row = jnp.square(x).sum(-1)
        pair = Pair(
            inner=jnp.matmul(x, everyone.T, precision=lax.Precision.HIGHEST),
            row=row[:, None],
            column=column[None, :],
            row_feature=feature(row)[:, None],
            column_feature=column_feature[None, :],
            same=index[:, None] == jnp.arange(everyone.shape[0], dtype=jnp.int32)[None, :],
        )
        return (term(pair) * weight[:, None] * everyones_weight[None, :]).sum()

    total = over_devices(lax.map(block, (x, weight, index)).sum(), axis_name)
    count = sample_count(samples.shape[:1], mask=mask, axis_name=axis_name)
    return total / jnp.square(count), count


@jax.custom_jvp
def expm1(x: jax.Array) -> jax.Array:
    """Evaluate exp(x) - 1 with derivative exp(x), where JAX has (exp(x) - 1) + 1, rounded at 1."""
    return jnp.expm1(x)


expm1.defjvps(lambda tangent, _, x: tangent * jnp.exp(x))


def check_cloud(samples: jax.Array, mask: jax.Array | None) -> None:
    """Require `(n, d)` and a mask `(n,)`."""
    check_samples("samples", samples, mask)
    if samples.ndim != 2:
        raise ValueError(f"samples must have shape (n, d), got {samples.shape}")
