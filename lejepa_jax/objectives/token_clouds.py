"""A regularizer on the tokens of examples, beside that on their feature vectors."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive
from lejepa_jax.objectives.regularizers.protocol import Regularizer
from lejepa_jax.statistics.reductions import AxisName


def choose_positions(
    key: PRNGKeyArray, tokens: Float[Array, "b v n d"], num_positions: int
) -> Float[Array, "b v m d"]:
    """Keep the tokens at some random positions, the same of every example and view.

    Args:
        key: Random key, the same on every device.
        tokens: Tokens of examples and views, position by position.
        num_positions: How many to keep; all where there are not more.

    Returns:
        The chosen tokens.

    Raises:
        ValueError: If `num_positions` is not positive.

    Examples:
        >>> choose_positions(jax.random.key(0), jnp.zeros((4, 2, 9, 3)), 5).shape
        (4, 2, 5, 3)
    """
    check_positive("num_positions", num_positions)
    count = tokens.shape[2]
    if num_positions >= count:
        return tokens
    chosen = jax.random.permutation(key, count)[:num_positions]
    return jnp.take(tokens, chosen, axis=2)


def regularize_tokens(
    key: PRNGKeyArray,
    tokens: Float[Array, "b v n d"],
    regularizer: Regularizer,
    *,
    mask: Bool[Array, " b"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    r"""Mean of a regularizer over the positions of all views.

    .. math:: \frac1{V P} \sum_{v, p} R(\{t_{n, v, p}\}_n)

    A cloud is what examples have at one position of one view: its samples are independent. Tokens
    of one example are not, and pooled over positions even a perfect cloud would score above the
    null mean.

    Args:
        key: Random key, the same on every device; fold the step into it.
        tokens: Tokens of examples and views, position by position.
        regularizer: What keeps each cloud from collapsing.
        mask: True for examples that count.
        axis_name: Mapped axis over which the examples are sharded.

    Returns:
        The mean, float32.

    Examples:
        >>> from lejepa_jax.objectives.regularizers import covariance
        >>> tokens = jax.random.normal(jax.random.key(0), (512, 2, 4, 3))
        >>> print(f"{regularize_tokens(jax.random.key(1), tokens, covariance):.2f}")
        0.01
    """
    clouds = jnp.moveaxis(tokens, 0, 2)
    every = None if mask is None else jnp.broadcast_to(mask, clouds.shape[:-1])
    return regularizer(key, clouds, mask=every, axis_name=axis_name)


def regularize_token_groups(
    key: PRNGKeyArray,
    groups: Sequence[Array],
    regularizer: Regularizer,
    *,
    project: Callable[[Array], Array],
    num_positions: int,
    axis_name: AxisName | None = None,
) -> Float[Array, ""]:
    """Average the regularizer of tokens over groups of views, which may differ in size.

    Args:
        key: Random key, the same on every device; fold the step into it.
        groups: Tokens `(b, v, n, d)` of examples and views, for each size of views.
        regularizer: What keeps each cloud from collapsing.
        project: Maps tokens, one a row, before they are regularized.
        num_positions: Positions of each view that are drawn.
        axis_name: Mapped axis over which the examples are sharded.

    Returns:
        The mean over views and positions, float32.

    Examples:
        >>> from lejepa_jax.objectives.regularizers import covariance
        >>> groups = [jnp.ones((4, 1, 9, 3)), jnp.ones((4, 2, 4, 3))]
        >>> options = {"project": lambda x: 0 * x, "num_positions": 4}
        >>> regularize_token_groups(jax.random.key(0), groups, covariance, **options)
        Array(1., dtype=float32)
    """
    total, views = jnp.float32(0), sum(group.shape[1] for group in groups)
    for index, group in enumerate(groups):
        choice_key, own_key = jax.random.split(jax.random.fold_in(key, index))
        chosen = choose_positions(choice_key, group, num_positions)
        projected = project(chosen.reshape(-1, chosen.shape[-1]))
        projected = projected.reshape(*chosen.shape[:-1], -1)
        value = regularize_tokens(own_key, projected, regularizer, axis_name=axis_name)
        total += group.shape[1] / views * value
    return total
