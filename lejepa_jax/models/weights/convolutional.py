"""Convolutional networks as timm and torchvision have them: ResNet, ConvNeXt V1 and V2."""

from lejepa_jax.models.weights.rules import (
    Rule,
    batch_norm,
    convolution,
    linear,
    norm,
    patches,
    rename,
)
from lejepa_jax.nn.convolutions.convnext_v2 import ConvNeXt
from lejepa_jax.nn.convolutions.residual_network import ResNet


def resnet_rules(encoder: ResNet) -> list[Rule]:
    """List the rules between a residual network and that of timm and torchvision.

    Args:
        encoder: The encoder, or its shapes.

    Returns:
        The rules.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn import resnet
        >>> encoder = nnx.eval_shape(lambda: resnet(18, rngs=nnx.Rngs(0)))
        >>> resnet_rules(encoder)[0].theirs
        ('conv1.weight',)
    """
    if encoder.deep:
        found = []
        for index in range(2):
            found += convolution(f"conv1.{3 * index}", f"deep_stem.{index}")
            found += batch_norm(f"conv1.{3 * index + 1}", f"deep_norms.{index}")
        found += convolution("conv1.6", "stem")
    else:
        found = convolution("conv1", "stem")
    found += batch_norm("bn1", "stem_norm")
    index = 0
    for stage, count in enumerate(encoder.stage_sizes, 1):
        for number in range(count):
            there, here = f"layer{stage}.{number}", f"blocks.{index}"
            block = encoder.blocks[index]
            for which in range(len(block.convs)):
                found += convolution(f"{there}.conv{which + 1}", f"{here}.convs.{which}")
                found += batch_norm(f"{there}.bn{which + 1}", f"{here}.norms.{which}")
            if block.shortcut is not None:
                # With an average in front the convolution has number 1, as in the first stage too.
                first = int(encoder.average_shortcut)
                found += convolution(f"{there}.downsample.{first}", f"{here}.shortcut")
                found += batch_norm(f"{there}.downsample.{first + 1}", f"{here}.shortcut_norm")
            index += 1
    return found


def convnext_rules(encoder: ConvNeXt, *, as_convolution: bool) -> list[Rule]:
    """List the rules between a ConvNeXt and timm's.

    Args:
        encoder: The encoder, or its shapes.
        as_convolution: Whether theirs has the maps of its blocks as convolutions of size 1.

    Returns:
        The rules.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn import convnext
        >>> encoder = nnx.eval_shape(lambda: convnext("atto", rngs=nnx.Rngs(0)))
        >>> convnext_rules(encoder, as_convolution=True)[0].theirs
        ('stem.0.weight',)
    """
    found = patches("stem.0", "reduce.0", size=encoder.stem_patch)
    found += norm("stem.1", "reduce_norms.0")
    index = 0
    for stage, depth in enumerate(encoder.depths):
        if stage:
            found += norm(f"stages.{stage}.downsample.0", f"reduce_norms.{stage}")
            found += patches(f"stages.{stage}.downsample.1", f"reduce.{stage}", size=2)
        for number in range(depth):
            there, here = f"stages.{stage}.blocks.{number}", f"blocks.{index}"
            block = encoder.blocks[index]
            found += convolution(f"{there}.conv_dw", f"{here}.depthwise", bias=True)
            found += norm(f"{there}.norm", f"{here}.norm")
            for theirs, ours in (("fc1", "expand"), ("fc2", "contract")):
                found += linear(
                    f"{there}.mlp.{theirs}", f"{here}.{ours}", as_convolution=as_convolution
                )
            if block.response is not None:
                found.append(rename(f"{there}.mlp.grn.weight", f"{here}.response.gamma"))
                found.append(rename(f"{there}.mlp.grn.bias", f"{here}.response.beta"))
            if block.layer_scale is not None:
                found.append(rename(f"{there}.gamma", f"{here}.layer_scale"))
            index += 1
    return found + norm("head.norm", "norm")
