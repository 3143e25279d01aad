"""The LeJEPA objective: predict the center of the views, keep the cloud round."""

import functools
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_choice
from lejepa_jax.objectives.directions import DirectionSampler, unit_directions
from lejepa_jax.objectives.prediction import Target, prediction_loss
from lejepa_jax.objectives.regularizers.names import embedding_transform
from lejepa_jax.objectives.regularizers.protocol import Regularizer
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.statistics.normality import Statistic, epps_pulley
from lejepa_jax.statistics.reductions import AxisName

Weighting = Literal["convex", "additive"]


class LejepaLoss(NamedTuple):
    """The objective and its two terms."""

    total: Float[Array, ""]
    prediction: Float[Array, ""]
    regularizer: Float[Array, ""]

    @property
    def sigreg(self) -> Float[Array, ""]:
        """The second term by the name of the default."""
        return self.regularizer


def lejepa_loss(
    key: PRNGKeyArray,
    embeddings: Float[Array, "v b d"],
    *,
    num_global: int,
    trade_off: float = 0.05,
    weighting: Weighting = "convex",
    target: Target = "global",
    regularizer: Regularizer | None = None,
    num_slices: int = 1024,
    statistic: Statistic = epps_pulley,
    directions: DirectionSampler | Float[Array, "k d"] = unit_directions,
    pool_views: bool = False,
    mask: Bool[Array, " b"] | None = None,
    axis_name: AxisName | None = None,
) -> LejepaLoss:
    r"""The LeJEPA objective.

    .. math:: (1 - \lambda)\, L_\mathrm{pred} + \frac\lambda V \sum_v \mathrm{SIGReg}(\{z_{n,v}\}_n)

    or another regularizer in place of SIGReg, see :mod:`lejepa_jax.objectives.regularizers`. One
    that transforms embeddings (`rdmreg` rectifies, `sphere` normalizes) has the prediction loss
    compare the transformed ones.

    Args:
        key: Random key of the slices, the same on every device; fold the step into it.
        embeddings: Outputs of the projector, views first, the global ones in front.
        num_global: Number of global views.
        trade_off: :math:`\lambda`. The optimum grows with the number of views, about 0.005 a view
            (Table 7); SIGReg, and so its pull at a fixed trade-off, grows with the global batch.
        weighting: `convex`, as above, or `additive`: :math:`L_\mathrm{pred} + \lambda\,
            \mathrm{SIGReg}`, which is convex with :math:`\lambda / (1 + \lambda)` up to scale.
        target: What the views are drawn towards, see :func:`prediction_loss`.
        regularizer: What keeps the cloud from collapsing: `(key, embeddings, *, mask, axis_name)`
            to a scalar, with options bound. By default :func:`sigreg` with the next three.
        num_slices: Random directions drawn afresh for each call.
        statistic: Statistic of one-dimensional samples.
        directions: What draws the directions, or the directions, see :func:`sigreg`.
        pool_views: Test the views as one sample, see :func:`sigreg`.
        mask: True for samples that count.
        axis_name: Mapped axis over which the samples are sharded. All three values are then those
            of the global batch. Take the gradient inside the mapped function and average it with
            `jax.lax.pmean` once, at the end of the step.

    Returns:
        Total, prediction and regularizer, float32.

    Raises:
        ValueError: If `trade_off` is outside [0, 1] (convex) or negative (additive), and as
            :func:`prediction_loss` and :func:`sigreg` do.

    Examples:
        >>> import jax
        >>> key, data_key = jax.random.split(jax.random.key(0))
        >>> embeddings = jax.random.normal(data_key, (1, 256, 8))
        >>> loss = lejepa_loss(key, jnp.repeat(embeddings, 4, axis=0), num_global=2)
        >>> print(f"{loss.prediction:.1f} {loss.sigreg:.1f}")
        0.0 1.0

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 5.1 and Algorithm 2.
    """
    check_trade_off(trade_off, weighting)
    if regularizer is None:
        regularizer = functools.partial(
            sigreg, num_slices=num_slices, statistic=statistic, directions=directions
        )
    transform = embedding_transform(regularizer)
    prediction = prediction_loss(
        embeddings if transform is None else transform(embeddings),
        num_global=num_global,
        target=target,
        mask=mask,
        axis_name=axis_name,
    )
    every_view = None if mask is None else jnp.broadcast_to(mask, embeddings.shape[:-1])
    cloud = embeddings
    if pool_views:
        cloud = embeddings.reshape(-1, embeddings.shape[-1])
        every_view = None if every_view is None else every_view.reshape(-1)
    roundness = regularizer(key, cloud, mask=every_view, axis_name=axis_name)
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
