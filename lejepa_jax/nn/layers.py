"""What encoders share: checks, GELU, patches as rows, stochastic depth by example."""

import math
from collections.abc import Sequence
from numbers import Integral

import jax
import jax.numpy as jnp
from einops import rearrange
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Key

from lejepa_jax.statistics.normal import normal_cdf

# Views of an example fold small numbers into the same key: dropout goes another way from it.
_DROPOUT = 0x64726F70

# What fields of one to three axes are called in messages, and their axes.
_FIELDS = {
    1: ("series", "time"),
    2: ("images", "height, width"),
    3: ("volumes", "depth, height, width"),
}


def check_sizes(**sizes: int) -> None:
    """Require whole numbers above zero.

    Args:
        **sizes: Arguments by name.

    Raises:
        ValueError: For the first that is none.

    Examples:
        >>> check_sizes(width=64, depth=0)
        Traceback (most recent call last):
            ...
        ValueError: depth must be a positive whole number, got 0
    """
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")


def check_images(images: Array, channels: int, num_axes: int = 2) -> None:
    """Require a batch of normalized images, or of other fields, channels last.

    Args:
        images: What came.
        channels: How many channels are wanted.
        num_axes: Axes of space: 2 for images, 1 for series, 3 for volumes.

    Raises:
        ValueError: For another number of axes, an integer type, or another number of channels.

    Examples:
        >>> check_images(jnp.ones((8, 8, 3)), 3)
        Traceback (most recent call last):
            ...
        ValueError: images must have shape (batch, height, width, 3), got (8, 8, 3)
    """
    what, axes = _FIELDS[num_axes]
    if images.ndim != num_axes + 2:
        raise ValueError(f"{what} must have shape (batch, {axes}, {channels}), got {images.shape}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"{what} must be normalized, of a floating dtype (see "
            f"lejepa_jax.augment.eval_view), got {images.dtype}"
        )
    if images.shape[-1] != channels:
        raise ValueError(f"{what} must have {channels} channels, got {images.shape}")


@jax.custom_jvp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Gaussian error linear unit :math:`x \, \Phi(x)`, exact.

    The derivative :math:`\Phi(x) + x \, \phi(x)` is given in closed form: JAX 0.12 differentiates
    `erf` by a polynomial that `jax.shard_map` with `check_vma=True` refuses.

    Args:
        x: Activations.

    Returns:
        The unit's output, in the dtype of `x`.

    Examples:
        >>> f"{gelu(jnp.array(1.0)):.4f}"
        '0.8413'

    References:
        D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, 2016, section 2.
    """
    return x * normal_cdf(x)


@gelu.defjvp
def _gelu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    cdf = normal_cdf(x)
    density = jnp.exp(-0.5 * x * x) * math.sqrt(0.5 / math.pi)
    return x * cdf, (cdf + x * density) * tangent


def quick_gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Approximate GELU :math:`x \, \sigma(1.702 x)`, as the first weights of CLIP want it.

    Args:
        x: Activations.

    Returns:
        The unit's output, in the dtype of `x`.

    Examples:
        >>> f"{quick_gelu(jnp.array(1.0)):.4f}"
        '0.8458'

    References:
        D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, 2016, section 2.
    """
    return x * jax.nn.sigmoid(1.702 * x)


def patchify(
    images: Float[Array, "b *space c"], size: int | tuple[int, ...]
) -> Float[Array, "b *grid p"]:
    """Cut images into square patches, one row of `size * size * c` numbers each.

    A linear map of these rows is the convolution whose stride equals its kernel, as one matrix
    product. Rows and columns that do not fill a patch are dropped, as that convolution does. Series
    and volumes are cut likewise, along their one or three axes.

    Args:
        images: Images or feature maps; or fields of another number of axes.
        size: Side of a patch in pixels, or one for each axis.

    Returns:
        The patches in their grid; inside a row the order is (row, column, channel).

    Examples:
        >>> patchify(jnp.arange(8.0).reshape(1, 2, 4, 1), 2)[0, 0]
        Array([[0., 1., 4., 5.],
               [2., 3., 6., 7.]], dtype=float32)
        >>> patchify(jnp.ones((1, 6, 2)), 3).shape
        (1, 2, 6)
    """
    rank = images.ndim - 2
    sizes = (size,) * rank if isinstance(size, int) else size
    whole = tuple(side // p * p for side, p in zip(images.shape[1:-1], sizes, strict=True))
    patches = images[(slice(None), *(slice(side) for side in whole))]
    # One axis at a time: more are not split in a batch that an explicit mesh axis shards.
    for axis, p in enumerate(sizes):
        grid = " ".join(f"g{i}" for i in range(axis))
        inner = " ".join(f"p{i}" for i in range(axis))
        rest = " ".join(f"s{i}" for i in range(axis + 1, rank))
        patches = rearrange(
            patches,
            f"b {grid} {inner} (g{axis} p{axis}) {rest} c "
            f"-> b {grid} g{axis} {inner} p{axis} {rest} c",
            **{f"p{axis}": p},
        )
    grid = " ".join(f"g{i}" for i in range(rank))
    inner = " ".join(f"p{i}" for i in range(rank))
    return rearrange(patches, f"b {grid} {inner} c -> b {grid} ({inner} c)")


def repeat_rows(row: Float[Array, "n d"], examples: Float[Array, "b ..."]) -> Float[Array, "b n d"]:
    """Repeat rows for every example, sharded as the examples are.

    Args:
        row: What every example gets.
        examples: The examples.

    Returns:
        The rows, examples first.

    Examples:
        >>> repeat_rows(jnp.ones((1, 2)), jnp.zeros((3, 5))).shape
        (3, 1, 2)
    """
    shape = (examples.shape[0], *row.shape)
    sharding = jax.typeof(examples).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return jnp.broadcast_to(row[None], shape)
    # Nothing here says how an explicit mesh axis is to shard it: it must be said.
    where = NamedSharding(sharding.mesh, PartitionSpec(sharding.spec[0]))
    return jnp.broadcast_to(row[None], shape, out_sharding=where)


def drop_path_ramp(rate: float, depth: int) -> tuple[float, ...]:
    """Raise a rate of stochastic depth linearly over the blocks, from 0 to `rate`.

    Args:
        rate: Probability to drop the branch of the last block.
        depth: Number of blocks.

    Returns:
        One probability a block. A single block gets 0, the start of the ramp.

    Raises:
        ValueError: If `rate` is not in [0, 1).

    Examples:
        >>> drop_path_ramp(0.5, 3)
        (0.0, 0.25, 0.5)

    References:
        G. Huang et al., "Deep Networks with Stochastic Depth", arXiv 1603.09382, 2016, eq. 4.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path must be in [0, 1), got {rate}")
    return tuple(rate * block / max(depth - 1, 1) for block in range(depth))


def drop_path_scales(
    keys: Key[Array, " b"] | None, rates: Sequence[float]
) -> Float[Array, "b branches"]:
    r"""Draw what multiplies each residual branch of each example under stochastic depth.

    With probability :math:`1 - p` the branch survives and is multiplied by :math:`1 / (1 - p)`, so
    that its expectation stays; otherwise it is multiplied by 0. An example's draws depend on its
    own key alone: how the batch is sharded over devices changes nothing.

    Args:
        keys: One key an example, made from its index in the global batch.
        rates: Probability :math:`p` to drop, one a branch.

    Returns:
        The multipliers in float32.

    Raises:
        ValueError: If `keys` is None.

    Examples:
        >>> drop_path_scales(jax.random.split(jax.random.key(0), 4), (0.0, 0.5))[:, 0]
        Array([1., 1., 1., 1.], dtype=float32)

    References:
        G. Huang et al., "Deep Networks with Stochastic Depth", arXiv 1603.09382, 2016, eq. 2.
    """
    if keys is None:
        raise ValueError("keys must hold one key an image to train with drop_path > 0, got None")
    survive = 1 - jnp.asarray(rates, jnp.float32)
    draws = jax.vmap(lambda key: jax.random.uniform(key, survive.shape, jnp.float32))(keys)
    return (draws < survive[None]).astype(jnp.float32) / survive[None]


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
        raise ValueError("keys must hold one key an example to train with dropout, got None")

    def one(x: jax.Array, key: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(key, _DROPOUT), number)
        kept = jax.random.bernoulli(key, jnp.float32(1 - rate), x.shape)
        return jnp.where(kept, x / (1 - rate), 0)

    return jax.vmap(one)(x, keys)
