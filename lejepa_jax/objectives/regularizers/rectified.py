"""RDMReg: sparse non-negative codes, drawn towards a rectified generalized normal law."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive, check_samples
from lejepa_jax.objectives.directions import DirectionSampler, unit_directions
from lejepa_jax.objectives.regularizers.rectified_null import DIMS, NULL_MEANS, SIZES
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.reductions import AxisName, masked_rows, over_devices
from lejepa_jax.statistics.sorting import SortedColumns, over_sorted_columns


@accept_explicit_axes
def rdmreg(
    key: PRNGKeyArray,
    embeddings: Float[Array, "*batch n d"],
    *,
    power: float = 1.0,
    location: float = 0.0,
    scale: float | None = None,
    num_slices: int = 1024,
    directions: DirectionSampler = unit_directions,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Sliced distance of rectified embeddings from a fresh sample of a rectified law.

    .. math:: \frac1{|A|} \sum_{a \in A} \frac1n \sum_i \left(
        (\mathrm{ReLU}(z)\, a)_{(i)} - (y\, a)_{(i)} \right)^2

    where the coordinates of y are independent, :math:`\mathrm{ReLU}(\mu + \sigma\,
    \mathrm{GN}_p)`, as many samples as there are embeddings. Two samples are compared, since
    projections of such a product law have no closed form. The loss rectifies the embeddings that it
    compares, too. A smaller location makes codes sparser; where all of a feature is negative no
    gradient reaches it.

    Sample i of y depends on the key and on i alone, so that the value does not depend on how the
    batch is sharded. Leading axes (views) are compared with the same y. Over devices go rows for
    columns, 2 n k floats divided by the number of devices, and the count. In micro-batches the
    gradient is exact when the embeddings of all are kept, as `microbatched_value_and_grad` does.

    Args:
        key: Random key of directions and samples, the same on every device; fold the step into it.
        embeddings: Samples on the last axis but one, not rectified (or rectified: it is the same).
        power: p of the generalized normal law: 1 is Laplace, 2 normal.
        location: Its center before rectification.
        scale: Its scale; by default that of unit variance before rectification.
        num_slices: Number of random directions.
        directions: What draws the directions.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        The mean over slices and leading axes, float32.

    Raises:
        ValueError: If `power`, `scale` or `num_slices` is not positive; for a wrong rank, dtype or
            mask.

    Examples:
        >>> cloud = jax.random.laplace(jax.random.key(0), (512, 16)) / 2**0.5
        >>> values = rdmreg(jax.random.key(1), cloud), rdmreg(jax.random.key(1), 3 * cloud)
        >>> print("{:.2f} {:.2f}".format(*values))
        0.01 2.11

    References:
        Y. Kuang et al., Rectified LpJEPA, arXiv 2602.01456, 2026.
    """
    check_positive("num_slices", num_slices)
    check_samples("embeddings", embeddings, mask)
    *lead, n, d = embeddings.shape
    direction_key, sample_key = jax.random.split(key)
    rows = directions(direction_key, d, num_slices).T
    first = 0 if axis_name is None else lax.axis_index(axis_name) * n
    index = first + jnp.arange(n, dtype=jnp.int32)
    wanted = rectified_normal(sample_key, index, d, power=power, location=location, scale=scale)
    projections = [
        jnp.matmul(values, rows, precision=lax.Precision.HIGHEST)
        for values in (jax.nn.relu(masked_rows(embeddings, mask)), wanted)
    ]
    both = jnp.stack([projections[0], jnp.broadcast_to(projections[1], (*lead, n, num_slices))])
    if mask is not None:
        count = over_devices(mask.sum(-1, dtype=jnp.int32), axis_name)[..., None]
        exists = jnp.broadcast_to(index, mask.shape) < jnp.broadcast_to(count, mask.shape)
        mask = jnp.stack([mask, exists])

    def distance(columns: SortedColumns) -> Array:
        squared = jnp.square(columns.values[0] - columns.values[1]).sum(-2)
        value = squared / columns.count[0][..., 0, :]
        return jnp.broadcast_to(value[None], (2, *value.shape))

    return over_sorted_columns(distance, both, mask=mask, axis_name=axis_name).mean()


def rectified_normal(
    key: PRNGKeyArray,
    index: Array,
    dim: int,
    *,
    power: float = 1.0,
    location: float = 0.0,
    scale: float | None = None,
) -> Float[Array, "n {dim}"]:
    r"""Draw samples of :math:`\mathrm{ReLU}(\mu + \sigma\, \mathrm{GN}_p)`, each from its number.

    Args:
        key: Random key.
        index: Numbers of the samples.
        dim: Independent coordinates of each.
        power: As in :func:`rdmreg`.
        location: As in :func:`rdmreg`.
        scale: As in :func:`rdmreg`.

    Returns:
        One sample a row, float32.

    Raises:
        ValueError: If `power` or `scale` is not positive.

    Examples:
        >>> rectified_normal(jax.random.key(0), jnp.arange(3), 2).shape
        (3, 2)
    """
    check_positive("power", power)
    if scale is None:
        log_ratio = math.lgamma(1 / power) - math.lgamma(3 / power)
        scale = math.exp(log_ratio / 2 - math.log(power) / power)
    check_positive("scale", scale)

    def draw(number: Array) -> Array:
        own = jax.random.fold_in(key, number)
        if power == 1:
            return jax.random.laplace(own, (dim,), jnp.float32)
        if power == 2:
            return jax.random.normal(own, (dim,), jnp.float32)
        return power ** (1 / power) * jax.random.generalized_normal(own, power, (dim,), jnp.float32)

    return jax.nn.relu(location + scale * jax.vmap(draw)(index))


def rdmreg_null_mean(
    num_samples: int,
    dim: int,
    *,
    power: float = 1.0,
    location: float = 0.0,
    scale: float | None = None,
) -> float | None:
    r"""Mean of :func:`rdmreg` on independent samples of the law: two samples of it are compared.

    Simulated for the powers 1 and 2 and the location 0, and interpolated in the logarithms of n and
    d. It is :math:`2 \sigma^2` times the mean variance of an order statistic, and falls a little
    slower than 1/n.

    Args:
        num_samples: Samples over all devices.
        dim: Dimension of the embeddings; beyond 256 it does not matter.
        power: As in :func:`rdmreg`.
        location: As in :func:`rdmreg`.
        scale: As in :func:`rdmreg`.

    Returns:
        The mean, within 3 %; None for other laws, and for fewer than 8 or more than 4096 samples.

    Examples:
        >>> round(rdmreg_null_mean(256, 64), 3)
        0.01
    """
    if power not in NULL_MEANS or location or not SIZES[0] <= num_samples <= SIZES[-1]:
        return None
    at = np.log([num_samples, min(dim, DIMS[-1])])
    table = np.log(NULL_MEANS[int(power)])
    row = [np.interp(at[0], np.log(SIZES), column) for column in table.T]
    # Of unit variance before: half of the mean square is left.
    squared, mean = 0.5, 2**-1.5 if power == 1 else (2 * math.pi) ** -0.5
    unit = 1.0 if scale is None else scale**2 * (2.0 if power == 1 else 1.0)
    return float(2 * unit * (squared - mean**2) * np.exp(np.interp(at[1], np.log(DIMS), row)))
