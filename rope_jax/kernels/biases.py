"""Distances, and biases of attention scores made of them."""

from collections.abc import Sequence
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rope_jax.checks import check_choice
from rope_jax.kernels.radial import Kernel
from rope_jax.positions.sphere import unit_vectors
from rope_jax.positions.transforms import wrap

Space = Literal["flat", "torus", "sphere"]


def euclidean(offsets: Float[Array, "*b m"]) -> Float[Array, "*b"]:
    """Length of an offset, with a zero gradient (not NaN) where it is zero.

    Examples:
        >>> euclidean(jnp.array([3.0, 4.0]))
        Array(5., dtype=float32)
    """
    square = jnp.sum(jnp.square(offsets.astype(jnp.float32)), axis=-1)
    away = square > 0
    return jnp.where(away, jnp.sqrt(jnp.where(away, square, 1.0)), 0.0)


def distances(
    queries: Float[Array, "*b n m"],
    keys: Float[Array, "*b s m"],
    *,
    space: Space = "flat",
    period: float | Sequence[float] = float(2 * np.pi),
) -> Float[Array, "*b n s"]:
    r"""Distance of every query to every key.

    Args:
        queries: Positions.
        keys: Positions.
        space: ``"flat"``; ``"torus"``, the shortest way around; or ``"sphere"``, the geodesic
            between ``(longitude, latitude)`` on the unit sphere.
        period: Way around the torus, for all axes or for each.

    Returns:
        Distances, in units of position, on the sphere in radians.

    Raises:
        ValueError: If the space is unknown, or positions on the sphere are not two angles.

    Examples:
        >>> antipode = jnp.array([[jnp.pi, 0.0]])
        >>> round(float(distances(jnp.zeros((1, 2)), antipode, space="sphere")[0, 0]), 4)
        3.1416
    """
    check_choice("space", space, get_args(Space))
    if space == "sphere":
        if queries.shape[-1] != 2:
            raise ValueError(f"positions must be (longitude, latitude), got {queries.shape[-1]}")
        queries, keys = unit_vectors(queries), unit_vectors(keys)
    queries, keys = queries.astype(jnp.float32), keys.astype(jnp.float32)
    offsets = queries[..., :, None, :] - keys[..., None, :, :]
    if space == "torus":
        offsets = wrap(offsets, period)
    length = euclidean(offsets)
    if space == "sphere":
        # Half the angle from its sine and cosine: accurate at both ends; arccos is at neither.
        opposite = euclidean(queries[..., :, None, :] + keys[..., None, :, :])
        return 2 * jnp.arctan2(length, opposite)
    return length


def pairwise_bias(
    kernel: Kernel,
    queries: Float[Array, "*b n m"],
    keys: Float[Array, "*b s m"],
    *,
    space: Space = "flat",
    period: float | Sequence[float] = float(2 * np.pi),
) -> Float[Array, "*b 1 n s"]:
    """The log of a kernel between every query and key, for the ``bias`` of attention.

    Args:
        kernel: Any kernel.
        queries: Positions.
        keys: Positions.
        space: See :func:`distances`.
        period: See :func:`distances`.

    Returns:
        One bias for all heads.

    Examples:
        >>> from rope_jax.kernels import exponential
        >>> pairwise_bias(exponential(1.0), jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]))
        Array([[[-5.]]], dtype=float32)
    """
    return kernel.log(distances(queries, keys, space=space, period=period))[..., None, :, :]


def alibi_slopes(num_heads: int) -> Float[Array, " {num_heads}"]:
    r"""ALiBi's slopes, :math:`2^{-8(i+1)/H}`, and its rule for numbers that are no power of two.

    Args:
        num_heads: :math:`H`.

    Returns:
        One slope for each head.

    Examples:
        >>> alibi_slopes(4).tolist()
        [0.25, 0.0625, 0.015625, 0.00390625]

    References:
        Press et al., "Train short, test long", arXiv 2108.12409, 2021, section 3.
    """

    def powers(num: int) -> np.ndarray:
        return 2.0 ** (-8 * np.arange(1, num + 1) / num)

    power = 2 ** int(np.log2(num_heads))
    slopes = np.concatenate([powers(power), powers(2 * power)[::2][: num_heads - power]])
    return jnp.asarray(slopes, jnp.float32)


def alibi(
    queries: Float[Array, "*b n m"],
    keys: Float[Array, "*b s m"],
    slopes: Float[Array, " h"],
    *,
    space: Space = "flat",
) -> Float[Array, "*b h n s"]:
    r"""Linear bias :math:`-m_h\, |x_i - x_j|`, in any number of dimensions.

    Args:
        queries: Positions, integer in the paper.
        keys: Positions.
        slopes: One for each head, see :func:`alibi_slopes`.
        space: See :func:`distances`.

    Returns:
        A bias for each head.

    Examples:
        >>> alibi(jnp.zeros((1, 1)), jnp.array([[2.0]]), alibi_slopes(8))[0]
        Array([[-1.]], dtype=float32)

    References:
        Press et al., "Train short, test long", arXiv 2108.12409, 2021.
    """
    length = distances(queries, keys, space=space)[..., None, :, :]
    return -slopes.astype(jnp.float32).reshape((1,) * (length.ndim - 3) + (-1, 1, 1)) * length


def relative_index(shape: Sequence[int]) -> Int[np.ndarray, "n n"]:
    """Row of the relative-bias table for every pair of cells of a grid.

    Args:
        shape: Cells along each axis, rows first.

    Returns:
        Indices into ``prod(2 P - 1)`` displacements, flattened row-major.

    Examples:
        >>> relative_index((2,))
        array([[1, 0],
               [2, 1]])
    """
    cells = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape))
    offset = cells[:, None, :] - cells[None, :, :] + np.asarray(shape) - 1
    displacements = tuple(2 * size - 1 for size in shape)
    return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(offset, -1, 0)), displacements))


def relative_bias(table: Float[Array, "h k"], shape: Sequence[int]) -> Float[Array, "h n n"]:
    """Learned bias for every displacement on a grid, as in Swin.

    Args:
        table: One value for each head and displacement, ``prod(2 P - 1)`` of them.
        shape: Cells along each axis, rows first.

    Returns:
        The bias of every head.

    Raises:
        ValueError: If the table has another number of displacements.

    Examples:
        >>> relative_bias(jnp.arange(3.0)[None, :], (2,))
        Array([[[1., 0.],
                [2., 1.]]], dtype=float32)

    References:
        Liu et al., "Swin transformer", arXiv 2103.14030, 2021, equation 4.
    """
    wanted = int(np.prod([2 * size - 1 for size in shape]))
    if table.shape[-1] != wanted:
        raise ValueError(f"table must have {wanted} displacements, got {table.shape[-1]}")
    return table[:, relative_index(shape)]
