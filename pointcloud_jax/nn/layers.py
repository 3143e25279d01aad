"""What the networks share: linear maps in full precision."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax


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
        >>> import jax
        >>> bool(abs(fan_in_uniform(jax.random.key(0), (4, 2))).max() < 0.5)
        True
    """
    return nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")(key, shape, dtype)
