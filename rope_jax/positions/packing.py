"""Token sets of different sizes in rows of one length."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rope_jax.positions.coordinates import Coordinates


class Packed(NamedTuple):
    """Token sets of different sizes in one array."""

    positions: Float[Array, "b n m"]
    measure: Float[Array, "b n"]  # zero where there is no token
    segments: Int[Array, "b n"]  # which set a token belongs to, -1 where there is none

    @property
    def mask(self) -> Bool[Array, "b 1 n n"]:
        """Which queries may see which keys: those of their own set; padding sees padding."""
        return self.segments[:, None, :, None] == self.segments[:, None, None, :]


def pack(sets: Sequence[Coordinates], length: int, *, share_rows: bool = False) -> Packed:
    """Put token sets of different sizes (images of different shapes) into rows of one length.

    Args:
        sets: Coordinates without leading axes.
        length: Tokens in a row.
        share_rows: Whether a row may hold several sets, first fit (sequence packing); otherwise one
            each.

    Returns:
        Rows of positions, measures (zero for padding) and segment numbers.

    Raises:
        ValueError: If there is no set, or one is longer than a row.

    Examples:
        >>> from rope_jax import patch_grid
        >>> packed = pack([patch_grid((1, 2)), patch_grid((1, 1))], 4, share_rows=True)
        >>> packed.segments
        Array([[ 0,  0,  1, -1]], dtype=int32)
    """
    if not sets:
        raise ValueError("sets must have at least one set of tokens, got none")
    longest = max(len(s.positions) for s in sets)
    if longest > length:
        raise ValueError(f"length must be at least the longest set's {longest}, got {length}")
    rows: list[list[int]] = []
    free: list[int] = []
    for index, tokens in enumerate(sets):
        need = len(tokens.positions)
        fits = [row for row in range(len(rows)) if free[row] >= need] if share_rows else []
        if not fits:
            rows.append([])
            free.append(length)
            fits = [len(rows) - 1]
        rows[fits[0]].append(index)
        free[fits[0]] -= need

    def fill(parts: list[Array], value: float, dtype: type) -> Array:
        whole = jnp.concatenate(parts).astype(dtype)
        pad = [(0, length - whole.shape[0])] + [(0, 0)] * (whole.ndim - 1)
        return jnp.pad(whole, pad, constant_values=value)

    return Packed(
        positions=jnp.stack([fill([sets[i].positions for i in r], 0, jnp.float32) for r in rows]),
        measure=jnp.stack([fill([sets[i].measure for i in r], 0, jnp.float32) for r in rows]),
        segments=jnp.stack(
            [
                fill([jnp.full(len(sets[i].positions), i, jnp.int32) for i in r], -1, jnp.int32)
                for r in rows
            ]
        ),
    )
