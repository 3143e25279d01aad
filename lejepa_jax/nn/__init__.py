"""Encoders and their parts, as Flax NNX modules."""

from lejepa_jax.nn.convnext_v2 import (
    CONVNEXT_SIZES,
    ConvNeXt,
    ConvNeXtBlock,
    ConvNeXtSize,
    GlobalResponseNorm,
    convnext,
)
from lejepa_jax.nn.layers import (
    batch_norm,
    drop_path_ramp,
    drop_path_scales,
    gelu,
    layer_norm,
    normalize,
    patchify,
)
from lejepa_jax.nn.projector import Projector
from lejepa_jax.nn.residual_network import ResidualBlock, ResNet, resnet
from lejepa_jax.nn.vision_transformer import (
    VIT_SIZES,
    Attention,
    Block,
    Rotate,
    ViT,
    ViTSize,
    sincos_table,
    vit,
)

__all__ = [
    "CONVNEXT_SIZES",
    "VIT_SIZES",
    "Attention",
    "Block",
    "ConvNeXt",
    "ConvNeXtBlock",
    "ConvNeXtSize",
    "GlobalResponseNorm",
    "Projector",
    "ResNet",
    "ResidualBlock",
    "Rotate",
    "ViT",
    "ViTSize",
    "batch_norm",
    "convnext",
    "drop_path_ramp",
    "drop_path_scales",
    "gelu",
    "layer_norm",
    "normalize",
    "patchify",
    "resnet",
    "sincos_table",
    "vit",
]
