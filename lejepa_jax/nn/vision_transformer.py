"""Vision transformers: any image size, learned, sin-cos or pluggable positions, attention maps."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

import rope_jax
from lejepa_jax.checks import check_choice
from lejepa_jax.nn.layers import (
    check_images,
    check_sizes,
    drop_path_ramp,
    drop_path_scales,
    patchify,
    repeat_rows,
)
from lejepa_jax.nn.normalization import layer_norm
from lejepa_jax.nn.positions import (
    encode_positions,
    position_by_name,
    resize_table,
    sincos_table,
)
from lejepa_jax.nn.transformer import Block, Rotate
from lejepa_jax.statistics.reductions import AxisName


class _Grid(NamedTuple):
    """What the blocks need to know of the grid of patches."""

    rotates: tuple[Rotate | None, ...]
    log_measure: Array | None


class ViT(nnx.Module):
    r"""Vision transformer over images of any size that patches tile.

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
        patch_size: Side of a patch in pixels.
        image_size: Side of the images, or height and width, for whose grid positions are laid out.
        in_channels: Channels of the images.
        pooling: "cls" adds a class token and returns it; "mean" returns the mean of the patches.
        num_registers: Further tokens that take part and are not returned.
        position: See above.
        share_positions: Whether all blocks share what a rotary encoding learns.
        coordinates: Positions `(gh * gw, m)` of a grid of `gh` by `gw` patches for encodings; by
            default `rope_jax.patch_grid`: columns and rows of the patches' centers, which fill
            [-pi, pi] on the grid of `image_size` and keep its spacing on any other.
        log_measure: Whether keys are weighted by the part of the image they stand for, see
            `rope_jax.log_measure`: on other grids than that of `image_size`, class and register
            tokens keep the share of the attention they had. Changes nothing on that grid, or where
            there are no such tokens.
        drop_path: Stochastic depth of the last block, rising linearly from 0.
        layer_scale: Initial value of LayerScale, such as 1e-5; None for none.
        qk_norm: Whether queries and keys are normalized.
        remat: Whether the backward pass recomputes each block instead of keeping its activations.
        attention_implementation: See `Attention`.
        dtype: Type in which the matrix products compute.
        axis_name: Ignored: nothing in this encoder looks across the batch. It is here so that all
            encoders are made alike.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If a size is not positive, heads do not divide the width, patches do not tile
            `image_size`, `pooling`, `position` or `attention_implementation` is unknown,
            `layer_scale` is not finite, or `drop_path` is not in [0, 1).

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
        patch_size: int = 16,
        image_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        pooling: str = "cls",
        num_registers: int = 0,
        position: str | rope_jax.Encoding = "learned",
        share_positions: bool = False,
        coordinates: Callable[[int, int], Array] | None = None,
        log_measure: bool = False,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        qk_norm: bool = False,
        remat: bool = False,
        attention_implementation: str | None = None,
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(width=width, depth=depth, num_heads=num_heads, in_channels=in_channels)
        check_sizes(patch_size=patch_size)
        if width % num_heads:
            raise ValueError(f"width must be divisible by num_heads={num_heads}, got {width}")
        if not num_registers >= 0:
            raise ValueError(f"num_registers must not be negative, got {num_registers}")
        check_choice("pooling", pooling, ("cls", "mean"))
        height, breadth = (image_size, image_size) if isinstance(image_size, int) else image_size
        check_sizes(image_size=min(height, breadth))
        self.patch_size = patch_size
        self.grid = self._grid("image_size", height, breadth)
        if isinstance(position, str):
            position = position_by_name(position, width // num_heads, num_heads, self.grid)
        self.in_channels = in_channels
        self.features = width
        self.num_prefix = (pooling == "cls") + num_registers
        self.position = position
        self.coordinates = coordinates
        self.log_measure = log_measure
        self.remat = remat
        self.rates = drop_path_ramp(drop_path, depth)
        token_init = nnx.initializers.normal(0.02)

        def tokens(count: int) -> nnx.Param:
            # Random, for tokens that start equal stay equal.
            return nnx.Param(token_init(rngs.params(), (count, width), jnp.float32))

        self.patch_embedding = nnx.Linear(
            patch_size * patch_size * in_channels, width, dtype=dtype, rngs=rngs
        )
        self.cls_token = tokens(1) if pooling == "cls" else None
        self.registers = tokens(num_registers) if num_registers else None
        if position == "learned":
            self.position_table = tokens((pooling == "cls") + math.prod(self.grid))
        elif not isinstance(position, str):
            shared = share_positions or position.embed is not None
            self.position_sets = 1 if shared else depth
            drawn = rope_jax.init_layers(position, rngs.params(), self.position_sets)
            self.position_params = nnx.data(jax.tree.map(nnx.Param, drawn))
        self.blocks = nnx.List(
            Block(
                width,
                num_heads,
                4 * width if mlp_width is None else mlp_width,
                qk_norm=qk_norm,
                layer_scale=layer_scale,
                implementation=attention_implementation,
                dtype=dtype,
                rngs=rngs,
            )
            for _ in range(depth)
        )
        self.norm = layer_norm(width, rngs=rngs)

    def _grid(self, name: str, height: int, width: int) -> tuple[int, int]:
        if height % self.patch_size or width % self.patch_size or not (height and width):
            raise ValueError(
                f"{name} must be a multiple of patch_size={self.patch_size} a side, "
                f"got {height} x {width}"
            )
        return height // self.patch_size, width // self.patch_size

    def _embed(
        self, images: Float[Array, "b h w c"], weigh_tokens: bool | None = None
    ) -> tuple[Float[Array, "b n width"], _Grid]:
        """Make the tokens, and what turns and weighs the queries and keys of this grid."""
        check_images(images, self.in_channels)
        grid = self._grid("images", *images.shape[1:3])
        x = self.patch_embedding(patchify(images, self.patch_size)).astype(jnp.float32)
        cls = None if self.cls_token is None else self.cls_token[...]
        rotates: tuple[Rotate | None, ...] = (None,) * len(self.blocks)
        if self.position == "learned":
            table = self.position_table[...]
            if cls is not None:
                cls, table = cls + table[:1], table[1:]
            x = x + resize_table(table.reshape(*self.grid, self.features), grid)[None]
        elif self.position == "sincos":
            x = x + sincos_table(*grid, self.features, reference=self.grid)[None]
        x = rearrange(x, "b gh gw w -> b (gh gw) w")
        if not isinstance(self.position, str):
            added, rotates = self._encode(self.position, grid)
            if added is not None:
                x = x + added.astype(jnp.float32)[None]
        prefix = [
            repeat_rows(tokens, x)
            for tokens in (cls, None if self.registers is None else self.registers[...])
            if tokens is not None
        ]
        logs = None
        # Where all weights are equal they cancel, and nothing needs to be added to the scores.
        weighs = self.log_measure if weigh_tokens is None else weigh_tokens
        if weighs and self.num_prefix and grid != self.grid:
            logs = rope_jax.log_measure(
                jnp.ones(math.prod(grid), jnp.float32),
                num_prefix=self.num_prefix,
                num_train=math.prod(self.grid),
            )
        return jnp.concatenate([*prefix, x], 1), _Grid(rotates, logs)

    def _encode(
        self, encoding: rope_jax.Encoding, grid: tuple[int, int]
    ) -> tuple[Array | None, tuple[Rotate, ...]]:
        params = jax.tree.map(
            lambda leaf: leaf[...],
            self.position_params,
            is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
        )
        if self.coordinates is None:
            positions = rope_jax.patch_grid(grid, train_shape=self.grid).positions
        else:
            positions = self.coordinates(*grid)
        added, rotates = encode_positions(
            encoding, params, positions, sets=self.position_sets, num_prefix=self.num_prefix
        )
        return added, rotates * (len(self.blocks) // self.position_sets)

    def _layers(
        self,
        x: Float[Array, "b n width"],
        grid: _Grid,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Iterator[Float[Array, "b n width"]]:
        """Yield the tokens before the first block and after each."""
        scales = None
        if train and self.rates[-1] > 0:
            # Column 2 i is the attention of block i, column 2 i + 1 its MLP.
            scales = drop_path_scales(keys, [rate for rate in self.rates for _ in range(2)])
        yield x
        for index, block in enumerate(self.blocks):
            pair = None if scales is None else scales[:, 2 * index : 2 * index + 2]
            place = {"rotate": grid.rotates[index], "log_measure": grid.log_measure}
            if self.remat:
                graphdef, state = nnx.split(block)

                def apply(
                    state: Any, x: Array, pair: Array | None, graphdef=graphdef, place=place
                ) -> Array:
                    return nnx.merge(graphdef, state)(x, **place, scales=pair)

                x = jax.checkpoint(apply)(state, x, pair)
            else:
                x = block(x, **place, scales=pair)
            yield x

    def _pool(self, x: Float[Array, "b n width"]) -> Float[Array, "b width"]:
        x = self.norm(x)
        return x[:, self.num_prefix :].mean(1) if self.cls_token is None else x[:, 0]

    def __call__(
        self,
        images: Float[Array, "b h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
        weigh_tokens: bool | None = None,
    ) -> Float[Array, "b d"]:
        """Encode images.

        Args:
            images: Normalized images whose sides are multiples of `patch_size`.
            train: Whether stochastic depth acts.
            keys: One key an image, made from its index in the global batch. Needed to train with
                `drop_path` above 0.
            weigh_tokens: Whether keys are weighted by the part of the image they stand for; by
                default what `log_measure` says.

        Returns:
            The final-normed class token, or the mean of the final-normed patches, in float32.

        Raises:
            ValueError: If the images are integers, have no batch axis or another number of channels
                than `in_channels`, patches do not tile them, or `keys` is missing.
        """
        layers = self._layers(*self._embed(images, weigh_tokens), train=train, keys=keys)
        return self._pool(deque(layers, maxlen=1)[0])

    def patch_features(self, images: Float[Array, "b h w c"]) -> Float[Array, "b gh gw d"]:
        """Compute the final-normed patch tokens in their grid, for pictures of their components.

        Args:
            images: Normalized images whose sides are multiples of `patch_size`.

        Returns:
            One feature vector a patch, in float32.

        Raises:
            ValueError: As in a call.
        """
        patches = self.tokens(images)
        grid = self._grid("images", *images.shape[1:3])
        return patches.reshape(images.shape[0], *grid, self.features)

    def tokens(self, images: Float[Array, "b h w c"]) -> Float[Array, "b n d"]:
        """Compute the final-normed patch tokens, row by row of their grid.

        Args:
            images: Normalized images whose sides are multiples of `patch_size`.

        Returns:
            One feature vector a patch, in float32, without class and register tokens.

        Raises:
            ValueError: As in a call.
        """
        tokens = self.norm(deque(self._layers(*self._embed(images)), maxlen=1)[0])
        return tokens[:, self.num_prefix :]

    def intermediate(
        self, images: Float[Array, "b h w c"], *, num_layers: int = 2
    ) -> Float[Array, "b d"]:
        """Concatenate what a call would return after each of the last blocks.

        The published linear probe reads the last two. The final norm is applied to each.

        Args:
            images: Normalized images whose sides are multiples of `patch_size`.
            num_layers: How many of the last blocks.

        Returns:
            `num_layers` feature vectors an image, the last block's at the end, in float32.

        Raises:
            ValueError: If there are not so many blocks; else as in a call.

        References:
            M. Caron et al., "Emerging Properties in Self-Supervised Vision Transformers",
            arXiv 2104.14294, 2021, appendix F.
        """
        if not 1 <= num_layers <= len(self.blocks):
            raise ValueError(
                f"num_layers must be between 1 and depth={len(self.blocks)}, got {num_layers}"
            )
        layers = deque(self._layers(*self._embed(images)), maxlen=num_layers)
        return jnp.concatenate([self._pool(layer) for layer in layers], -1)

    def attention_maps(self, images: Float[Array, "b h w c"]) -> Float[Array, "b heads n n"]:
        """Compute the attention weights of the last block.

        Args:
            images: Normalized images whose sides are multiples of `patch_size`.

        Returns:
            For each head the weight that each token (third axis) gives to each token (last axis),
            in float32; rows sum to 1. With a class token, `maps[:, :, 0, encoder.num_prefix:]`
            reshaped to the grid is where it looks.

        Raises:
            ValueError: As in a call.
        """
        x, grid = self._embed(images)
        before, _ = deque(self._layers(x, grid), maxlen=2)
        block = self.blocks[-1]
        return block.attention.weights(
            block.attention_norm(before), rotate=grid.rotates[-1], log_measure=grid.log_measure
        )
