"""Sums, counts and means over the global batch: masked, and over the devices it is sharded over.

What the mask leaves out is replaced by 0, never multiplied by it, so that NaN or Inf there reaches
neither values nor gradients. Sums and counts cross devices, not means, so that shards of unequal
valid counts are exact.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

#: The mapped axis that samples are sharded over, or all of those axes.
AxisName = str | tuple[str, ...]

Tree = TypeVar("Tree")


def global_mean(
    values: Float[Array, "*shape"],
    *,
    mask: Bool[Array, "*shape"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    """Average over all devices: the sum of what counts over how much counts.

    Args:
        values: What to average.
        mask: True for what counts; anything may stand elsewhere, NaN too.
        axis_name: Mapped axis over which the batch is sharded.

    Returns:
        The mean in float32, 0 where nothing counts; the same on every device.

    Examples:
        >>> print(global_mean(jnp.array([1.0, jnp.inf]), mask=jnp.array([True, False])))
        1.0
    """
    values = values.astype(jnp.float32)
    total, count = values.sum(), jnp.float32(values.size)
    if mask is not None:
        total, count = jnp.where(mask, values, 0).sum(), mask.sum(dtype=jnp.float32)
    total, count = over_devices((total, count), axis_name)
    return total / jnp.maximum(count, 1)


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
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        The count as float32, at least 1 so that an empty batch divides safely; a scalar when there
        is no mask, one count a batch entry otherwise.

    Examples:
        >>> sample_count((3, 8))
        Array(8., dtype=float32)
    """
    count = jnp.float32(shape[-1]) if mask is None else mask.sum(-1, dtype=jnp.float32)
    return jnp.maximum(over_devices(count, axis_name), 1)


def row_count(
    samples: Float[Array, "*batch n d"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch 1"]:
    """Count valid rows as :func:`sample_count` does, in the shape that divides sums of rows.

    Args:
        samples: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        One count, at least 1, a leading index.

    Examples:
        >>> row_count(jnp.zeros((2, 8, 3))).shape
        (2, 1)
    """
    count = sample_count(samples.shape[:-1], mask=mask, axis_name=axis_name)
    return jnp.broadcast_to(count[..., None], (*samples.shape[:-2], 1))


def masked_rows(
    samples: Float[Array, "*batch n d"], mask: Bool[Array, "*batch n"] | None
) -> Float[Array, "*batch n d"]:
    """Replace the rows that the mask leaves out by 0, in float32.

    Args:
        samples: Samples on the last axis but one.
        mask: True for samples that count.

    Returns:
        The samples; NaN and Inf in masked rows are gone, and no gradient passes there.

    Examples:
        >>> masked_rows(jnp.array([[1.0], [jnp.nan]]), jnp.array([True, False])).tolist()
        [[1.0], [0.0]]
    """
    samples = samples.astype(jnp.float32)
    return samples if mask is None else jnp.where(mask[..., None], samples, 0)


def row_sum(
    samples: Float[Array, "*batch n d"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, "*batch d"]:
    """Sum the valid rows of the global batch.

    Args:
        samples: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        The sums, float32, the same on every device.

    Examples:
        >>> row_sum(jnp.array([[1.0], [2.0], [4.0]]), mask=jnp.array([True, False, True]))
        Array([5.], dtype=float32)
    """
    return over_devices(masked_rows(samples, mask).sum(-2), axis_name)


def center_rows(
    samples: Float[Array, "*batch n d"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> tuple[Float[Array, "*batch n d"], Float[Array, "*batch d"], Float[Array, "*batch 1"]]:
    """Subtract the mean of the global sample.

    Args:
        samples: Samples on the last axis but one.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        Samples less the mean, masked ones 0; the mean; the count, at least 1.

    Examples:
        >>> centered, mean, count = center_rows(jnp.array([[1.0], [3.0]]))
        >>> print(centered[:, 0], mean, count)
        [-1.  1.] [2.] [2.]
    """
    x = masked_rows(samples, mask)
    count = row_count(x, mask=mask, axis_name=axis_name)
    mean = over_devices(x.sum(-2), axis_name) / count
    return masked_rows(x - mean[..., None, :], mask), mean, count


def over_devices(values: Tree, axis_name: AxisName | None) -> Tree:
    """Sum each array of a tree over devices, or return it as it is where there is no axis.

    Args:
        values: Local sums.
        axis_name: Mapped axis to sum over.

    Returns:
        Global sums, the same on every device.

    Examples:
        >>> jax.vmap(lambda x: over_devices(x, "data"), axis_name="data")(jnp.arange(3.0))
        Array([3., 3., 3.], dtype=float32)
    """
    return values if axis_name is None else lax.psum(values, axis_name)


def gather_over_devices(value: Float[Array, "*shape"], axis_name: AxisName) -> jax.Array:
    """Stack arrays over devices by a sum, whose result is known to be the same on all of them.

    Args:
        value: Local array.
        axis_name: Mapped axis to stack over.

    Returns:
        All of them, devices first.

    Examples:
        >>> jax.vmap(lambda x: gather_over_devices(x, "data"), axis_name="data")(jnp.arange(2.0))
        Array([[0., 1.], [0., 1.]], dtype=float32)
    """
    mine = jnp.arange(lax.axis_size(axis_name)) == lax.axis_index(axis_name)
    mine = mine.reshape((-1,) + (1,) * value.ndim)
    return lax.psum(jnp.where(mine, value[None], 0), axis_name)
