"""The LeJEPA objective: predict the center of the views, keep the cloud round."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_choice, check_samples
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.statistics.characteristic import sample_count
from lejepa_jax.statistics.normality import Statistic, epps_pulley
from lejepa_jax.statistics.reductions import AxisName

Target = Literal["global", "all", "pairwise"]
Weighting = Literal["convex", "additive"]


class LejepaLoss(NamedTuple):
    """The objective and its two terms."""

    total: Float[Array, ""]
    prediction: Float[Array, ""]
    sigreg: Float[Array, ""]


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
        axis_name: Mapped axis over which the samples are spread.

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

    z = embeddings.astype(jnp.float32)
    towards = z if target == "all" else z[:num_global]
    center = towards.mean(0, keepdims=True)
    distance = jnp.square(z - _like(center, z)).mean((0, 2))
    if target == "pairwise":
        distance += jnp.square(towards - _like(center, towards)).mean((0, 2))
    if mask is not None:
        distance = jnp.where(mask, distance, 0)
    total = distance.sum()
    if axis_name is not None:
        total = lax.psum(total, axis_name)
    return total / sample_count((batch,), mask=mask, axis_name=axis_name)


def lejepa_loss(
    key: PRNGKeyArray,
    embeddings: Float[Array, "v b d"],
    *,
    num_global: int,
    trade_off: float = 0.05,
    weighting: Weighting = "convex",
    target: Target = "global",
    num_slices: int = 1024,
    statistic: Statistic = epps_pulley,
    pool_views: bool = False,
    mask: Bool[Array, " b"] | None = None,
    axis_name: AxisName | None = None,
) -> LejepaLoss:
    r"""The LeJEPA objective.

    .. math:: (1 - \lambda)\, L_\mathrm{pred} + \frac\lambda V \sum_v \mathrm{SIGReg}(\{z_{n,v}\}_n)

    Args:
        key: Random key of the slices, the same on every device; fold the step into it.
        embeddings: Outputs of the projector, views first, the global ones in front.
        num_global: Number of global views.
        trade_off: :math:`\lambda`. The optimum grows with the number of views, about 0.005 a view
            (Table 7); SIGReg, and so its pull at a fixed trade-off, grows with the global batch.
        weighting: `convex`, as above, or `additive`: :math:`L_\mathrm{pred} + \lambda\,
            \mathrm{SIGReg}`, which is convex with :math:`\lambda / (1 + \lambda)` up to scale.
        target: What the views are drawn towards, see :func:`prediction_loss`.
        num_slices: Random directions drawn afresh for each call.
        statistic: Statistic of one-dimensional samples.
        pool_views: Test the views as one sample, see :func:`sigreg`.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are spread. All three values are then those of
            the global batch. Take the gradient inside the mapped function and average it with
            `jax.lax.pmean` once, at the end of the step.

    Returns:
        Total, prediction and SIGReg, float32.

    Raises:
        ValueError: If `trade_off` is outside [0, 1] (convex) or negative (additive), and as
            :func:`prediction_loss` and :func:`sigreg` do.

    Examples:
        >>> key, data_key = jax.random.split(jax.random.key(0))
        >>> embeddings = jax.random.normal(data_key, (1, 256, 8))
        >>> loss = lejepa_loss(key, jnp.repeat(embeddings, 4, axis=0), num_global=2)
        >>> print(f"{loss.prediction:.1f} {loss.sigreg:.1f}")
        0.0 1.0

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 5.1 and Algorithm 2.
    """
    check_trade_off(trade_off, weighting)
    prediction = prediction_loss(
        embeddings, num_global=num_global, target=target, mask=mask, axis_name=axis_name
    )
    roundness = sigreg(
        key,
        embeddings,
        num_slices=num_slices,
        statistic=statistic,
        pool=pool_views,
        mask=None if mask is None else jnp.broadcast_to(mask, embeddings.shape[:-1]),
        axis_name=axis_name,
    )
    share = 1 - trade_off if weighting == "convex" else 1.0
    return LejepaLoss(share * prediction + trade_off * roundness, prediction, roundness)


def check_trade_off(trade_off: float, weighting: str) -> None:
    """Require a known weighting and a trade-off that goes with it."""
    check_choice("weighting", weighting, ("convex", "additive"))
    highest = 1.0 if weighting == "convex" else jnp.inf
    if not 0 <= trade_off <= highest:
        raise ValueError(
            f"trade_off must be between 0 and {highest:g} ({weighting}), got {trade_off}"
        )


def _like(center: jax.Array, z: jax.Array) -> jax.Array:
    return jnp.broadcast_to(center, z.shape)
