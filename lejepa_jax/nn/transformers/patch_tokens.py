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
from lejepa_jax.nn.channels import channel_rows, place_channels, read_codes
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
    channel_codes: nnx.Param | None
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
        isolated_channels: bool,
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
            math.prod(self.patch_sides) * (1 if isolated_channels else in_channels),
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
        self.channel_codes = tokens(in_channels) if isolated_channels else None

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
        x, grid = self._embed_patches(images, kept)
        cls = None if self.cls_token is None else self.cls_token[...]
        rotates: tuple[Rotate | None, ...] = (None,) * len(self.blocks)
        isolated = self.channel_codes is not None
        copies = x.shape[-2] if isolated else 1

        def rows(table: Array) -> Array:
            found = _rows(table, kept)
            return found[..., None, :] if isolated else found

        if self.position_table is not None:
            table = self.position_table[...]
            if cls is not None:
                cls, table = cls + table[:1], table[1:]
            table = table.reshape(*self.grid, self.features)
            x = x + rows(resize_table(table, grid, antialias=self.antialias))
        if self.position == "sincos":
            x = x + rows(sincos_grid(grid, self.features, reference=self.grid))
        x = rearrange(x, "b ... w -> b (...) w")
        if not isinstance(self.position, str):
            added, rotates = self._encode(self.position, grid, kept, copies)
            if added is not None:
                x = x + added.astype(jnp.float32).reshape(-1, *x.shape[1:])
        prefix = [
            repeat_rows(tokens, x)
            for tokens in (cls, None if self.registers is None else self.registers[...])
            if tokens is not None
        ]
        share, logs = self._weigh(images, grid, kept, weigh_tokens, x.shape[1])
        mask = None
        if self.causal:
            mask = jnp.asarray(causal_mask((*grid, copies), self.num_prefix))
        x = jnp.concatenate([*prefix, x], 1)
        x = self.input_norm(x) if self.norm_before else x
        bias = self._bias(grid, kept, copies)
        return x, TokenGrid(rotates, logs, share, mask, bias, copies)

    def _embed_patches(
        self, images: Values | Field, kept: Array | None
    ) -> tuple[Array, tuple[int, ...]]:
        """Map the patches: (b *grid w), and the grid; isolated channels are an axis before w."""
        values = values_of(images)
        channels = images.channels if isinstance(images, Field) else None
        if channels is not None and self.channel_codes is None:
            values, channels = place_channels(values, channels, self.in_channels), None
        wanted = self.in_channels if channels is None else channels.shape[-1]
        check_images(values, wanted, self.num_axes)
        grid = self._grid("images", *values.shape[1:-1])
        x = patchify(values, self.patch_size)
        if kept is not None:
            if self.causal:
                raise ValueError("kept must be None with causal attention, got tokens to keep")
            x = take_tokens(rearrange(x, "b ... p -> b (...) p"), kept)
        if self.channel_codes is None:
            return self.patch_embedding(x).astype(jnp.float32), grid
        x = self.patch_embedding(channel_rows(x, wanted)).astype(jnp.float32)
        codes = read_codes(self.channel_codes[...], channels)
        return x + codes.reshape(codes.shape[0], *(1,) * (x.ndim - 3), *codes.shape[1:]), grid

    def _weigh(
        self,
        images: Values | Field,
        grid: tuple[int, ...],
        kept: Array | None,
        weigh_tokens: bool | None,
        count: int,
    ) -> tuple[Array | None, Array | None]:
        """Give the shares of the patches in the mean, and log weights of all tokens as keys."""
        isolated = self.channel_codes is not None
        train = math.prod(self.grid) * (self.in_channels if isolated else 1)
        if isinstance(images, Field):
            measure = images.measure[..., None]
            if isolated:
                # Where nothing is said of the channels, that of all samples holds for each.
                own = images.channel_measure
                measure = jnp.broadcast_to(measure if own is None else own, images.values.shape)
                if images.channels is not None:
                    known = (images.channels >= 0).astype(measure.dtype)
                    measure = measure * jnp.expand_dims(known, tuple(range(1, measure.ndim - 1)))
            return log_patch_measure(
                measure,
                self.patch_size,
                num_prefix=self.num_prefix,
                num_train=train,
                kept=kept,
            )
        # Where all weights are equal they cancel, and nothing needs to be added to the scores.
        weighs = self.log_measure if weigh_tokens is None else weigh_tokens
        if weighs and self.num_prefix and (grid != self.grid or kept is not None):
            ones = jnp.ones(count, jnp.float32)
            return None, rope_jax.log_measure(ones, num_prefix=self.num_prefix, num_train=train)
        return None, None

    def _positions(self, grid: tuple[int, ...], kept: Array | None, copies: int) -> Array:
        if callable(self.coordinates):
            positions = self.coordinates(*grid)
        else:
            spec = self.coordinates or "centers"
            positions = grid_positions(spec, grid, self.grid, spacing=self.spacing)
        return self._places(positions, kept, copies)

    def _places(self, positions: Array, kept: Array | None, copies: int) -> Array:
        """Give the positions of the tokens: of the kept patches, as often as they have tokens."""
        positions = positions if kept is None else take_tokens(positions[None], kept)
        return positions if copies == 1 else jnp.repeat(positions, copies, -2)

    def _bias(self, grid: tuple[int, ...], kept: Array | None, copies: int) -> Array | None:
        if self.kernel is None:
            return None
        if self.coordinates == "healpix":
            positions, space = self._places(sphere_angles(grid), kept, copies), "sphere"
        else:
            positions, space = self._positions(grid, kept, copies), "flat"
        return kernel_bias(self.kernel, positions, space=space, num_prefix=self.num_prefix)

    def _encode(
        self,
        encoding: rope_jax.Encoding,
        grid: tuple[int, ...],
        kept: Array | None,
        copies: int,
    ) -> tuple[Array | None, tuple[Rotate, ...]]:
        params = jax.tree.map(
            lambda leaf: leaf[...],
            self.position_params,
            is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
        )
        positions = self._positions(grid, kept, copies)
        added, rotates = encode_positions(
            encoding, params, positions, sets=self.position_sets, num_prefix=self.num_prefix
        )
        return added, rotates * (len(self.blocks) // self.position_sets)
