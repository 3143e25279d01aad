"""ConvNeXt, V2 and V1: convolutions in the shape of a transformer, maybe with a response norm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.checks import check_choice
from lejepa_jax.nn.convolutions.depthwise import CONVOLUTIONS
from lejepa_jax.nn.layers import (
    check_images,
    check_sizes,
    drop_path_ramp,
    drop_path_scales,
    gelu,
    patchify,
)
from lejepa_jax.nn.normalization import layer_norm
from lejepa_jax.statistics.reductions import AxisName

_kernel_init = nnx.initializers.truncated_normal(0.02)


@dataclass(frozen=True)
class ConvNeXtSize:
    """Blocks and channels of each stage."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]


CONVNEXT_SIZES = MappingProxyType(
    {
        "atto": ConvNeXtSize((2, 2, 6, 2), (40, 80, 160, 320)),
        "femto": ConvNeXtSize((2, 2, 6, 2), (48, 96, 192, 384)),
        "pico": ConvNeXtSize((2, 2, 6, 2), (64, 128, 256, 512)),
        "nano": ConvNeXtSize((2, 2, 8, 2), (80, 160, 320, 640)),
        "tiny": ConvNeXtSize((3, 3, 9, 3), (96, 192, 384, 768)),
        "small": ConvNeXtSize((3, 3, 27, 3), (96, 192, 384, 768)),
        "base": ConvNeXtSize((3, 3, 27, 3), (128, 256, 512, 1024)),
        "large": ConvNeXtSize((3, 3, 27, 3), (192, 384, 768, 1536)),
        "xlarge": ConvNeXtSize((3, 3, 27, 3), (256, 512, 1024, 2048)),
        "huge": ConvNeXtSize((3, 3, 27, 3), (352, 704, 1408, 2816)),
    }
)


def _linear(in_features: int, out_features: int, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(in_features, out_features, kernel_init=_kernel_init, dtype=dtype, rngs=rngs)


class GlobalResponseNorm(nnx.Module):
    r"""Make channels compete by the energy of their whole map.

    .. math:: g_c = \lVert x_{\cdot\cdot c} \rVert_2, \qquad
        y_{ijc} = \gamma_c\, x_{ijc}\, \frac{g_c}{\frac1C \sum_{c'} g_{c'} + \epsilon} + \beta_c
        + x_{ijc}

    Gain and bias start at zero, the layer at the identity. Computed in float32.

    Args:
        features: Number of channels.

    Examples:
        >>> GlobalResponseNorm(4)(jnp.ones((1, 2, 2, 4))).shape
        (1, 2, 2, 4)

    References:
        S. Woo et al., "ConvNeXt V2", arXiv 2301.00808, 2023, section 3 and algorithm 1.
    """

    def __init__(self, features: int):
        self.gamma = nnx.Param(jnp.zeros(features, jnp.float32))
        self.beta = nnx.Param(jnp.zeros(features, jnp.float32))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Normalize maps; the result has the dtype of `x`."""
        full = x.astype(jnp.float32)
        # The tiny constant keeps the gradient of the root finite on a map that is all zero, as
        # black images give at initialization.
        energy = jnp.sqrt((full * full).sum((1, 2), keepdims=True) + 1e-30)
        relative = energy / (energy.mean(-1, keepdims=True) + 1e-6)
        gamma, beta = self.gamma[...][None, None, None], self.beta[...][None, None, None]
        return (gamma * (full * relative) + beta + full).astype(x.dtype)


class ConvNeXtBlock(nnx.Module):
    """Depthwise 7x7, LayerNorm, expand by 4, GELU, global response norm, contract, add.

    Args:
        features: Number of channels.
        response: Whether there is a global response norm.
        layer_scale: Initial value of the learned gain of the branch's channels; None for no gain.
        epsilon: Of the LayerNorm.
        derivatives: Of the convolution, see `depthwise_conv`.
        dtype: Type in which the layers compute.
        rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        features: int,
        *,
        response: bool = True,
        layer_scale: float | None = None,
        epsilon: float = 1e-6,
        derivatives: str = "reverse",
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.depthwise = nnx.Conv(
            features,
            features,
            (7, 7),
            padding=((3, 3), (3, 3)),
            feature_group_count=features,
            kernel_init=_kernel_init,
            dtype=dtype,
            conv_general_dilated=CONVOLUTIONS[derivatives],
            rngs=rngs,
        )
        self.norm = layer_norm(features, epsilon=epsilon, rngs=rngs)
        self.expand = _linear(features, 4 * features, dtype, rngs)
        self.response = GlobalResponseNorm(4 * features) if response else None
        self.contract = _linear(4 * features, features, dtype, rngs)
        self.layer_scale = (
            None if layer_scale is None else nnx.Param(jnp.full(features, layer_scale, jnp.float32))
        )

    def __call__(
        self, x: Float[Array, "b h w c"], *, scale: Float[Array, " b"] | None = None
    ) -> Float[Array, "b h w c"]:
        """Add the branch, times `scale` (stochastic depth), to `x`."""
        branch = gelu(self.expand(self.norm(self.depthwise(x))))
        branch = self.contract(branch if self.response is None else self.response(branch))
        if self.layer_scale is not None:
            branch = branch * self.layer_scale[...].astype(branch.dtype)[None, None, None]
        if scale is not None:
            branch = branch * scale.astype(branch.dtype)[:, None, None, None]
        return x + branch


class ConvNeXt(nnx.Module):
    """ConvNeXt over images of any size; its features are the mean of the last map, normalized.

    By default it is V2; V1 has `response=False, layer_scale=1e-6`.

    Activations between layers are of type `dtype`; parameters, norms and the final mean are
    float32. The published networks are made by `convnext`; other stages give small ones.

    Args:
        depths: Blocks in each stage. Every stage but the first halves the map.
        widths: Channels of each stage.
        stem_patch: Side of the patches of the stem: 4 as published, 1 or 2 for small images.
        response: Whether blocks have a global response norm.
        layer_scale: Initial value of the learned gain of the branches' channels; None for no gain.
        epsilon: Of the LayerNorms.
        in_channels: Channels of the images.
        drop_path: Stochastic depth of the last block, rising linearly from 0.
        derivatives: `reverse` or `all`, which `jax.jvp` and `jax.jacfwd` need and which is slower
            on a CPU, see `depthwise_conv`.
        dtype: Type in which convolutions and linear maps compute.
        axis_name: Ignored: nothing in this encoder looks across the batch. It is here so that all
            encoders are made alike.
        rngs: Source of the initial parameters.

    Raises:
        ValueError: If `widths` has another length than `depths`, a size is not positive,
            `derivatives` is unknown, `drop_path` is not in [0, 1), or `layer_scale` is not finite.

    Examples:
        >>> def encode(images):
        ...     encoder = ConvNeXt(depths=(1, 1), widths=(8, 16), stem_patch=2, rngs=nnx.Rngs(0))
        ...     return encoder(images)
        >>> nnx.eval_shape(encode, jnp.ones((2, 8, 8, 3))).shape
        (2, 16)

    References:
        S. Woo et al., "ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders",
        arXiv 2301.00808, 2023, figure 5 and appendix A.
        Z. Liu et al., "A ConvNet for the 2020s", arXiv 2201.03545, 2022.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int],
        widths: Sequence[int],
        stem_patch: int = 4,
        response: bool = True,
        layer_scale: float | None = None,
        epsilon: float = 1e-6,
        in_channels: int = 3,
        drop_path: float = 0.0,
        derivatives: str = "reverse",
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        if len(widths) != len(depths) or not depths:
            raise ValueError(
                f"widths must name one width for each of the {len(depths)} stages (at least one), "
                f"got {tuple(widths)}"
            )
        for depth, width in zip(depths, widths, strict=True):
            check_sizes(depths=depth, widths=width)
        check_choice("derivatives", derivatives, tuple(CONVOLUTIONS))
        check_sizes(stem_patch=stem_patch, in_channels=in_channels)
        if layer_scale is not None and not math.isfinite(layer_scale):
            raise ValueError(f"layer_scale must be finite or None, got {layer_scale}")
        self.in_channels = in_channels
        self.stem_patch = stem_patch
        self.features = widths[-1]
        self.depths = tuple(depths)
        self.dtype = dtype
        self.rates = drop_path_ramp(drop_path, sum(depths))
        # Before the stem there is no norm and after it there is; a later stage has it the other way
        # round.
        sides = (stem_patch, *[2] * (len(widths) - 1))
        inputs = (in_channels, *widths[:-1])
        self.reduce = nnx.List(
            _linear(side * side * before, after, dtype, rngs)
            for side, before, after in zip(sides, inputs, widths, strict=True)
        )
        self.reduce_norms = nnx.List(
            layer_norm(width, epsilon=epsilon, rngs=rngs) for width in (widths[0], *widths[:-1])
        )
        self.blocks = nnx.List(
            ConvNeXtBlock(
                width,
                response=response,
                layer_scale=layer_scale,
                epsilon=epsilon,
                derivatives=derivatives,
                dtype=dtype,
                rngs=rngs,
            )
            for width, depth in zip(widths, depths, strict=True)
            for _ in range(depth)
        )
        self.norm = layer_norm(widths[-1], epsilon=epsilon, rngs=rngs)

    def _map(
        self,
        images: Float[Array, "b h w c"],
        *,
        train: bool,
        keys: Key[Array, " b"] | None,
    ) -> Float[Array, "b gh gw d"]:
        check_images(images, self.in_channels)
        least = self.stem_patch * 2 ** (len(self.depths) - 1)
        if min(images.shape[1:3]) < least:
            raise ValueError(
                f"images must measure at least {least} pixels a side for {len(self.depths)} stages "
                f"and stem_patch={self.stem_patch}, got {images.shape}"
            )
        drops = train and self.rates[-1] > 0
        scales = drop_path_scales(keys, self.rates) if drops else None
        x = images
        block = 0
        for stage, depth in enumerate(self.depths):
            if stage == 0:
                x = self.reduce_norms[0](self.reduce[0](patchify(x, self.stem_patch)))
                x = x.astype(self.dtype)
            else:
                x = self.reduce[stage](patchify(self.reduce_norms[stage](x), 2))
            for _ in range(depth):
                x = self.blocks[block](x, scale=None if scales is None else scales[:, block])
                block += 1
        return x.astype(jnp.float32)

    def patch_features(self, images: Float[Array, "b h w c"]) -> Float[Array, "b gh gw d"]:
        """Compute the last feature map, normalized position by position instead of after the mean.

        Args:
            images: Normalized images.

        Returns:
            The map in float32.

        Raises:
            ValueError: As in a call.
        """
        return self.norm(self._map(images, train=False, keys=None))

    def __call__(
        self,
        images: Float[Array, "b h w c"],
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b d"]:
        """Encode images of any size.

        Args:
            images: Normalized images.
            train: Whether stochastic depth acts.
            keys: One key an image, made from its index in the global batch. Needed to train with
                `drop_path` above 0.

        Returns:
            One feature vector an image, in float32.

        Raises:
            ValueError: If the images are integers, have no batch axis or another number of channels
                than `in_channels`, are too small for the stages, or `keys` is missing.
        """
        return self.norm(self._map(images, train=train, keys=keys).mean((1, 2)))


def convnext(size: str = "atto", *, rngs: nnx.Rngs, **options: Any) -> ConvNeXt:
    """Make a published ConvNeXt V2 without its classifier.

    Args:
        size: A name in `CONVNEXT_SIZES`, from "atto" (features of width 320) to "huge" (2816).
        rngs: Source of the initial parameters.
        **options: Further arguments of `ConvNeXt`, such as `stem_patch`, `drop_path`, `dtype`.

    Returns:
        The encoder; its `features` is the width of what it returns.

    Raises:
        ValueError: If `size` is no such name.

    Examples:
        >>> nnx.eval_shape(lambda: convnext("atto", rngs=nnx.Rngs(0))).features
        320

    References:
        S. Woo et al., "ConvNeXt V2", arXiv 2301.00808, 2023, appendix A.
    """
    check_choice("size", size, tuple(CONVNEXT_SIZES))
    preset = CONVNEXT_SIZES[size]
    return ConvNeXt(**{"depths": preset.depths, "widths": preset.widths, **options}, rngs=rngs)
