"""VISReg: the scale and the center of a cloud, and apart from them its shape."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive, check_samples
from lejepa_jax.objectives.directions import DirectionSampler, unit_directions
from lejepa_jax.objectives.regularizers.protocol import bound_options
from lejepa_jax.objectives.regularizers.quantiles import quantile_distance, quantile_moments
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.normality import Statistic, epps_pulley
from lejepa_jax.statistics.quadrature import window_rule
from lejepa_jax.statistics.reductions import AxisName, center_rows, masked_rows, over_devices
from lejepa_jax.statistics.targets import sphere_target


@accept_explicit_axes
def visreg(
    key: PRNGKeyArray,
    embeddings: Float[Array, "*batch n d"],
    *,
    shape: Statistic = quantile_distance,
    num_slices: int = 1024,
    directions: DirectionSampler | Float[Array, "k d"] = unit_directions,
    scale_weight: float = 1.0,
    center_weight: float = 1.0,
    shape_weight: float = 1.0,
    epsilon: float = 1e-4,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Scale, center and shape of a cloud, each by a term of its own.

    .. math:: \frac1d \sum_j (1 - s_j)^2 + \frac1d \sum_j \mu_j^2
        + \frac1{|A|} \sum_{a \in A} T\left(\left\{a^\top \frac{z_i - \mu}{[s + \epsilon]}\right\}_i
        \right)

    with the (biased) standard deviation s of each feature, and no gradient through the bracket. As
    the cloud shrinks, the gradient of the first term tends to a constant, where that of SIGReg
    vanishes: embeddings can leave a collapse that is not exact. That of the last term, whose value
    does not depend on the scale, grows like 1/s, up to `epsilon`.

    With ``shape=epps_pulley`` the shape term is SIGReg of the standardized cloud: a form that has
    not been published, whose communication does not grow with the sample. Its T has a factor n,
    `quantile_distance` has none: choose `shape_weight` accordingly.

    Over devices go 2 d + 1 floats and what the shape needs: for `quantile_distance` rows for
    columns, n k floats divided by the number of devices, for `epps_pulley` 2 k m + 1 floats.
    Published code computes all of it on each device apart; this is that of the global batch. In
    micro-batches the gradient is exact when the embeddings of all are kept, as
    `microbatched_value_and_grad` does; with `epps_pulley` the terms are functions of sums.

    Args:
        key: Random key of the directions, the same on every device; fold the step into it.
        embeddings: Samples on the last axis but one.
        shape: Statistic of one-dimensional samples that compares with N(0, 1).
        num_slices: Number of random directions (published: 4096).
        directions: What draws the directions, or unit rows.
        scale_weight: Weight of the first term.
        center_weight: Weight of the second.
        shape_weight: Weight of the third.
        epsilon: Added to standard deviations before dividing (published: 1e-6).
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        The mean over leading axes, float32.

    Raises:
        ValueError: If `epsilon` or `num_slices` is not positive, and as `sigreg` does.

    Examples:
        >>> import jax
        >>> cloud = jax.random.normal(jax.random.key(0), (512, 16))
        >>> values = visreg(jax.random.key(1), cloud), visreg(jax.random.key(1), cloud / 100)
        >>> print("round {:.2f}, collapsed {:.2f}".format(*values))
        round 0.01, collapsed 0.98

    References:
        H. Wu, R. Balestriero, M. Levine, VISReg, arXiv 2606.02572, 2026.
    """
    check_positive("epsilon", epsilon)
    check_samples("embeddings", embeddings, mask)
    centered, mean, count = center_rows(embeddings, mask=mask, axis_name=axis_name)
    variance = over_devices(jnp.square(centered).sum(-2), axis_name) / count
    # The root has no derivative at 0: at exact collapse there is no direction to leave it by.
    varies = variance > 0
    std = jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1)), 0)
    scale = lax.stop_gradient(std + epsilon)[..., None, :]
    standardized = masked_rows(centered / jnp.broadcast_to(scale, centered.shape), mask)
    value = scale_weight * jnp.square(1 - std).mean() + center_weight * jnp.square(mean).mean()
    if shape_weight:
        options = {"num_slices": num_slices, "directions": directions, "statistic": shape}
        term = sigreg(key, standardized, mask=mask, axis_name=axis_name, **options)
        value += shape_weight * term
    return value


def visreg_null_mean(
    num_samples: int,
    dim: int,
    *,
    shape: Statistic = quantile_distance,
    scale_weight: float = 1.0,
    center_weight: float = 1.0,
    shape_weight: float = 1.0,
) -> float | None:
    r"""Mean of :func:`visreg` on independent N(0, I) samples.

    The center has 1/n. The scale has :math:`1 - 2 E s + (n - 1)/n` with the mean of a chi variable.
    For the shape, standardized features are independent and uniform on the sphere of radius
    :math:`\sqrt n` among the vectors of mean 0: a projection of them is uniform in direction, and
    its length is exactly :math:`\sqrt n` for d = 1 and that of a normal vector for large d. In
    between, its variance interpolates with the weight :math:`(d - 1)/(d + 2)`, which is right to
    the first order in 1/n.

    Args:
        num_samples: Samples over all devices.
        dim: Dimension of the embeddings.
        shape: As in :func:`visreg`.
        scale_weight: As in :func:`visreg`.
        center_weight: As in :func:`visreg`.
        shape_weight: As in :func:`visreg`.

    Returns:
        The mean; None for shapes other than `quantile_distance` and `epps_pulley`, and below 4
        samples.

    Examples:
        >>> round(visreg_null_mean(256, 64), 4)
        0.0137
    """
    n = num_samples
    if n < 4:
        return None
    mean_std = math.sqrt(2 / n) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))
    value = scale_weight * (1 - 2 * mean_std + (n - 1) / n) + center_weight / n
    if not shape_weight:
        return value
    statistic, options = bound_options(shape)
    normal = (dim - 1) / (dim + 2)  # what of the variance of a normal vector's length there is
    if statistic is quantile_distance:
        squares, products = quantile_moments(n)
        length = 1 - normal * (1 - mean_std * math.sqrt(n / (n - 1)))
        return value + shape_weight * (1 - 2 * length * products / mean_std + squares)
    if statistic is epps_pulley and options.keys() <= {"t_max", "num_knots", "quadrature"}:
        rule = {"quadrature": "trapezoid", "t_max": 3.0, "num_knots": 17} | options
        t, weights = window_rule(**rule)
        single, pair = (
            normal * np.exp(-np.square(radius * t) / (2 * (n - 1)))
            + (1 - normal) * sphere_target(t, dim=n - 1, radius=radius)
            for radius in (math.sqrt(n - 1), math.sqrt(2 * n))
        )
        target = np.exp(-np.square(t) / 2)
        error = 1 + (n - 1) * pair + n * (np.square(target) - 2 * target * single)
        return value + shape_weight * float(weights @ error)
    return None
