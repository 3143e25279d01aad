"""The prediction loss: how far views of a sample are from the center of its views."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_choice, check_samples
from lejepa_jax.statistics.explicit_axes import accept_explicit_axes
from lejepa_jax.statistics.reductions import AxisName, masked_rows, over_devices, sample_count

Target = Literal["global", "all", "pairwise"]


@accept_explicit_axes
def prediction_loss(
    embeddings: Float[Array, "v b d"],
    *,
    num_global: int,
    target: Target = "global",
    mask: Bool[Array, " b"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Mean squared distance of all views to the center of the global ones.

    .. math:: \frac1{V B d} \sum_{v, n} \left\| \mu_n - z_{n,v} \right\|^2,
        \qquad \mu_n = \frac1{V_g} \sum_{v \le V_g} z_{n,v}

    (Eq. 7 of the paper). Gradients flow through the center: there is no stop-gradient and no
    teacher. The paper sums over features; its code, and this function, take the mean, which is
    what the published trade-offs belong to.

    Args:
        embeddings: Views first, the global ones in front.
        num_global: Number of global views.
        target: `global`, as above. `all`: the center of all views (as the paper does for encoders
            without multi-crop). `pairwise`: the mean over pairs of a global and any view (Eq. 6),
            which the paper calls equal to the center form; it is larger by the variance among the
            global views.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded.

    Returns:
        The mean over views, samples of the global batch and features, float32.

    Raises:
        ValueError: If `num_global` is not between 1 and the number of views, for an unknown target,
            and for a wrong rank, dtype or mask.

    Examples:
        >>> views = jnp.array([[[1.0]], [[3.0]], [[5.0]]])
        >>> print(prediction_loss(views, num_global=2))
        3.6666667

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Equations 6 and 7, Algorithm 2.
    """
    check_choice("target", target, ("global", "all", "pairwise"))
    if embeddings.ndim != 3:
        raise ValueError(f"embeddings must have shape (views, batch, d), got {embeddings.shape}")
    check_samples("embeddings", embeddings, None)
    num_views, batch, _ = embeddings.shape
    if not 1 <= num_global <= num_views:
        raise ValueError(f"num_global must be between 1 and {num_views} views, got {num_global}")
    if mask is not None and mask.shape != (batch,):
        raise ValueError(f"mask must have shape {(batch,)}, got {mask.shape}")

    # Masked samples become 0 here, where their gradient ends, and so does their distance.
    every_view = None if mask is None else jnp.broadcast_to(mask, embeddings.shape[:-1])
    z = masked_rows(embeddings, every_view)
    towards = z if target == "all" else z[:num_global]
    center = towards.mean(0, keepdims=True)
    distance = jnp.square(z - _like(center, z)).mean((0, 2))
    if target == "pairwise":
        distance += jnp.square(towards - _like(center, towards)).mean((0, 2))
    total = over_devices(distance.sum(), axis_name)
    return total / sample_count((batch,), mask=mask, axis_name=axis_name)


def _like(center: jax.Array, z: jax.Array) -> jax.Array:
    return jnp.broadcast_to(center, z.shape)
