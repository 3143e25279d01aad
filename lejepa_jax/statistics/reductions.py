"""Sums and means over the global batch: masked, and over the devices it is sharded over."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

#: The mapped axis that samples are spread over, or all of those axes.
AxisName = str | tuple[str, ...]


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
        axis_name: Mapped axis over which the batch is spread.

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
    if axis_name is not None:
        total, count = lax.psum((total, count), axis_name)
    return total / jnp.maximum(count, 1)
