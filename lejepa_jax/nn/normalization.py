"""Normalization in float32, over the batch with statistics of all devices, or over channels.

There are two of BatchNorm with the same names of parameters and running statistics: `BatchNorm`,
for points of which some do not exist, and `batch_norm`, that of Flax, where every row counts. They
agree to a rounding: the first takes the variance about the mean in a second pass, the second as the
mean of squares less the squared mean. Each is kept where it is, so that a run goes on bit for bit.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_positive
from lejepa_jax.nn.layers import check_sizes
from lejepa_jax.statistics.reductions import AxisName


class BatchNorm(nnx.Module):
    r"""Normalize each channel over all other axes, the points that exist, and all devices.

    Sums and counts cross devices, not means, so that shards with unequal numbers of points are
    exact. The variance is taken about the mean in a second pass (float32 would lose it otherwise).

    Args:
        features: Number of channels.
        momentum: Part of the running statistics kept at each step.
        epsilon: Added to the variance.
        axis_name: Mapped axis over which the batch is sharded.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If `features` or `epsilon` is not positive, or `momentum` not in [0, 1).

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
        check_sizes(features=features)
        check_positive("epsilon", epsilon)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
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


def batch_norm(
    features: int,
    *,
    scale_init: nnx.Initializer = nnx.initializers.ones,
    axis_name: AxisName | None = None,
    rngs: nnx.Rngs,
) -> nnx.BatchNorm:
    """Make a BatchNorm whose statistics are float32 and span every device along `axis_name`.

    Args:
        features: Number of channels.
        scale_init: Initializer of the gain; zeros make a residual branch start as the identity.
        axis_name: Mapped axis over which the batch is sharded. Leave it out under plain `jit`,
            where the mean over a sharded array is already the global one.
        rngs: Source of the initial parameters.

    Returns:
        The module; its running averages keep 90 % of their value a step.

    Examples:
        >>> batch_norm(4, rngs=nnx.Rngs(0)).momentum
        0.9

    References:
        S. Ioffe, C. Szegedy, "Batch Normalization", arXiv 1502.03167, 2015, algorithm 1.
    """
    return nnx.BatchNorm(
        features,
        momentum=0.9,
        epsilon=1e-5,
        dtype=jnp.float32,
        scale_init=scale_init,
        axis_name=axis_name,  # pyright: ignore[reportArgumentType]  (several axes do as well)
        rngs=rngs,
    )


def normalize(
    norm: nnx.BatchNorm, x: Float[Array, "*batch c"], *, train: bool
) -> Float[Array, "*batch c"]:
    """Apply `norm` in float32 and return to the dtype of `x`.

    Args:
        norm: Made by `batch_norm`.
        x: Activations, channels last.
        train: Whether to use the statistics of this batch, and to update the running ones.

    Returns:
        The normalized activations, in the dtype of `x`.

    Examples:
        >>> x = jnp.array([[1.0], [3.0]], jnp.bfloat16)
        >>> normalize(batch_norm(1, rngs=nnx.Rngs(0)), x, train=True)[:, 0]
        Array([-1, 1], dtype=bfloat16)
    """
    return norm(x, use_running_average=not train).astype(x.dtype)


def layer_norm(
    features: int, *, use_bias: bool = True, epsilon: float = 1e-6, rngs: nnx.Rngs
) -> nnx.LayerNorm:
    """Make a LayerNorm that works in float32 and returns float32, whatever comes in.

    Args:
        features: Number of channels.
        use_bias: Whether it adds a learned offset.
        epsilon: Added to the variance.
        rngs: Source of the initial parameters.

    Returns:
        The module.

    Raises:
        ValueError: If `epsilon` is not positive.

    Examples:
        >>> layer_norm(2, rngs=nnx.Rngs(0))(jnp.array([[1, 3]], jnp.bfloat16)).dtype
        dtype('float32')

    References:
        J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", arXiv 1607.06450, 2016.
    """
    check_positive("epsilon", epsilon)
    return nnx.LayerNorm(features, epsilon=epsilon, use_bias=use_bias, dtype=jnp.float32, rngs=rngs)


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
        axis_name: Mapped axis over which the batch is sharded.

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


def _last(vector: jax.Array, ndim: int) -> jax.Array:
    return vector.reshape((1,) * (ndim - 1) + vector.shape)
