"""The published vision transformers."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from flax import nnx

from lejepa_jax.checks import check_choice
from lejepa_jax.nn.transformers.vision_transformer import ViT


@dataclass(frozen=True)
class ViTSize:
    """Width of the tokens, number of blocks, heads, width of the hidden layer of the MLP."""

    width: int
    depth: int
    num_heads: int
    mlp_width: int


VIT_SIZES = MappingProxyType(
    {
        "Ti": ViTSize(192, 12, 3, 768),
        "S": ViTSize(384, 12, 6, 1536),
        "B": ViTSize(768, 12, 12, 3072),
        "L": ViTSize(1024, 24, 16, 4096),
        "H": ViTSize(1280, 32, 16, 5120),
        "g": ViTSize(1408, 40, 16, 6144),
        "G": ViTSize(1664, 48, 16, 8192),
    }
)


def vit(size: str = "S", *, rngs: nnx.Rngs, **options: Any) -> ViT:
    """Make a published vision transformer without its classifier.

    Args:
        size: A name in `VIT_SIZES`: Ti, S, B, L, H, g (1.0 B parameters) or G (1.8 B).
        rngs: Source of the initial parameters.
        **options: Further arguments of `ViT`, such as `patch_size`, `image_size`, `drop_path`.

    Returns:
        The encoder; its `features` is the width of what it returns.

    Raises:
        ValueError: If `size` is no such name.

    Examples:
        >>> nnx.eval_shape(lambda: vit("S", patch_size=8, rngs=nnx.Rngs(0))).grid
        (28, 28)

    References:
        A. Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv 2010.11929, 2020, table 1.
        H. Touvron et al., "Training data-efficient image transformers", arXiv 2012.12877, 2020,
        table 1 (Ti, S).
        X. Zhai et al., "Scaling Vision Transformers", arXiv 2106.04560, 2021, table 2 (g, G).
    """
    check_choice("size", size, tuple(VIT_SIZES))
    preset = VIT_SIZES[size]
    return ViT(**{**vars(preset), **options}, rngs=rngs)
