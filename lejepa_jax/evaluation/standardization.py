"""Features centered and scaled by the statistics of the training rows."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Numbers below this, relative to the size of a feature, are rounding and not variation.
_CONSTANT = 1e-6


@jax.jit
def feature_moments(
    features: Float[Array | np.ndarray, "n d"],
) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Mean of each feature, and 1 / its standard deviation; 0 for a constant one.

    Examples:
        >>> feature_moments(jnp.array([[0.0, 5.0], [4.0, 5.0]]))
        (Array([2., 5.], dtype=float32), Array([0.5, 0. ], dtype=float32))
    """
    x = jnp.asarray(features, jnp.float32)
    mean = jnp.mean(x, axis=0)
    std = jnp.sqrt(jnp.mean((x - mean[None, :]) ** 2, axis=0))
    constant = std <= _CONSTANT * jnp.maximum(jnp.abs(mean), jnp.max(jnp.abs(x)) * _CONSTANT)
    return mean, jnp.where(constant, 0.0, 1.0 / jnp.where(constant, 1.0, std))


@jax.jit
def apply_moments(
    features: Float[Array | np.ndarray, "n d"],
    mean: Float[Array, " d"],
    scale: Float[Array, " d"],
) -> Float[Array, "n d"]:
    """Center and scale features, in float32.

    Examples:
        >>> apply_moments(jnp.array([[3.0]]), jnp.array([1.0]), jnp.array([0.5]))
        Array([[1.]], dtype=float32)
    """
    return (jnp.asarray(features, jnp.float32) - mean[None, :]) * scale[None, :]


def standardize(
    train: Float[Array | np.ndarray, "n d"], test: Float[Array | np.ndarray, "m d"]
) -> tuple[Float[Array, "n d"], Float[Array, "m d"]]:
    r"""Center and scale every feature with the statistics of the training rows.

    .. math:: x_j \mapsto (x_j - \mu_j) / \sigma_j

    with the mean and the (biased, :math:`1/n`) standard deviation over `train`. A feature that
    is constant in `train` is zero in both outputs: it can tell nothing, and dividing what
    `test` has there by a vanishing deviation would let it drown everything else.

    Args:
        train: Features whose statistics are used.
        test: Features that are moved by the same map.

    Returns:
        Both, in float32.

    Examples:
        >>> train = jnp.array([[0.0, 5.0], [2.0, 5.0]])
        >>> standardize(train, jnp.array([[4.0, 9.0]]))[1]
        Array([[3., 0.]], dtype=float32)
    """
    mean, scale = feature_moments(train)
    return apply_moments(train, mean, scale), apply_moments(test, mean, scale)
