"""What the networks share: linear maps in full precision, dropout keyed by example."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Key

# Views of an example fold small numbers into the same key: dropout goes another way from it.
_DROPOUT = 0x64726F70


def linear(
    in_features: int, out_features: int, *, use_bias: bool = True, rngs: nnx.Rngs
) -> nnx.Linear:
    r"""Make a linear map whose weights start uniform in :math:`\pm 1 / \sqrt{\text{in}}`.

    It multiplies in float32 on every platform: bfloat16 or TF32 products would round two poses of
    one cloud differently, and end the invariance of the features at 1e-3.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        use_bias: Whether to add a bias, which starts at zero.
        rngs: Source of the initial parameters.

    Returns:
        The module.

    Examples:
        >>> linear(4, 2, rngs=nnx.Rngs(0)).kernel.shape
        (4, 2)
    """
    return nnx.Linear(
        in_features,
        out_features,
        use_bias=use_bias,
        kernel_init=fan_in_uniform,
        precision=lax.Precision.HIGHEST,
        rngs=rngs,
    )


def fan_in_uniform(key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
    r"""Draw weights uniformly in :math:`\pm 1 / \sqrt{\text{in}}`, in being the last axis but one.

    Args:
        key: Random key.
        shape: Shape of the weights.
        dtype: Their type.

    Returns:
        The weights.

    Examples:
        >>> bool(abs(fan_in_uniform(jax.random.key(0), (4, 2))).max() < 0.5)
        True
    """
    return nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")(key, shape, dtype)


def dropout(
    x: Float[Array, "b *rest"], keys: Key[Array, " b"] | None, number: int, rate: float
) -> Float[Array, "b *rest"]:
    """Set each number to zero with probability `rate`, and scale the others by 1 / (1 - rate).

    Args:
        x: Activations, one example a row.
        keys: One key an example, made from its index in the global batch, so that how the batch is
            sharded over devices changes nothing.
        number: Distinguishes the dropouts of one network.
        rate: Probability.

    Returns:
        The thinned activations.

    Raises:
        ValueError: If `keys` is None.

    Examples:
        >>> dropout(jnp.ones((1, 3)), jax.random.split(jax.random.key(0), 1), 0, 0.0)
        Array([[1., 1., 1.]], dtype=float32)

    References:
        N. Srivastava et al., "Dropout", Journal of Machine Learning Research 15, 2014.
    """
    if keys is None:
        raise ValueError("keys must hold one key a cloud to train with dropout, got None")

    def one(x: jax.Array, key: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(key, _DROPOUT), number)
        kept = jax.random.bernoulli(key, jnp.float32(1 - rate), x.shape)
        return jnp.where(kept, x / (1 - rate), 0)

    return jax.vmap(one)(x, keys)
