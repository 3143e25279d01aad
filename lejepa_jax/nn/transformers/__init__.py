"""Transformers: blocks, positions, token dropping, and what is read from their layers."""

from lejepa_jax.nn.transformers.positions import sincos_table
from lejepa_jax.nn.transformers.scanning import REMAT_POLICIES, stack_blocks, unstack_blocks
from lejepa_jax.nn.transformers.token_blocks import draw_blocks, split_tokens
from lejepa_jax.nn.transformers.token_dropping import draw_kept_tokens
from lejepa_jax.nn.transformers.token_predictor import TokenPredictor
from lejepa_jax.nn.transformers.transformer import Attention, AttentionPooling, Block, Rotate
from lejepa_jax.nn.transformers.vision_transformer import ViT
from lejepa_jax.nn.transformers.vit_sizes import VIT_SIZES, ViTSize, vit

__all__ = [
    "REMAT_POLICIES",
    "VIT_SIZES",
    "Attention",
    "AttentionPooling",
    "Block",
    "Rotate",
    "TokenPredictor",
    "ViT",
    "ViTSize",
    "draw_blocks",
    "draw_kept_tokens",
    "sincos_table",
    "split_tokens",
    "stack_blocks",
    "unstack_blocks",
    "vit",
]
