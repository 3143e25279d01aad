"""Vision transformers of images, series and volumes: any size, positions, attention maps."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

import rope_jax
from lejepa_jax.checks import check_choice
from lejepa_jax.nn.fields import Field, Values, weighted_mean
from lejepa_jax.nn.layers import check_sizes, drop_path_ramp
from lejepa_jax.nn.normalization import layer_norm
from lejepa_jax.nn.transformers.layer_reader import TokenGrid
from lejepa_jax.nn.transformers.patch_tokens import PatchTokens
from lejepa_jax.nn.transformers.scanning import REMAT_POLICIES
from lejepa_jax.nn.transformers.transformer import AttentionPooling, Block
from lejepa_jax.statistics.reductions import AxisName


def _check_pooling(pooling: str, norm_after_mean: bool, causal: bool) -> None:
    check_choice("pooling", pooling, ("cls", "mean", "attention"))
    if norm_after_mean and pooling != "mean":
        raise ValueError(f'norm_after_mean wants pooling="mean", got {pooling!r}')
    if causal and pooling == "cls":
        raise ValueError('pooling must be "mean" or "attention" with causal, got "cls"')


class ViT(PatchTokens):
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
        isolated_channels: Whether each channel of a patch is a token of its own: one map for all
            channels, and a learned code of each. Attention is over patches and channels, so that a
            channel that does not exist is not seen (`Field.channel_measure`), and a part of the
            channels, in any order, can be given with their numbers (`Field.channels`).
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
            fills [-pi, pi] on any grid. "healpix" is the sphere: series of HEALPix pixels in nested
            order, patches of 4^k, positions the unit vectors of their centers, times pi.
        kernel: A kernel of `rope_jax.kernels` with its options, of the distance between patches, on
            the sphere along great circles: "von_mises_fisher(concentration=4.0)"; of compact
            support, which makes attention one of neighborhoods, "wendland(radius=0.8)". It
            multiplies the weights of attention; distances are those of `coordinates`.
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
        remat: Whether the backward pass recomputes each block instead of keeping its activations;
            or one of `REMAT_POLICIES`, which keeps some, see `recompute`.
        scan_blocks: Whether the blocks are one loop over their stacked parameters, see
            `scan_blocks`: the same numbers to rounding, and a smaller program, which copies their
            parameters. By default in training from 24 blocks on. Parameters keep their names.
        attention_implementation: See `Attention`.
        dtype: Type in which the matrix products compute.
        axis_name: Mapped axes over which the batch is sharded; the last of several may shard the
            parameters of blocks too, which a loop gathers one block at a time. Nothing looks
            across the batch.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If a size is not positive, heads do not divide the width, patches do not tile
            `image_size`, `pooling`, `position`, `coordinates`, `activation`, `remat` or
            `attention_implementation` is unknown, `norm_after_mean` or `position_table` has nothing
            to act on, `layer_scale` is not finite, or `drop_path` is not in [0, 1).

    Examples:
        >>> import jax
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
        Y. Bao, S. Sivanandan, T. Karaletsos, "Channel Vision Transformers: An Image Is Worth
        1 x 16 x 16 Words", arXiv 2309.16108, 2023, section 3.1 (isolated channels).
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
        isolated_channels: bool = False,
        pooling: str = "cls",
        norm_after_mean: bool = False,
        num_registers: int = 0,
        position: str | rope_jax.Encoding = "learned",
        position_table: bool = False,
        antialias: bool = False,
        share_positions: bool = False,
        coordinates: Callable[..., Array] | str | None = None,
        kernel: str | None = None,
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
        remat: bool | str = False,
        scan_blocks: bool | None = None,
        attention_implementation: str | None = None,
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(width=width, depth=depth, num_heads=num_heads, in_channels=in_channels)
        if width % num_heads:
            raise ValueError(f"width must be divisible by num_heads={num_heads}, got {width}")
        if not num_registers >= 0:
            raise ValueError(f"num_registers must not be negative, got {num_registers}")
        _check_pooling(pooling, norm_after_mean, causal)
        if isinstance(remat, str):
            check_choice("remat", remat, REMAT_POLICIES)
        self._lay_grid(patch_size, image_size, num_axes, spacing)
        self._read_position(position, coordinates, width, num_heads, position_table)
        self._read_kernel(kernel)
        self.causal, self.log_measure, self.antialias = causal, log_measure, antialias
        self.norm_after_mean, self.norm_before = norm_after_mean, norm_before
        self.remat, self.scan_blocks = remat, scan_blocks
        self.rates = drop_path_ramp(drop_path, depth)
        self._make_tokens(
            width,
            depth,
            in_channels=in_channels,
            has_class=pooling == "cls",
            num_registers=num_registers,
            position_table=position_table,
            share_positions=share_positions,
            isolated_channels=isolated_channels,
            dtype=dtype,
            rngs=rngs,
        )
        mlp_width = 4 * width if mlp_width is None else mlp_width
        sizes = width, num_heads, mlp_width
        common = {"activation": activation, "epsilon": epsilon, "dtype": dtype, "rngs": rngs}
        if norm_before:
            self.input_norm = layer_norm(width, epsilon=epsilon, rngs=rngs)
        self.blocks = nnx.List(
            Block(
                *sizes,
                qk_norm=qk_norm,
                qk_norm_bias=qk_norm_bias,
                qkv_bias=qkv_bias,
                layer_scale=layer_scale,
                implementation=attention_implementation,
                **common,
            )
            for _ in range(depth)
        )
        self._read_blocks(axis_name)
        self.norm = layer_norm(width, epsilon=epsilon, rngs=rngs)
        self.attention_pooling = (
            AttentionPooling(*sizes, **common) if pooling == "attention" else None
        )

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
            kept: Patches of each image that are encoded, with all their channels, see
                `draw_kept_tokens`; None for all. The others cost nothing: their positions are left
                out too.

        Returns:
            The final-normed class token, or the mean of the final-normed patches, in float32.

        Raises:
            ValueError: If the images are integers, have no batch axis or another number of channels
                than `in_channels`, patches do not tile them, `keys` is missing, or attention is
                causal and not all patches are kept.
        """
        x, grid = self._embed(images, weigh_tokens, kept)
        return self._pool(self._layers(x, grid, train=train, keys=keys)[-1], grid)
