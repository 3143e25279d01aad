"""Arguments that do not fit, and shapes and dtypes that must agree."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, Shaped


def check_positions(positions: Num[Array, "*b n m"], num_axes: int) -> Float[Array, "*b n m"]:
    """Check the width of positions and convert them to float32.

    bfloat16 does not distinguish the columns of a large grid or integers above 256: frequencies
    multiply positions in float32 whatever the dtype of the input.

    Raises:
        ValueError: If the last axis is not ``num_axes`` wide.
    """
    if positions.shape[-1] != num_axes:
        raise ValueError(
            f"positions must have num_axes = {num_axes} coordinates, got {positions.shape[-1]}"
        )
    return positions.astype(jnp.float32)


def check_multiple(name: str, value: int, divisor: int) -> None:
    """Raise ``ValueError`` with both numbers unless ``divisor`` divides ``value``."""
    if value <= 0 or value % divisor:
        raise ValueError(f"{name} must be a positive multiple of {divisor}, got {value}")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ``ValueError`` with the choices unless ``value`` is one of them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")


def expand_to(table: Shaped[Array, "..."], ndim: int) -> Shaped[Array, "..."]:
    """Put axes of size one in front of ``table`` until it has ``ndim`` axes."""
    return table.reshape((1,) * (ndim - table.ndim) + table.shape)


def check_channels(rotated: int, x: Shaped[Array, "*b d"]) -> None:
    """Raise ``ValueError`` if tables rotate more channels than there are."""
    if rotated > x.shape[-1]:
        raise ValueError(f"the tables rotate {rotated} channels, x has only {x.shape[-1]}")


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Raise ``ValueError`` unless there are sizes and all are positive."""
    if not len(sizes) or min(sizes) < 1:
        raise ValueError(f"{name} must hold positive sizes, got {tuple(sizes)}")


def is_sharded(x: Shaped[Array, "..."]) -> bool:
    """Whether an axis of ``x`` is sharded over a mesh with explicit axes."""
    return any(axes is not None for axes in jax.typeof(x).sharding.spec)


def wider_dtype(x: Shaped[Array, "..."], table: Shaped[Array, "..."]) -> jnp.dtype:
    """The dtype to rotate in: the one of the two with more bytes, that of ``x`` when equal."""
    return table.dtype if table.dtype.itemsize > x.dtype.itemsize else x.dtype


def per_axis(name: str, value: float | Sequence[float], num: int) -> np.ndarray:
    """One value for each axis, from one for all or one for each."""
    values = np.asarray(value, np.float64)
    if values.ndim == 0:
        return np.full(num, float(values))
    if values.shape != (num,):
        raise ValueError(f"{name} must be a number or {num} of them, got {value}")
    return values
