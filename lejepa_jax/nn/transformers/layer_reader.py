"""What can be read from the layers of a transformer beside its feature vector."""

import math
from collections import deque
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from lejepa_jax.nn.channels import mean_of_channels
from lejepa_jax.nn.fields import Field, Values, values_of
from lejepa_jax.nn.layers import drop_path_scales
from lejepa_jax.nn.transformers.scanning import all_gather_block, recompute, scan_blocks
from lejepa_jax.nn.transformers.token_dropping import draw_kept_tokens
from lejepa_jax.nn.transformers.transformer import Rotate
from lejepa_jax.statistics.reductions import AxisName

#: From how many blocks on they are a loop in training, where nothing else is said.
SCANNED_DEPTH = 24


class TokenGrid(NamedTuple):
    """What the blocks need to know of the grid of patches."""

    rotates: tuple[Rotate | None, ...]
    log_measure: Array | None
    share: Array | None = None  # of each patch in its example, where they differ
    mask: Array | None = None
    bias: Array | None = None
    channels: int = 1  # tokens that each patch has


class LayerReader(nnx.Module):
    """A stack of blocks on tokens, and what can be read from it.

    The encoder gives `_embed` (the tokens, and what the blocks need to know of the grid), `_pool`
    and `_grid`.
    """

    block_shapes: tuple[tuple[int, ...], ...]  # of the parameters of one block
    blocks: Any
    features: int
    gather_axis: str | None  # shards the parameters of blocks that are gathered one at a time
    norm: nnx.LayerNorm
    num_prefix: int
    rates: tuple[float, ...]
    remat: bool | str
    scan_blocks: bool | None

    def _embed(
        self, images: Any, weigh_tokens: bool | None = None, kept: Array | None = None
    ) -> tuple[Array, TokenGrid]:
        raise NotImplementedError

    def _pool(self, x: Array, grid: TokenGrid | None = None) -> Array:
        raise NotImplementedError

    def _grid(self, name: str, *sides: int) -> tuple[int, ...]:
        raise NotImplementedError

    def _layers(
        self,
        x: Float[Array, "b n width"],
        grid: TokenGrid,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
        last: int = 1,
    ) -> list[Float[Array, "b n width"]]:
        """Compute the tokens after each of the last blocks; before the first one counts as one."""
        depth = len(self.blocks)
        own: list[dict[str, Any]] = [
            {"params": nnx.to_pure_dict(nnx.state(block))} for block in self.blocks
        ]
        if train and self.rates[-1] > 0:
            # Column 2 i is the attention of block i, column 2 i + 1 its MLP.
            scales = drop_path_scales(keys, [rate for rate in self.rates for _ in range(2)])
            for index, block in enumerate(own):
                block["scales"] = scales[:, 2 * index : 2 * index + 2]
        shared: dict[str, Any] = {"log_measure": grid.log_measure}
        shared |= {"mask": grid.mask, "bias": grid.bias}
        if all(rotate is grid.rotates[0] for rotate in grid.rotates):
            shared["rotate"] = grid.rotates[0]
        else:
            for block, rotate in zip(own, grid.rotates, strict=True):
                block["rotate"] = rotate
        graphdef = nnx.graphdef(self.blocks[0])

        def apply(block: dict[str, Any], x: Array) -> Array:
            params = all_gather_block(block["params"], self.block_shapes, self.gather_axis)
            place = {name: value for name, value in block.items() if name != "params"}
            return nnx.merge(graphdef, params)(x, **shared, **place)

        # What is read of the last blocks is not looped over.
        scanned = depth + 1 - last if self._scans(train) else 0
        if scanned > 0:
            x = scan_blocks(apply, own[:scanned], x, remat=self.remat)
        layers = deque([x], maxlen=last)
        for block in own[scanned:]:
            x = recompute(apply, self.remat)(block, x)
            layers.append(x)
        return list(layers)

    def _read_blocks(self, axis_name: AxisName | None) -> None:
        """Read shapes off the blocks that were made, and which axis may shard their parameters."""
        block = nnx.to_pure_dict(nnx.state(self.blocks[0]))
        self.block_shapes = tuple(leaf.shape for leaf in jax.tree.leaves(block))
        axes = axis_name if isinstance(axis_name, tuple) else ()
        self.gather_axis = axes[-1] if len(axes) > 1 and self._scans(train=True) else None

    def _scans(self, train: bool) -> bool:
        if self.scan_blocks is None:
            return train and len(self.blocks) >= SCANNED_DEPTH
        return self.scan_blocks

    def draw_kept(
        self, keys: Key[Array, " b"], images: Values | Field, share: float
    ) -> Int[Array, "b k"]:
        """Draw which patches of each image are kept, for the argument `kept` of a call.

        Args:
            keys: One key an image, made from its index in the global batch.
            images: What will be encoded.
            share: Part of the patches to keep, above 0 and at most 1.

        Returns:
            Numbers of the patches, see `draw_kept_tokens`.

        Raises:
            ValueError: If `share` is out of range, or patches do not tile the images.
        """
        return draw_kept_tokens(keys, math.prod(self.token_grid(images)), share)

    def token_grid(self, images: Values | Field) -> tuple[int, ...]:
        """Count the patches along each axis of images, series or volumes.

        Args:
            images: What will be encoded.

        Returns:
            Rows and columns of the patches; of other fields, patches along each axis.

        Raises:
            ValueError: If patches do not tile the images.
        """
        return self._grid("images", *values_of(images).shape[1:-1])

    def patch_features(self, images: Values | Field) -> Float[Array, "b *grid d"]:
        """Compute the final-normed patch tokens in their grid, for pictures of their components.

        Args:
            images: Normalized images whose sides are multiples of `patch_size`.

        Returns:
            One feature vector a patch, in float32.

        Raises:
            ValueError: As in a call.
        """
        patches = self.tokens(images)
        return patches.reshape(patches.shape[0], *self.token_grid(images), self.features)

    def tokens(self, images: Values | Field) -> Float[Array, "b n d"]:
        """Compute the final-normed patch tokens, row by row of their grid.

        Args:
            images: Normalized images whose sides are multiples of `patch_size`.

        Returns:
            One feature vector a patch, in float32, without class and register tokens; of isolated
            channels the mean of those that exist.

        Raises:
            ValueError: As in a call.
        """
        x, grid = self._embed(images)
        return self._patches_of(self.norm(self._layers(x, grid)[-1]), grid)

    def _patches_of(self, x: Float[Array, "b t d"], grid: TokenGrid) -> Float[Array, "b n d"]:
        """Take the patches out of all tokens; of isolated channels the mean."""
        return mean_of_channels(x[:, self.num_prefix :], grid.share, grid.channels)

    def features_and_tokens(
        self,
        images: Values | Field,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
        kept: Int[Array, "b n"] | None = None,
    ) -> tuple[Float[Array, "b d"], Float[Array, "b n d"]]:
        """Compute what a call returns and the patch tokens, in one pass.

        Args:
            images: Normalized images whose sides are multiples of `patch_size`.
            train: As in a call.
            keys: As in a call.
            kept: As in a call.

        Returns:
            The feature vector, and the final-normed patch tokens as `tokens` gives them; of the
            kept ones alone if not all are.

        Raises:
            ValueError: As in a call.
        """
        x, grid = self._embed(images, kept=kept)
        last = self._layers(x, grid, train=train, keys=keys)[-1]
        return self._pool(last, grid), self._patches_of(self.norm(last), grid)

    def embeddings_and_tokens(
        self,
        images: Values | Field,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> tuple[Float[Array, "b n d"], Float[Array, "b n d"], Bool[Array, "b n"]]:
        """Compute the patch tokens before the first block and after the last, for predictions.

        Args:
            images: Normalized images, series or volumes, see a call.
            train: As in a call.
            keys: As in a call.

        Returns:
            The embedded patches, the final-normed tokens, and True for patches of which something
            exists.

        Raises:
            ValueError: As in a call.
        """
        x, grid = self._embed(images)
        last = self._layers(x, grid, train=train, keys=keys)[-1]
        before, after = self._patches_of(x, grid), self._patches_of(self.norm(last), grid)
        exists = jnp.ones(before.shape[:2], bool)
        if grid.share is not None:
            exists = grid.share.reshape(*before.shape[:2], grid.channels).max(-1) > 0
        return before, after, exists

    def intermediate(self, images: Values | Field, *, num_layers: int = 2) -> Float[Array, "b d"]:
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
        x, grid = self._embed(images)
        layers = self._layers(x, grid, last=num_layers)
        return jnp.concatenate([self._pool(layer, grid) for layer in layers], -1)

    def attention_maps(self, images: Values | Field) -> Float[Array, "b heads n n"]:
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
        before, _ = self._layers(x, grid, last=2)
        block = self.blocks[-1]
        return block.attention.weights(
            block.attention_norm(before),
            rotate=grid.rotates[-1],
            log_measure=grid.log_measure,
            mask=grid.mask,
            bias=grid.bias,
        )
