"""Encoders and their parts, as Flax NNX modules."""

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
from lejepa_jax.nn.depths import count_layers, layer_decay_factors, layer_of
from lejepa_jax.nn.encoder import (
    ENCODERS,
    DropsTokens,
    Encoder,
    HasLayers,
    HasPatches,
    HasTokens,
    MasksTokens,
    TrainsTokens,
    WeighsTokens,
    encoder_by_name,
)
from lejepa_jax.nn.fields import Field
from lejepa_jax.nn.layers import (
    check_images,
    check_sizes,
    drop_path_ramp,
    drop_path_scales,
    dropout,
    gelu,
    patchify,
    quick_gelu,
)
from lejepa_jax.nn.normalization import BatchNorm, batch_norm, layer_norm, masked_moments, normalize
from lejepa_jax.nn.projector import Projector
from lejepa_jax.nn.spectrogram import SpectrogramEncoder, log_mel, mel_filters
from lejepa_jax.nn.transformers.positions import sincos_table
from lejepa_jax.nn.transformers.token_blocks import draw_blocks
from lejepa_jax.nn.transformers.token_dropping import draw_kept_tokens
from lejepa_jax.nn.transformers.token_predictor import TokenPredictor
from lejepa_jax.nn.transformers.transformer import Attention, AttentionPooling, Block, Rotate
from lejepa_jax.nn.transformers.vision_transformer import ViT
from lejepa_jax.nn.transformers.vit_sizes import VIT_SIZES, ViTSize, vit

__all__ = [
    "CONVNET_SIZES",
    "CONVNEXT_SIZES",
    "ENCODERS",
    "VIT_SIZES",
    "Attention",
    "AttentionPooling",
    "BatchNorm",
    "Block",
    "ConvNeXt",
    "ConvNeXtBlock",
    "ConvNeXtSize",
    "ConvNet",
    "DropsTokens",
    "Encoder",
    "Field",
    "GlobalResponseNorm",
    "HasLayers",
    "HasPatches",
    "HasTokens",
    "MasksTokens",
    "Projector",
    "ResNet",
    "ResidualBlock",
    "Rotate",
    "SpectrogramEncoder",
    "TokenPredictor",
    "TrainsTokens",
    "ViT",
    "ViTSize",
    "WeighsTokens",
    "batch_norm",
    "check_images",
    "check_sizes",
    "convnet",
    "convnext",
    "count_layers",
    "draw_blocks",
    "draw_kept_tokens",
    "drop_path_ramp",
    "drop_path_scales",
    "dropout",
    "encoder_by_name",
    "gelu",
    "layer_decay_factors",
    "layer_norm",
    "layer_of",
    "log_mel",
    "masked_moments",
    "mel_filters",
    "normalize",
    "patchify",
    "quick_gelu",
    "resnet",
    "sincos_table",
    "vit",
]
