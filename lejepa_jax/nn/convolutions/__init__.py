"""Residual networks, ConvNeXt and a plain network of convolutions."""

from lejepa_jax.nn.convolutions.convnext_v2 import (
    CONVNEXT_SIZES,
    ConvNeXt,
    ConvNeXtBlock,
    ConvNeXtSize,
    GlobalResponseNorm,
    convnext,
)
from lejepa_jax.nn.convolutions.plain_network import CONVNET_SIZES, ConvNet, convnet
from lejepa_jax.nn.convolutions.residual_network import ResidualBlock, ResNet, resnet

__all__ = [
    "CONVNET_SIZES",
    "CONVNEXT_SIZES",
    "ConvNeXt",
    "ConvNeXtBlock",
    "ConvNeXtSize",
    "ConvNet",
    "GlobalResponseNorm",
    "ResNet",
    "ResidualBlock",
    "convnet",
    "convnext",
    "resnet",
]
