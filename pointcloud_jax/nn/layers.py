"""What the networks share: masked batch norm, masked pooling, dropout keyed by example."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from lejepa_jax.statistics.reductions import AxisName


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


class BatchNorm(nnx.Module):
    r"""Normalize each channel over all other axes, the points that exist, and all devices.

    Sums and counts cross devices, not means, so that shards with unequal numbers of points are
    exact. The variance is taken about the mean in a second pass (float32 would lose it otherwise).

    Args:
        features: Number of channels.
        momentum: Part of the running statistics kept at each step.
        epsilon: Added to the variance.
        axis_name: Mapped axis over which the batch is spread.
        rngs: Source of the initial parameters.

    Examples:
        >>> norm = BatchNorm(1, rngs=nnx.Rngs(0))
        >>> norm(jnp.array([[1.0], [3.0]]), train=True).round(3)[:, 0]
        Array([-1.,  1.], dtype=float32)

    References:
        S. Ioffe, C. Szegedy, "Batch Normalization", arXiv 1502.03167, 2015, algorithm 1.
    """

    def __init__(
        self,
        features: int,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        del rngs  # nothing is drawn; all modules are made alike
        self.scale = nnx.Param(jnp.ones(features, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(features, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(features, jnp.float32))
        self.momentum = momentum
        self.epsilon = epsilon
        self.axis_name = axis_name

    def __call__(
        self,
        x: Float[Array, "*batch c"],
        *,
        train: bool,
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Float[Array, "*batch c"]:
        """Normalize; with `train` by this batch, and update the running statistics.

        Args:
            x: Activations, channels last.
            train: Whether to use the statistics of this batch.
            mask: True for what counts in them.

        Returns:
            The normalized activations in float32.
        """
        x = x.astype(jnp.float32)
        mean, var = self.mean[...], self.var[...]
        if train:
            mean, var = masked_moments(x, mask=mask, axis_name=self.axis_name)
            keep = self.momentum
            self.mean[...] = keep * self.mean[...] + (1 - keep) * lax.stop_gradient(mean)
            self.var[...] = keep * self.var[...] + (1 - keep) * lax.stop_gradient(var)
        gain = self.scale[...] * lax.rsqrt(var + self.epsilon)
        return x * _last(gain, x.ndim) + _last(self.bias[...] - mean * gain, x.ndim)


def masked_moments(
    x: Float[Array, "*batch c"],
    *,
    mask: Bool[Array, "*batch"] | None = None,
    axis_name: AxisName | None = None,
) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """Mean and biased variance of each channel over all other axes of the global batch.

    Args:
        x: Activations, channels last.
        mask: True for what counts.
        axis_name: Mapped axis over which the batch is spread.

    Returns:
        Mean and variance, float32; both zero where nothing counts.

    Examples:
        >>> mean, var = masked_moments(jnp.array([[1.0], [3.0]]))
        >>> float(mean[0]), float(var[0])
        (2.0, 1.0)
    """
    x = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))

    def total(values: jax.Array) -> jax.Array:
        values = values if mask is None else jnp.where(mask[..., None], values, 0)
        values = values.sum(axes)
        return values if axis_name is None else lax.psum(values, axis_name)

    count = jnp.maximum(total(jnp.ones_like(x[..., :1]))[0], 1)
    mean = total(x) / count
    return mean, total(jnp.square(x - _last(mean, x.ndim))) / count


def masked_mean(
    x: Float[Array, "*batch n c"], mask: Bool[Array, "*batch n"] | None
) -> Float[Array, "*batch c"]:
    """Average over the last axis but one, where `mask` is True (zero where it nowhere is).

    Args:
        x: Values.
        mask: True for what counts, or None for everything.

    Returns:
        The means.

    Examples:
        >>> masked_mean(jnp.array([[1.0], [9.0]]), jnp.array([True, False]))
        Array([1.], dtype=float32)
    """
    if mask is None:
        return x.mean(-2)
    count = jnp.maximum(mask.sum(-1, dtype=x.dtype), 1)
    return jnp.where(mask[..., None], x, 0).sum(-2) / count[..., None]


def masked_max(
    x: Float[Array, "*batch n c"], mask: Bool[Array, "*batch n"] | None
) -> Float[Array, "*batch c"]:
    """Take the largest along the last axis but one, where `mask` is True (zero without any).

    Args:
        x: Values.
        mask: True for what counts, or None for everything.

    Returns:
        The maxima.

    Examples:
        >>> masked_max(jnp.array([[1.0], [9.0]]), jnp.array([True, False]))
        Array([1.], dtype=float32)
    """
    if mask is None:
        return largest(x, axis=-2)
    lowest = jnp.finfo(x.dtype).min
    found = largest(jnp.where(mask[..., None], x, lowest), axis=-2)
    return jnp.where(mask.any(-1)[..., None], found, 0)


def largest(x: Float[Array, "..."], *, axis: int) -> Float[Array, "..."]:
    """Take the maximum along an axis, by its index.

    The derivative of `jnp.max` looks for the elements that equal the maximum. Compiled, either side
    may be worked out anew and rounded otherwise: then none does, and 0 / 0 is NaN.

    Args:
        x: Values.
        axis: Along which.

    Returns:
        The maxima; the first of several equal ones has all of the gradient.

    Examples:
        >>> largest(jnp.array([[1.0, 3.0]]), axis=-1)
        Array([3.], dtype=float32)
    """
    index = jnp.expand_dims(jnp.argmax(lax.stop_gradient(x), axis=axis), axis)
    return jnp.take_along_axis(x, index, axis=axis).squeeze(axis)


def dropout(
    x: Float[Array, "b *rest"], keys: Key[Array, " b"] | None, number: int, rate: float
) -> Float[Array, "b *rest"]:
    """Set each number to zero with probability `rate`, and scale the others by 1 / (1 - rate).

    Args:
        x: Activations, one example a row.
        keys: One key an example, made from its index in the global batch, so that how the batch is
            spread over devices changes nothing.
        number: Tells the dropouts of one network apart.
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
        kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)

    return jax.vmap(one)(x, keys)


def _last(vector: jax.Array, ndim: int) -> jax.Array:
    return vector.reshape((1,) * (ndim - 1) + vector.shape)
