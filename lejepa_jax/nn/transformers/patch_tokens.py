"""The tokens of a transformer: patches, class and register tokens, and where they are."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

import rope_jax
from lejepa_jax.nn.fields import (
    Field,
    Values,
    causal_mask,
    log_patch_measure,
    per_axis,
    values_of,
)
from lejepa_jax.nn.layers import check_images, patchify, repeat_rows
from lejepa_jax.nn.transformers.layer_reader import LayerReader, TokenGrid
from lejepa_jax.nn.transformers.positions import (
    encode_positions,
    grid_positions,
    kernel_bias,
    position_by_name,
    resize_table,
    sincos_grid,
    sphere_angles,
)
from lejepa_jax.nn.transformers.token_dropping import take_tokens
from lejepa_jax.nn.transformers.transformer import Rotate


def _rows(table: Float[Array, "*grid w"], kept: Array | None) -> Array:
    """What a table adds to the patches: to those in the grid, or to the kept ones in a row."""
    return table[None] if kept is None else take_tokens(table.reshape(1, -1, table.shape[-1]), kept)


class PatchTokens(LayerReader):
    """What stands in front of the blocks: the map of patches, further tokens, positions.

    An encoder calls `_lay_grid`, `_read_position` and `_make_tokens` while it is made.
    """

    antialias: bool
    causal: bool
    input_norm: nnx.LayerNorm
    log_measure: bool
    norm_before: bool

    def _lay_grid(
        self,
        patch_size: int | tuple[int, ...],
        image_size: int | tuple[int, ...],
        num_axes: int,
        spacing: tuple[float, ...] | None,
    ) -> None:
        """Say how patches tile what is trained on."""
        if num_axes not in (1, 2, 3):
            raise ValueError(f"num_axes must be 1, 2 or 3, got {num_axes}")
        if spacing is not None and (len(spacing) != num_axes or min(spacing) <= 0):
            raise ValueError(f"spacing must have {num_axes} positive numbers, got {spacing}")
        patches = per_axis("patch_size", patch_size, num_axes)
        self.patch_size = patch_size
        self.patch_sides = patches
        self.num_axes = num_axes
        self.spacing = spacing and tuple(x * p for x, p in zip(spacing, patches, strict=True))
        self.grid = self._grid("image_size", *per_axis("image_size", image_size, num_axes))

    def _read_position(
        self,
        position: str | rope_jax.Encoding,
        coordinates: Callable[..., Array] | str | None,
        width: int,
        num_heads: int,
        position_table: bool,
    ) -> None:
        """Find the encoding of a name, and refuse coordinates that cannot be read."""
        # What was asked for, for weights of other libraries: an encoding does not say its name.
        self.position_text = position if isinstance(position, str) else None
        if isinstance(position, str):
            axes = 3 if coordinates == "healpix" else None
            position = position_by_name(
                position, width // num_heads, num_heads, self.grid, num_axes=axes
            )
        if position_table and isinstance(position, str):
            raise ValueError(f"position_table wants an encoding beside it, got {position!r}")
        if isinstance(coordinates, str):
            grid_positions(coordinates, self.grid, self.grid)
        self.position = position
        self.coordinates = coordinates

    def _read_kernel(self, kernel: str | None) -> None:
        """Refuse a kernel that cannot be read."""
        if kernel is not None:
            kernel_bias(kernel, jnp.zeros((1, 2)), space="flat", num_prefix=0)
        self.kernel = kernel

    def _make_tokens(
        self,
        width: int,
        depth: int,
        *,
        in_channels: int,
        has_class: bool,
        num_registers: int,
        position_table: bool,
        share_positions: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        """Make the parameters in front of the blocks."""
        token_init = nnx.initializers.normal(0.02)

        def tokens(count: int) -> nnx.Param:
            # Random, for tokens that start equal stay equal.
            return nnx.Param(token_init(rngs.params(), (count, width), jnp.float32))

        self.in_channels = in_channels
        self.features = width
        self.num_prefix = has_class + num_registers
        self.patch_embedding = nnx.Linear(
            math.prod(self.patch_sides) * in_channels,
            width,
            use_bias=not self.norm_before,
            dtype=dtype,
            rngs=rngs,
        )
        self.cls_token = tokens(1) if has_class else None
        self.registers = tokens(num_registers) if num_registers else None
        learned = self.position == "learned" or position_table
        rows = has_class + math.prod(self.grid)
        self.position_table = tokens(rows) if learned else None
        if not isinstance(self.position, str):
            shared = share_positions or self.position.embed is not None
            self.position_sets = 1 if shared else depth
            drawn = rope_jax.init_layers(self.position, rngs.params(), self.position_sets)
            self.position_params = nnx.data(jax.tree.map(nnx.Param, drawn))

    def _grid(self, name: str, *sides: int) -> tuple[int, ...]:
        if any(not n or n % p for n, p in zip(sides, self.patch_sides, strict=True)):
            raise ValueError(
                f"{name} must be a multiple of patch_size={self.patch_size} a side, "
                f"got {' x '.join(map(str, sides))}"
            )
        return tuple(n // p for n, p in zip(sides, self.patch_sides, strict=True))

    def _embed(
        self,
        images: Values | Field,
        weigh_tokens: bool | None = None,
        kept: Int[Array, "b k"] | None = None,
    ) -> tuple[Float[Array, "b n width"], TokenGrid]:
        """Make the tokens, and what turns and weighs the queries and keys of this grid."""
        values = values_of(images)
        check_images(values, self.in_channels, self.num_axes)
        grid = self._grid("images", *values.shape[1:-1])
        x = patchify(values, self.patch_size)
        if kept is not None:
            if self.causal:
                raise ValueError("kept must be None with causal attention, got tokens to keep")
            x = take_tokens(rearrange(x, "b ... p -> b (...) p"), kept)
        x = self.patch_embedding(x).astype(jnp.float32)
        cls = None if self.cls_token is None else self.cls_token[...]
        rotates: tuple[Rotate | None, ...] = (None,) * len(self.blocks)
        if self.position_table is not None:
            table = self.position_table[...]
            if cls is not None:
                cls, table = cls + table[:1], table[1:]
            table = table.reshape(*self.grid, self.features)
            x = x + _rows(resize_table(table, grid, antialias=self.antialias), kept)
        if self.position == "sincos":
            x = x + _rows(sincos_grid(grid, self.features, reference=self.grid), kept)
        x = rearrange(x, "b ... w -> b (...) w")
        if not isinstance(self.position, str):
            added, rotates = self._encode(self.position, grid, kept)
            if added is not None:
                x = x + added.astype(jnp.float32).reshape(-1, *x.shape[1:])
        prefix = [
            repeat_rows(tokens, x)
            for tokens in (cls, None if self.registers is None else self.registers[...])
            if tokens is not None
        ]
        logs = share = None
        # Where all weights are equal they cancel, and nothing needs to be added to the scores.
        weighs = self.log_measure if weigh_tokens is None else weigh_tokens
        if weighs and self.num_prefix and (grid != self.grid or kept is not None):
            logs = rope_jax.log_measure(
                jnp.ones(x.shape[1], jnp.float32),
                num_prefix=self.num_prefix,
                num_train=math.prod(self.grid),
            )
        if isinstance(images, Field):
            train = math.prod(self.grid)
            share, logs = log_patch_measure(
                images.measure,
                self.patch_size,
                num_prefix=self.num_prefix,
                num_train=train,
                kept=kept,
            )
        mask = jnp.asarray(causal_mask(grid, self.num_prefix)) if self.causal else None
        x = jnp.concatenate([*prefix, x], 1)
        x = self.input_norm(x) if self.norm_before else x
        return x, TokenGrid(rotates, logs, share, mask, self._bias(grid, kept))

    def _positions(self, grid: tuple[int, ...], kept: Array | None) -> Array:
        if callable(self.coordinates):
            positions = self.coordinates(*grid)
        else:
            spec = self.coordinates or "centers"
            positions = grid_positions(spec, grid, self.grid, spacing=self.spacing)
        return positions if kept is None else take_tokens(positions[None], kept)

    def _bias(self, grid: tuple[int, ...], kept: Array | None) -> Array | None:
        if self.kernel is None:
            return None
        if self.coordinates == "healpix":
            positions, space = sphere_angles(grid), "sphere"
            positions = positions if kept is None else take_tokens(positions[None], kept)
        else:
            positions, space = self._positions(grid, kept), "flat"
        return kernel_bias(self.kernel, positions, space=space, num_prefix=self.num_prefix)

    def _encode(
        self, encoding: rope_jax.Encoding, grid: tuple[int, ...], kept: Array | None
    ) -> tuple[Array | None, tuple[Rotate, ...]]:
        params = jax.tree.map(
            lambda leaf: leaf[...],
            self.position_params,
            is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
        )
        positions = self._positions(grid, kept)
        added, rotates = encode_positions(
            encoding, params, positions, sets=self.position_sets, num_prefix=self.num_prefix
        )
        return added, rotates * (len(self.blocks) // self.position_sets)
