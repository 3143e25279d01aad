"""Supervised classification: soft targets and their cross-entropy over the global batch."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from lejepa_jax.statistics.reductions import AxisName


def soft_targets(
    labels: Int[Array, " b"], num_classes: int, *, smoothing: float = 0.0
) -> Float[Array, "b {num_classes}"]:
    r"""Make the distributions to learn: :math:`(1 - \epsilon)\, e_y + \epsilon / C`.

    Args:
        labels: Classes; -1 where unknown.
        num_classes: How many there are.
        smoothing: :math:`\epsilon`.

    Returns:
        One distribution an example; zeros where the class is unknown.

    Examples:
        >>> soft_targets(jnp.array([1, -1]), 2, smoothing=0.5)
        Array([[0.25, 0.75],
               [0.  , 0.  ]], dtype=float32)
    """
    hot = jax.nn.one_hot(labels, num_classes)
    spread = smoothing / num_classes * (labels >= 0).astype(jnp.float32)
    return (1 - smoothing) * hot + spread[:, None]


def cross_entropy(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, axis_name: AxisName | None = None
) -> Float[Array, ""]:
    r"""Mean cross-entropy :math:`-\sum_i \sum_c t_{ic} \log p_{ic} / \sum_{ic} t_{ic}`, in float32.

    Args:
        logits: Scores.
        targets: Distributions, see `soft_targets`; rows of zeros do not count.
        axis_name: Mapped axis over which examples are sharded; the mean is the global one.

    Returns:
        The loss, the same on every device.

    Examples:
        >>> cross_entropy(jnp.zeros((1, 4)), jnp.array([[0.0, 1.0, 0.0, 0.0]])).round(4)
        Array(1.3863, dtype=float32)
    """
    total = -jnp.sum(targets * jax.nn.log_softmax(logits.astype(jnp.float32), -1))
    count = jnp.sum(targets)
    if axis_name is not None:
        total, count = lax.psum((total, count), axis_name)
    return total / jnp.maximum(count, 1e-6)
