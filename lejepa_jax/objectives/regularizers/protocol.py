"""What a regularizer is, and what it may say of itself."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lejepa_jax.statistics.reductions import AxisName

#: Maps embeddings `(*batch, n, d)` to those that the prediction loss compares.
Transform = Callable[[jax.Array], jax.Array]


@runtime_checkable
class Regularizer(Protocol):
    """What keeps embeddings from collapsing: a pure function of a cloud.

    It is exact over the global batch: sums and counts are reduced over `axis_name`, and rows that
    the mask leaves out are replaced, never multiplied (`lejepa_jax.statistics.reductions` has the
    primitives). `lejepa_jax.testing.check_regularizer` tests all of it.
    """

    def __call__(
        self,
        key: PRNGKeyArray,
        embeddings: Float[Array, "*batch n d"],
        /,
        *,
        mask: Bool[Array, "*batch n"] | None = None,
        axis_name: AxisName | None = None,
    ) -> Float[Array, ""]:
        """Return the mean over leading axes (views), small where the cloud is as wanted.

        Args:
            key: Random key, the same on every device; the step is folded into it.
            embeddings: Samples on the last axis but one.
            mask: True for samples that count.
            axis_name: Mapped axis over which the samples are sharded.
        """
        ...


@dataclasses.dataclass(frozen=True)
class DescribedRegularizer:
    """A regularizer of one's own that says what it draws embeddings towards.

    A plain function is a regularizer too; this one adds what the loss and the report can use.

    Attributes:
        function: The regularizer.
        transform: What the loss applies to the embeddings before it compares views, such as a
            rectifier. The function applies it itself to what it is given.
        null_mean: `(num_samples, dim)` to the mean value of a cloud of independent samples of the
            law that is wanted; None where it is not known.
        sample: `(key, num_samples, dim)` to such a cloud; N(0, I) by default.

    Examples:
        >>> import jax.numpy as jnp
        >>> def second_moment(key, embeddings, *, mask=None, axis_name=None):
        ...     return (jnp.mean(embeddings**2) - 1) ** 2
        >>> own = DescribedRegularizer(second_moment, null_mean=lambda n, d: 2 / (n * d))
        >>> float(own(jax.random.key(0), jnp.ones((8, 2))))
        0.0
    """

    function: Regularizer
    transform: Transform | None = None
    null_mean: Callable[[int, int], float | None] | None = None
    sample: Callable[[PRNGKeyArray, int, int], jax.Array] | None = None

    def __call__(
        self,
        key: PRNGKeyArray,
        embeddings: Float[Array, "*batch n d"],
        /,
        *,
        mask: Bool[Array, "*batch n"] | None = None,
        axis_name: AxisName | None = None,
    ) -> Float[Array, ""]:
        """Call the function."""
        return self.function(key, embeddings, mask=mask, axis_name=axis_name)


def over_clouds(
    function: Callable[..., Any],
    embeddings: Float[Array, "*batch n d"],
    *,
    mask: Bool[Array, "*batch n"] | None = None,
) -> Float[Array, ""]:
    """Average a function of one cloud `(n, d)` over leading axes.

    Args:
        function: Maps samples, and `mask` by name, to a scalar.
        embeddings: Samples on the last axis but one.
        mask: True for samples that count.

    Returns:
        The mean.

    Examples:
        >>> import jax.numpy as jnp
        >>> over_clouds(lambda x, mask: x.sum(), jnp.ones((2, 3, 1)))
        Array(3., dtype=float32)
    """
    if embeddings.ndim == 2:
        return function(embeddings, mask=mask)
    clouds = embeddings.reshape(-1, *embeddings.shape[-2:])
    if mask is None:
        return jax.vmap(lambda x: function(x, mask=None))(clouds).mean()
    masks = mask.reshape(-1, mask.shape[-1])
    return jax.vmap(lambda x, m: function(x, mask=m))(clouds, masks).mean()


def bound_options(function: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Take a `functools.partial` apart, nested ones too.

    Args:
        function: A function, or a partial of one.

    Returns:
        The function itself, and the options that are bound.

    Examples:
        >>> bound_options(functools.partial(round, ndigits=2)) == (round, {"ndigits": 2})
        True
    """
    options: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        options = function.keywords | options
        function = function.func
    return function, options
