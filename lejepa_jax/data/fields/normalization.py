"""Normalization of each channel, and what of a field exists."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normalization:
    r"""What is done to the values of each channel: :math:`(\mathrm{clip}(v, l, h) - m) / s`.

    Attributes:
        mean: Of the training part, where values are there.
        std: Likewise.
        low: Values below become this one: a percentile, or the smallest one of the training part.
        high: Values above become this one, likewise.
        clip: Whether they do.
        missing: A value that stands for none, beside NaN; None for no such value.

    Raises:
        ValueError: If they are not finite, of different lengths, or a deviation is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    clip: bool = False
    missing: float | None = None

    def __post_init__(self):
        lengths = {len(x) for x in (self.mean, self.std, self.low, self.high)}
        if len(lengths) != 1 or not self.mean:
            raise ValueError("mean, std, low and high must have one number for each channel")
        if not all(map(math.isfinite, (*self.mean, *self.std, *self.low, *self.high))):
            raise ValueError("mean, std, low and high must be finite")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")

    def apply(
        self, values: Array, extent: Array, channels: Int[Array, "b c"] | None = None
    ) -> tuple[Float[Array, "b *space c"], Float[Array, "b *space c"]]:
        """Normalize values, and say which of them exist.

        Args:
            values: As they are stored (b *space c).
            extent: Samples that are there along each axis (b rank).
            channels: Number of each channel among those of these statistics; None for all of them,
                in order.

        Returns:
            Normalized values, zero where there is none; and 1 where there is one.

        Examples:
            >>> own = Normalization(mean=(1.0,), std=(2.0,), low=(0.0,), high=(9.0,), missing=-1)
            >>> values, exists = own.apply(jnp.array([[[5], [-1], [7]]]), jnp.array([[2]]))
            >>> values[0, :, 0].tolist(), exists[0, :, 0].tolist()
            ([2.0, 0.0, 0.0], [1.0, 0.0, 0.0])
        """
        rank = values.ndim - 2
        exists = jnp.isfinite(values) if jnp.issubdtype(values.dtype, jnp.floating) else None
        if self.missing is not None:
            there = values != jnp.asarray(self.missing, values.dtype)
            exists = there if exists is None else exists & there
        exists = jnp.ones(values.shape, bool) if exists is None else exists
        for axis in range(rank):
            place = jnp.arange(values.shape[axis + 1])
            inside = place[None] < extent[:, axis, None]
            shape = [1] * values.ndim
            shape[0], shape[axis + 1] = values.shape[0], values.shape[axis + 1]
            exists = exists & inside.reshape(shape)
        x = jnp.where(exists, values.astype(jnp.float32), 0.0)

        def along(numbers: Any) -> Array:
            row = jnp.asarray(numbers, jnp.float32)
            row = row[None] if channels is None else row[channels]
            return row.reshape(row.shape[0], *(1,) * rank, row.shape[1])

        if self.clip:
            x = jnp.clip(x, along(self.low), along(self.high))
        mean, scale = along(self.mean), along(1 / np.asarray(self.std))
        return jnp.where(exists, (x - mean) * scale, 0.0), exists.astype(jnp.float32)
