"""How deep in an encoder a parameter is, for learning rates that fall towards the input."""

import re
from typing import Any

import jax
from jaxtyping import PyTree

from lejepa_jax.nn.convolutions.convnext_v2 import ConvNeXt

# Attributes of encoders that stand behind the last block.
_BEHIND = ("norm",)


def count_layers(encoder: Any) -> int:
    """Count the layers of an encoder: what is in front of the blocks, the blocks, what is behind.

    Args:
        encoder: A module with `blocks` in their order.

    Returns:
        The number of blocks and 2.

    Raises:
        ValueError: If it has no blocks.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn.convolutions.residual_network import resnet
        >>> count_layers(nnx.eval_shape(lambda: resnet(18, rngs=nnx.Rngs(0))))
        10
    """
    blocks = getattr(encoder, "blocks", None)
    if blocks is None:
        raise ValueError(f"layers must be blocks in a row, got {type(encoder).__name__} without")
    return len(blocks) + 2


def layer_of(encoder: Any, name: str) -> int:
    """Return the layer that a parameter of an encoder belongs to.

    Args:
        encoder: A module with `blocks` in their order.
        name: Name of the parameter, such as `blocks.3.norm.scale`.

    Returns:
        0 for patches, stems, tokens and positions; i + 1 for block i, and for what leads from the
        stage before to it; the last layer for what is behind all blocks.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn.transformers.vit_sizes import vit
        >>> encoder = nnx.eval_shape(lambda: vit("Ti", rngs=nnx.Rngs(0)))
        >>> [layer_of(encoder, n) for n in ("cls_token", "blocks.0.expand.kernel", "norm.scale")]
        [0, 1, 13]
    """
    last = count_layers(encoder) - 1
    first, _, rest = name.partition(".")
    if first == "blocks":
        return int(rest.partition(".")[0]) + 1
    if isinstance(encoder, ConvNeXt) and (found := re.match(r"reduce(?:_norms)?\.(\d+)\.", name)):
        stage = int(found[1])
        # The norm behind the stem has the number of the stem.
        return sum(encoder.depths[:stage]) + (stage > 0)
    return last if first in _BEHIND else 0


def layer_decay_factors(encoder: Any, params: PyTree, decay: float) -> PyTree:
    r"""Make a factor of the learning rate for each parameter of an encoder.

    With :math:`L` layers, layer :math:`l` gets :math:`\gamma^{L - 1 - l}`: what is behind the last
    block learns at the full rate, what is near the input hardly at all.

    Args:
        encoder: A module with `blocks` in their order.
        params: Its parameters, nested dictionaries.
        decay: The factor from layer to layer, in [0, 1].

    Returns:
        A number for each parameter.

    Raises:
        ValueError: If `decay` is out of range, or the encoder has no blocks.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn.convolutions.residual_network import ResNet
        >>> make = lambda: ResNet(stage_sizes=(1,), width=4, stem="small", rngs=nnx.Rngs(0))
        >>> params = {"stem": {"kernel": 0}, "blocks": {0: {"conv": 0}}}
        >>> layer_decay_factors(nnx.eval_shape(make), params, 0.5)
        {'blocks': {0: {'conv': 0.5}}, 'stem': {'kernel': 0.25}}

    References:
        K. Clark et al., "ELECTRA", arXiv 2003.10555, 2020, table 6. H. Bao et al., "BEiT", arXiv
        2106.08254, 2021, appendix H.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"layer_decay must be between 0 and 1, got {decay}")
    last = count_layers(encoder) - 1

    def factor(path: Any, leaf: Any) -> float:
        del leaf
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        return float(decay ** (last - layer_of(encoder, name)))

    return jax.tree_util.tree_map_with_path(factor, params)
