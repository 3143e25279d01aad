"""Sorted columns of a sample that may be masked and sharded over devices."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_samples
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.reductions import AxisName, sample_count


class SortedColumns(NamedTuple):
    """The order statistics of each column. All fields have the same number of axes."""

    values: Float[Array, "*batch n k"]  # ascending; 0 beyond the count
    rank: Float[Array, "*#batch n 1"]  # 1, 2, ...
    valid: Bool[Array, "*#batch n 1"]  # rank <= count
    count: Float[Array, "*#batch 1 1"]


@accept_explicit_axes
def over_sorted_columns(
    statistic: Callable[[SortedColumns], Float[Array, "*batch k"]],
    projections: Float[Array, "*batch n k"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch k"]:
    """Evaluate a function of the order statistics of each column of the global sample.

    Ranks are exact on any number of devices. Columns are independent of each other, so rather than
    gathering everything everywhere, the devices swap rows for columns (one all-to-all): each sorts
    the whole sample of its share of the columns, with that share of the work and memory.

    Args:
        statistic: Function of the sorted columns, one value a column, finite for any sample.
        projections: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        One value a column, the same on every device.

    Raises:
        ValueError: For a wrong rank, an empty axis, a mask of another shape, an integer dtype.

    Examples:
        >>> def median(columns):
        ...     return columns.values[..., columns.values.shape[-2] // 2, :]
        >>> over_sorted_columns(median, jnp.array([[3.0], [1.0], [2.0]]))
        Array([2.], dtype=float32)
    """
    check_samples("projections", projections, mask)
    x = projections.astype(jnp.float32)
    if axis_name is None:
        return statistic(sort_columns(x, mask))
    num_devices = lax.axis_size(axis_name)
    num_columns = x.shape[-1]
    share = -(-num_columns // num_devices)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, share * num_devices - num_columns)])
    x = lax.all_to_all(x, axis_name, split_axis=x.ndim - 1, concat_axis=x.ndim - 2, tiled=True)
    if mask is not None:
        mask = lax.all_gather(mask, axis_name, axis=mask.ndim - 1, tiled=True)
    value = statistic(sort_columns(x, mask))
    # A sum over devices, each of which holds its own columns and zeros, and not an all-gather: its
    # result is known to be the same everywhere, so that gradients obey the contract of `sigreg`.
    mine = jnp.arange(num_devices) == lax.axis_index(axis_name)
    mine = mine.reshape((1,) * (value.ndim - 1) + (num_devices, 1))
    value = lax.psum(jnp.where(mine, value[..., None, :], 0), axis_name)
    return value.reshape(*value.shape[:-2], -1)[..., :num_columns]


def sort_columns(
    x: Float[Array, "*batch n k"], mask: Bool[Array, "*batch n"] | None
) -> SortedColumns:
    """Sort each column; what the mask leaves out goes last and becomes 0."""
    lead = (1,) * (x.ndim - 2)
    rank = jnp.arange(1, x.shape[-2] + 1, dtype=jnp.float32).reshape(*lead, -1, 1)
    if mask is None:
        count = sample_count(x.shape[:-1]).reshape(*lead, 1, 1)
        return SortedColumns(jnp.sort(x, axis=-2), rank, jnp.ones_like(rank, bool), count)
    # Not the clamped count: of an empty sample nothing is valid.
    valid = rank <= mask.sum(-1, dtype=jnp.float32)[..., None, None]
    values = jnp.sort(jnp.where(mask[..., None], x, jnp.inf), axis=-2)
    count = sample_count(x.shape[:-1], mask=mask)[..., None, None]
    return SortedColumns(jnp.where(valid, values, 0), rank, valid, count)


def sum_of_valid(columns: SortedColumns, terms: Float[Array, "*batch n k"]) -> jax.Array:
    """Sum the terms of valid ranks, keeping the axis."""
    return jnp.where(columns.valid, terms, 0).sum(-2, keepdims=True)
