"""Second moments alone: the covariance of a cloud, whole or through a random sketch."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_choice, check_positive, check_samples
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.reductions import AxisName, center_rows, masked_rows, over_devices

CovarianceForm = Literal["squared", "norm", "isotropy"]


@accept_explicit_axes
def covariance(
    key: PRNGKeyArray,
    embeddings: Float[Array, "*batch n d"],
    *,
    form: CovarianceForm = "squared",
    sketch: int | None = None,
    mean_weight: float = 1.0,
    mask: Bool[Array, "*batch n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Distance of the covariance of a cloud from the identity.

    .. math:: \frac1r \|C - I\|_F^2 + \frac wr \|\mu\|^2, \qquad
        \|C - I\|_F + \frac wr \|\mu\|^2, \qquad
        \frac{\|\mu\|^2}r + \frac{2 \|C - I\|_F^2 + \mathrm{tr}(C - I)^2}{r (r + 2)}

    for the forms `squared`, `norm` and `isotropy`, with the mean and covariance (divisor n) of the
    cloud, or of its projection on r random orthonormal directions. The last form is what VICReg
    along random slices tends to with many of them, see
    `lejepa_jax.diagnostics.covariance.isotropy_penalty`; the second, without its mean and with a
    sketch of 64, is Weak-SIGReg up to the divisor n - 1. All are blind to what the second moments
    do not show: a cloud on the corners of a cube is as good as a round one.

    Published sketches are normal matrices whose rows are orthogonal in the mean only; with exactly
    orthonormal rows, the identity is reached for every draw.

    Over devices go r^2 + r + 1 floats, whatever n is. A function of sums over samples.

    Args:
        key: Random key of the sketch, the same on every device; fold the step into it.
        embeddings: Samples on the last axis but one.
        form: What is measured of mean and covariance.
        sketch: Directions r of the sketch; None, or as many as features, for the whole covariance.
        mean_weight: w; the form `isotropy` has its own.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        The mean over leading axes, float32. The gradient of `norm` is 0 where the covariance is
        exactly the identity.

    Raises:
        ValueError: For an unknown form, or a sketch that is not positive; for a wrong rank, dtype
            or mask.

    Examples:
        >>> import jax
        >>> corners = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> key = jax.random.key(0)
        >>> print(covariance(key, corners), covariance(key, 2 * corners, form="isotropy"))
        0.0 9.0

    References:
        A. Bardes, J. Ponce, Y. LeCun, VICReg, arXiv 2105.04906, 2021. Weak-SIGReg, arXiv
        2603.05924, 2026.
    """
    check_choice("form", form, ("squared", "norm", "isotropy"))
    check_samples("embeddings", embeddings, mask)
    d = embeddings.shape[-1]
    z = masked_rows(embeddings, mask)
    if sketch is not None:
        check_positive("sketch", sketch)
        if sketch < d:
            rows = orthonormal_rows(key, d, sketch)
            z = jnp.matmul(z, rows.T, precision=lax.Precision.HIGHEST)
    centered, mean, count = center_rows(z, mask=mask, axis_name=axis_name)
    products = jnp.matmul(jnp.swapaxes(centered, -1, -2), centered, precision="highest")
    r = z.shape[-1]
    identity = jnp.broadcast_to(jnp.eye(r, dtype=jnp.float32), products.shape)
    excess = over_devices(products, axis_name) / count[..., None] - identity
    squared, location = jnp.square(excess).sum((-2, -1)), jnp.square(mean).sum(-1) / r
    if form == "isotropy":
        trace = jnp.square(jnp.trace(excess, axis1=-2, axis2=-1))
        return (location + (2 * squared + trace) / (r * (r + 2))).mean()
    if form == "squared":
        return (squared / r + mean_weight * location).mean()
    differs = squared > 0
    norm = jnp.where(differs, jnp.sqrt(jnp.where(differs, squared, 1)), 0)
    return (norm + mean_weight * location).mean()


def orthonormal_rows(key: PRNGKeyArray, dim: int, num: int) -> Float[Array, "{num} {dim}"]:
    """Draw a random subspace: fewer orthonormal rows than there are features.

    Unlike `orthogonal_directions`, which draws whole bases, it factors no more than it returns.

    Args:
        key: Random key.
        dim: Dimension of the space.
        num: Dimension of the subspace, at most `dim`.

    Returns:
        Orthonormal rows, float32.

    Examples:
        >>> rows = orthonormal_rows(jax.random.key(0), 5, 2)
        >>> bool(jnp.allclose(rows @ rows.T, jnp.eye(2), atol=1e-6))
        True
    """
    return jnp.linalg.qr(jax.random.normal(key, (dim, num), jnp.float32))[0].T


def covariance_null_mean(
    num_samples: int,
    dim: int,
    *,
    form: CovarianceForm = "squared",
    sketch: int | None = None,
    mean_weight: float = 1.0,
) -> float:
    r"""Mean of :func:`covariance` on independent N(0, I) samples.

    From the moments of a Wishart matrix with n - 1 degrees of freedom; of `norm`, the root of the
    mean square is lowered by what the root of a chi-squared variable with r (r + 1) / 2 degrees of
    freedom is, to which the square tends as n grows.

    Args:
        num_samples: Samples over all devices.
        dim: Dimension of the embeddings.
        form: As in :func:`covariance`.
        sketch: As in :func:`covariance`.
        mean_weight: As in :func:`covariance`.

    Returns:
        The mean: exact, but for `norm`.

    Examples:
        >>> round(covariance_null_mean(256, 64), 4)
        0.2568
    """
    n, m, r = num_samples, num_samples - 1, dim if sketch is None else min(sketch, dim)
    squared = r * (m * (m + r + 1) / n**2 - 2 * m / n + 1)
    if form == "isotropy":
        trace = (m**2 * r**2 + 2 * m * r) / n**2 - 2 * m * r**2 / n + r**2
        return 1 / n + (2 * squared + trace) / (r * (r + 2))
    if form == "squared":
        return squared / r + mean_weight / n
    freedom = r * (r + 1) / 2
    root = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    return math.sqrt(squared) * root * math.sqrt(2 / freedom) + mean_weight / n
