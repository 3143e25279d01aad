"""Depthwise convolution: one filter a channel, in a form for each platform."""

import functools
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType
from jaxtyping import Array, Float

from lejepa_jax.checks import check_choice

# Values of an image block that its gradient is accumulated over at a time: it stays in the cache.
_BLOCK_VALUES = 16_384
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def depthwise_conv(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "kh kw 1 c"],
    *,
    derivatives: Literal["reverse", "all"] = "reverse",
) -> Float[Array, "b h w c"]:
    r"""Convolve each channel with a filter of its own; zeros around the map keep its size.

    .. math:: y_{ijc} = \sum_{pq} w_{pqc}\, x_{i + p - \lfloor k_h / 2 \rfloor,\,
        j + q - \lfloor k_w / 2 \rfloor,\, c}

    On a CPU it is the sum of shifted maps, each times its weights, and so are its gradients: XLA's
    convolution takes several times as long there. Elsewhere it is XLA's, and on meshes with
    explicit axes.

    Args:
        x: Maps.
        kernel: A filter a channel; its sides are odd.
        derivatives: `reverse`: `jax.grad` and `jax.jacrev`, the fast form. `all`: XLA's convolution
            everywhere, which also `jax.jvp` and `jax.jacfwd` accept (they refuse `reverse`: "can't
            apply forward-mode differentiation (jvp) to a custom_vjp function").

    Returns:
        Maps of the same size and type; sums are made in float32.

    Raises:
        ValueError: If the kernel has an even side or other channels.

    Examples:
        >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
        >>> depthwise_conv(x, jnp.ones((3, 3, 1, 1)))[0, :, :, 0]
        Array([[ 8., 15., 12.],
               [21., 36., 27.],
               [20., 33., 24.]], dtype=float32)

    References:
        Z. Liu et al., "A ConvNet for the 2020s", arXiv 2201.03545, 2022, section 2.5 (7 x 7).
    """
    check_choice("derivatives", derivatives, ("reverse", "all"))
    height, width, inner, channels = kernel.shape
    if height % 2 == 0 or width % 2 == 0 or inner != 1 or channels != x.shape[-1]:
        raise ValueError(
            f"kernel must be of shape (odd, odd, 1, {x.shape[-1]}), got {kernel.shape}"
        )
    # A batch that the compiler shards is not cut into blocks.
    explicit = AxisType.Explicit in jax.typeof(x).sharding.mesh.axis_types
    if derivatives == "all" or explicit:
        return _convolution(x, kernel)
    # A kernel that is the same on all devices becomes one of each: the sum of its gradients over
    # devices is then the transpose of that, outside of the rule below.
    of_x, of_kernel = (jax.typeof(array).manual_axis_type.varying for array in (x, kernel))
    if axes := tuple(of_x - of_kernel):
        kernel = lax.pcast(kernel, axes, to="varying")
    return _depthwise(x, kernel)


def convolve_reverse(x: Array, kernel: Array, *args: Any, **kwargs: Any) -> Array:
    """Do `depthwise_conv` with `derivatives="reverse"`, called as `nnx.Conv` calls a convolution.

    Args:
        x: Maps.
        kernel: A filter a channel.
        *args: Strides and the like of such a layer, which are those of `depthwise_conv`.
        **kwargs: The same.

    Returns:
        Maps of the same size.
    """
    del args, kwargs
    return depthwise_conv(x, kernel)


@jax.custom_vjp
def _depthwise(x: Array, kernel: Array) -> Array:
    return lax.platform_dependent(x, kernel, cpu=_shifted, default=_convolution)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _depthwise(x, kernel), (x, kernel)


def _backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    def of_convolution(x: Array, kernel: Array, cotangent: Array) -> tuple[Array, Array]:
        return jax.vjp(_convolution, x, kernel)[1](cotangent)

    return lax.platform_dependent(*saved, cotangent, cpu=_shifted_vjp, default=of_convolution)


_depthwise.defvjp(_forward, _backward)


def _convolution(x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        *(x, kernel, (1, 1), [(side // 2, side // 2) for side in kernel.shape[:2]]),
        dimension_numbers=_LAYOUT,
        feature_group_count=x.shape[-1],
    )


def _padded(x: Array, kernel_shape: tuple[int, ...]) -> Array:
    height, width = kernel_shape[:2]
    return jnp.pad(x, ((0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)))


def _shifted(x: Array, kernel: Array) -> Array:
    """Sum of shifted maps; one loop over the map, since the compiler fuses it."""
    height, width = x.shape[1:3]
    rows = _padded(x, kernel.shape)
    weights = kernel.astype(jnp.float32)
    total = jnp.zeros(x.shape, jnp.float32)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            shifted = rows[:, i : i + height, j : j + width].astype(jnp.float32)
            total = total + shifted * weights[i, j][None, None]
    return total.astype(x.dtype)


def _shifted_vjp(x: Array, kernel: Array, cotangent: Array) -> tuple[Array, Array]:
    """Gradients of `_shifted`: the map's is one too, with the filters turned around."""
    return _shifted(cotangent, kernel[::-1, ::-1]), _kernel_gradient(x, kernel, cotangent)


def _kernel_gradient(x: Array, kernel: Array, cotangent: Array) -> Array:
    """Accumulate products of shifted maps and the cotangent, a block of images at a time.

    Sums over positions come last: a reduction inside the loop would not be vectorized.
    """
    _, height, width, channels = x.shape
    size = max(1, min(8, _BLOCK_VALUES // (height * width * channels)))
    offsets = [(i, j) for i in range(kernel.shape[0]) for j in range(kernel.shape[1])]

    def add(sums: tuple[Array, ...], block: tuple[Array, Array]) -> tuple[tuple[Array, ...], None]:
        rows, grads = _padded(block[0], kernel.shape), block[1]
        new = []
        for (i, j), total in zip(offsets, sums, strict=True):
            products = rows[:, i : i + height, j : j + width] * grads
            new.append(total + functools.reduce(jnp.add, list(products)))
        return tuple(new), None

    # Made of the cotangent, so that it varies over the same mapped axes.
    zero = jnp.zeros_like(cotangent[0], jnp.float32)
    blocks = (_blocks(x.astype(jnp.float32), size), _blocks(cotangent.astype(jnp.float32), size))
    start: Any = (zero,) * len(offsets)
    sums, _ = lax.scan(add, start, blocks)
    gradient = jnp.stack([total.sum((0, 1)) for total in sums])
    return gradient.reshape(kernel.shape).astype(kernel.dtype)


def _blocks(x: Array, size: int) -> Array:
    """Cut the batch into blocks, the last one filled with zeros."""
    count = -(-x.shape[0] // size)
    filled = jnp.pad(x, ((0, count * size - x.shape[0]), *[(0, 0)] * (x.ndim - 1)))
    return filled.reshape(count, size, *x.shape[1:])


#: What `nnx.Conv` calls for a depthwise convolution, by the derivatives that are needed.
CONVOLUTIONS = MappingProxyType({"reverse": convolve_reverse, "all": lax.conv_general_dilated})
