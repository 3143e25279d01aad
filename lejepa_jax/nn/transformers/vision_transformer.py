"""Vision transformers of images, series and volumes: any size, positions, attention maps."""

import math
from collections import deque
from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

import rope_jax
from lejepa_jax.checks import check_choice
from lejepa_jax.nn.fields import (
    Field,
    Values,
    causal_mask,
    log_patch_measure,
    per_axis,
    values_of,
    weighted_mean,
)
from lejepa_jax.nn.layers import (
    check_images,
    check_sizes,
    drop_path_ramp,
    patchify,
    repeat_rows,
)
from lejepa_jax.nn.normalization import layer_norm
from lejepa_jax.nn.transformers.layer_reader import LayerReader, TokenGrid
from lejepa_jax.nn.transformers.positions import (
    encode_positions,
    grid_positions,
    position_by_name,
    resize_table,
    sincos_grid,
)
from lejepa_jax.nn.transformers.token_dropping import take_tokens
from lejepa_jax.nn.transformers.transformer import AttentionPooling, Block, Rotate
from lejepa_jax.statistics.reductions import AxisName


def _rows(table: Float[Array, "*grid w"], kept: Array | None) -> Array:
    """What a table adds to the patches: to those in the grid, or to the kept ones in a row."""
    return table[None] if kept is None else take_tokens(table.reshape(1, -1, table.shape[-1]), kept)


class ViT(LayerReader):
    r"""Vision transformer over images of any size that patches tile, or over series and volumes.

    A `Field` comes with a measure: patches are weighted by it as keys and in the mean, and what is
    missing is not seen.

    Tokens are ordered [class, registers, patches row by row]. Matrix products run in `dtype`; the
    stream of tokens, norms and softmax stay float32, as under automatic mixed precision. Linear
    maps start at variance 1 / fan-in with zero biases, so that any width starts alike.

    `position` says where patches are:

    - "learned": a table for the grid of `image_size`, and a row for the class token. For another
      grid it is resized bicubically with half-pixel centers and no antialiasing, so that a smaller
      crop samples the table instead of averaging it away.
    - "sincos": `sincos_table`, stretched over the grid of `image_size`.
    - "none". These three take no options.
    - any other name of `rope_jax.ENCODINGS`, alone ("spherical") or called with options
      ("liere(block_size=4)"): that encoding. A head whose channels are no multiple of 3 keeps the
      remainder unrotated under "spherical" and "geope", and the table of "learned_absolute" has
      the grid of `image_size`, unless the options say otherwise.
    - a `rope_jax.Encoding`; `rope_jax.sincos` is one of its own, on the positions of encodings.

    Encodings act on patches only: class and register tokens are neither rotated nor moved. What
    they learn they learn in each block apart, or once if they add to the tokens; their tables are
    made once per forward pass. They get the positions of `coordinates`.

    Args:
        width: Width of the tokens.
        depth: Number of blocks.
        num_heads: Heads of each block; must divide `width`.
        mlp_width: Width of the hidden layer of the MLPs, 4 * `width` by default.
        patch_size: Side of a patch in pixels, or one for each axis.
        image_size: Side of the images, or one for each axis, for whose grid positions are laid out.
        num_axes: 2 for images, 1 for series, 3 for volumes; their sizes are said as those of
            images.
        spacing: Distance of two samples along each axis where they differ, see `grid_positions`.
        in_channels: Channels of the images.
        pooling: "cls" adds a class token and returns it; "mean" returns the mean of the patches,
            "attention" what `AttentionPooling` reads from them.
        norm_after_mean: Whether the last norm acts on the mean of the patches instead of on each.
        num_registers: Further tokens that take part and are not returned.
        position: See above.
        position_table: Whether a learned table is added to the tokens beside an encoding of
            `rope_jax`, as "learned" does alone.
        antialias: Whether the learned table is averaged where a grid is smaller, see
            `resize_table`.
        share_positions: Whether all blocks share what a rotary encoding learns.
        coordinates: Positions `(gh * gw, m)` of a grid of `gh` by `gw` patches for encodings; by
            default `rope_jax.patch_grid`: columns and rows of the patches' centers, which fill
            [-pi, pi] on the grid of `image_size` and keep its spacing on any other. Or a
            convention of that function with its options: "integer"; "centers(train_shape=None)"
            fills [-pi, pi] on any grid.
        causal: Whether a patch sees only those of its time and before, the first axis being time.
            No class token: it would see nothing.
        log_measure: Whether keys are weighted by the part of the image they stand for, see
            `rope_jax.log_measure`: on other grids than that of `image_size`, class and register
            tokens keep the share of the attention they had. Changes nothing on that grid, or where
            there are no such tokens.
        drop_path: Stochastic depth of the last block, rising linearly from 0.
        layer_scale: Initial value of LayerScale, such as 1e-5; None for none.
        qk_norm: Whether queries and keys are normalized.
        qk_norm_bias: Whether these norms add a learned offset.
        qkv_bias: Whether the maps to queries, keys and values add one.
        activation: What stands between the two maps of the MLPs, see `Block`.
        epsilon: Of all norms.
        norm_before: Whether the tokens are normalized before the first block; patches are then
            embedded without an offset.
        remat: Whether the backward pass recomputes each block instead of keeping its activations.
        attention_implementation: See `Attention`.
        dtype: Type in which the matrix products compute.
        axis_name: Ignored: nothing in this encoder looks across the batch. It is here so that all
            encoders are made alike.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If a size is not positive, heads do not divide the width, patches do not tile
            `image_size`, `pooling`, `position`, `coordinates`, `activation` or
            `attention_implementation` is unknown, `norm_after_mean` or `position_table` has nothing
            to act on, `layer_scale` is not finite, or `drop_path` is not in [0, 1).

    Examples:
        >>> def encode(images):
        ...     encoder = ViT(width=16, depth=2, num_heads=2, patch_size=4, image_size=16,
        ...                   rngs=nnx.Rngs(0))
        ...     return encoder(images)
        >>> jax.eval_shape(encode, jnp.ones((2, 8, 12, 3))).shape
        (2, 16)

    References:
        A. Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv 2010.11929, 2020, table 1.
        X. Zhai et al., "Scaling Vision Transformers", arXiv 2106.04560, 2021, table 2 (g, G).
        T. Darcet et al., "Vision Transformers Need Registers", arXiv 2309.16588, 2023.
        M. Caron et al., "Emerging Properties in Self-Supervised Vision Transformers",
        arXiv 2104.14294, 2021 (positions resized for local crops, attention of the class token).
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        num_heads: int,
        mlp_width: int | None = None,
        patch_size: int | tuple[int, ...] = 16,
        image_size: int | tuple[int, ...] = 224,
        num_axes: int = 2,
        spacing: tuple[float, ...] | None = None,
        in_channels: int = 3,
        pooling: str = "cls",
        norm_after_mean: bool = False,
        num_registers: int = 0,
        position: str | rope_jax.Encoding = "learned",
        position_table: bool = False,
        antialias: bool = False,
        share_positions: bool = False,
        coordinates: Callable[..., Array] | str | None = None,
        causal: bool = False,
        log_measure: bool = False,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        qk_norm: bool = False,
        qk_norm_bias: bool = False,
        qkv_bias: bool = True,
        activation: str = "gelu",
        epsilon: float = 1e-6,
        norm_before: bool = False,
        remat: bool = False,
        attention_implementation: str | None = None,
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(width=width, depth=depth, num_heads=num_heads, in_channels=in_channels)
        if num_axes not in (1, 2, 3):
            raise ValueError(f"num_axes must be 1, 2 or 3, got {num_axes}")
        patches = per_axis("patch_size", patch_size, num_axes)
        sides = per_axis("image_size", image_size, num_axes)
        if width % num_heads:
            raise ValueError(f"width must be divisible by num_heads={num_heads}, got {width}")
        if not num_registers >= 0:
            raise ValueError(f"num_registers must not be negative, got {num_registers}")
        check_choice("pooling", pooling, ("cls", "mean", "attention"))
        if norm_after_mean and pooling != "mean":
            raise ValueError(f'norm_after_mean wants pooling="mean", got {pooling!r}')
        if causal and pooling == "cls":
            raise ValueError('pooling must be "mean" or "attention" with causal, got "cls"')
        if spacing is not None and (len(spacing) != num_axes or min(spacing) <= 0):
            raise ValueError(f"spacing must have {num_axes} positive numbers, got {spacing}")
        self.patch_size = patch_size
        self.patch_sides = patches
        self.num_axes = num_axes
        self.causal = causal
        self.spacing = spacing and tuple(x * p for x, p in zip(spacing, patches, strict=True))
        self.grid = self._grid("image_size", *sides)
        # What was asked for, for weights of other libraries: an encoding does not say its name.
        self.position_text = position if isinstance(position, str) else None
        if isinstance(position, str):
            position = position_by_name(position, width // num_heads, num_heads, self.grid)
        if position_table and isinstance(position, str):
            raise ValueError(f"position_table wants an encoding beside it, got {position!r}")
        self.in_channels = in_channels
        self.features = width
        self.num_prefix = (pooling == "cls") + num_registers
        self.position = position
        if isinstance(coordinates, str):
            grid_positions(coordinates, self.grid, self.grid)  # refuses what it cannot read
        self.coordinates = coordinates
        self.antialias = antialias
        self.norm_after_mean = norm_after_mean
        self.log_measure = log_measure
        self.remat = remat
        self.rates = drop_path_ramp(drop_path, depth)
        token_init = nnx.initializers.normal(0.02)

        def tokens(count: int) -> nnx.Param:
            # Random, for tokens that start equal stay equal.
            return nnx.Param(token_init(rngs.params(), (count, width), jnp.float32))

        self.patch_embedding = nnx.Linear(
            math.prod(patches) * in_channels,
            width,
            use_bias=not norm_before,
            dtype=dtype,
            rngs=rngs,
        )
        self.cls_token = tokens(1) if pooling == "cls" else None
        self.registers = tokens(num_registers) if num_registers else None
        learned = position == "learned" or position_table
        rows = (pooling == "cls") + math.prod(self.grid)
        self.position_table = tokens(rows) if learned else None
        if not isinstance(position, str):
            shared = share_positions or position.embed is not None
            self.position_sets = 1 if shared else depth
            drawn = rope_jax.init_layers(position, rngs.params(), self.position_sets)
            self.position_params = nnx.data(jax.tree.map(nnx.Param, drawn))
        mlp_width = 4 * width if mlp_width is None else mlp_width
        if norm_before:
            self.input_norm = layer_norm(width, epsilon=epsilon, rngs=rngs)
        self.norm_before = norm_before
        self.blocks = nnx.List(
            Block(
                width,
                num_heads,
                mlp_width,
                activation=activation,
                qk_norm=qk_norm,
                qk_norm_bias=qk_norm_bias,
                qkv_bias=qkv_bias,
                epsilon=epsilon,
                layer_scale=layer_scale,
                implementation=attention_implementation,
                dtype=dtype,
                rngs=rngs,
            )
            for _ in range(depth)
        )
        self.norm = layer_norm(width, epsilon=epsilon, rngs=rngs)
        self.attention_pooling = (
            AttentionPooling(
                width,
                num_heads,
                mlp_width,
                activation=activation,
                epsilon=epsilon,
                dtype=dtype,
                rngs=rngs,
            )
            if pooling == "attention"
            else None
        )

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
        return x, TokenGrid(rotates, logs, share, mask)

    def _encode(
        self, encoding: rope_jax.Encoding, grid: tuple[int, ...], kept: Array | None
    ) -> tuple[Array | None, tuple[Rotate, ...]]:
        params = jax.tree.map(
            lambda leaf: leaf[...],
            self.position_params,
            is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
        )
        if callable(self.coordinates):
            positions = self.coordinates(*grid)
        else:
            positions = grid_positions(
                self.coordinates or "centers", grid, self.grid, spacing=self.spacing
            )
        positions = positions if kept is None else take_tokens(positions[None], kept)
        added, rotates = encode_positions(
            encoding, params, positions, sets=self.position_sets, num_prefix=self.num_prefix
        )
        return added, rotates * (len(self.blocks) // self.position_sets)

    def _pool(
        self, x: Float[Array, "b n width"], grid: TokenGrid | None = None
    ) -> Float[Array, "b width"]:
        share = None if grid is None else grid.share
        if self.norm_after_mean:
            return self.norm(weighted_mean(x[:, self.num_prefix :], share))
        x = self.norm(x)
        if self.attention_pooling is not None:
            logs = None if share is None or grid is None else grid.log_measure
            logs = None if logs is None else logs[:, self.num_prefix :]
            return self.attention_pooling(x[:, self.num_prefix :], log_measure=logs)
        return (
            x[:, 0] if self.cls_token is not None else weighted_mean(x[:, self.num_prefix :], share)
        )

    def __call__(
        self,
        images: Values | Field,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
        weigh_tokens: bool | None = None,
        kept: Int[Array, "b k"] | None = None,
    ) -> Float[Array, "b d"]:
        """Encode images.

        Args:
            images: Normalized images whose sides are multiples of `patch_size`, series or volumes,
                or a `Field` of them.
            train: Whether stochastic depth acts.
            keys: One key an image, made from its index in the global batch. Needed to train with
                `drop_path` above 0.
            weigh_tokens: Whether keys are weighted by the part of the image they stand for; by
                default what `log_measure` says.
            kept: Patches of each image that are encoded, see `draw_kept_tokens`; None for all. The
                others cost nothing: their positions are left out too.

        Returns:
            The final-normed class token, or the mean of the final-normed patches, in float32.

        Raises:
            ValueError: If the images are integers, have no batch axis or another number of channels
                than `in_channels`, patches do not tile them, `keys` is missing, or attention is
                causal and not all patches are kept.
        """
        x, grid = self._embed(images, weigh_tokens, kept)
        layers = self._layers(x, grid, train=train, keys=keys)
        return self._pool(deque(layers, maxlen=1)[0], grid)
