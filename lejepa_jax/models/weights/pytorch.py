"""Which model of timm or torchvision is the same as an encoder, and the lines that load it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lejepa_jax.checks import check_choice
from lejepa_jax.models.weights.transformers import rope_choice
from lejepa_jax.nn.convolutions.convnext_v2 import ConvNeXt
from lejepa_jax.nn.convolutions.residual_network import ResNet
from lejepa_jax.nn.transformers.vision_transformer import ViT


class Source(NamedTuple):
    """An argument that is an expression of Python, not a value."""

    text: str


class TorchModel(NamedTuple):
    """A model of another library.

    Attributes:
        constructor: What makes it, with its module.
        arguments: Its arguments: literals, or `Source`.
        changes: Statements that change `model` after it is made.
    """

    constructor: str
    arguments: Mapping[str, Any]
    changes: tuple[str, ...] = ()


def torch_model(encoder: Any, library: str) -> TorchModel:
    """Find the model of another library that computes the same features.

    Args:
        encoder: The encoder, or its shapes.
        library: "timm" or "torchvision".

    Returns:
        The model, without a classifier.

    Raises:
        ValueError: If the library has no such model.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn import resnet
        >>> encoder = nnx.eval_shape(lambda: resnet(18, rngs=nnx.Rngs(0)))
        >>> torch_model(encoder, "torchvision").arguments["layers"]
        [2, 2, 2, 2]
    """
    check_choice("format", library, ("timm", "torchvision"))
    if isinstance(encoder, ResNet):
        return _resnet(encoder, library)
    if library == "timm" and isinstance(encoder, ViT):
        return _eva(encoder) if not isinstance(encoder.position, str) else _vit(encoder)
    if library == "timm" and isinstance(encoder, ConvNeXt):
        return _convnext(encoder)
    raise ValueError(f"format={library!r} has no model like {type(encoder).__name__}")


def pytorch_lines(model: TorchModel, file: str = "model.safetensors") -> str:
    """Write the lines that a user of PyTorch needs to load exported weights.

    Args:
        model: The model.
        file: File of the weights.

    Returns:
        A program that leaves the encoder in `model`.

    Examples:
        >>> print(pytorch_lines(TorchModel("timm.create_model", {"model_name": "resnet18"})))
        import timm, torch
        from safetensors.torch import load_file
        model = timm.create_model(model_name='resnet18').eval()
        model.load_state_dict(load_file('model.safetensors'))
    """
    values = [
        f"{name}={value.text if isinstance(value, Source) else repr(value)}"
        for name, value in model.arguments.items()
    ]
    call = f"{model.constructor}({', '.join(values)})"
    modules = sorted({"torch", model.constructor.split(".")[0]})
    if "functools." in call:
        modules = ["functools", *modules]
    lines = [
        f"import {', '.join(modules)}",
        "from safetensors.torch import load_file",
        f"model = {call}.eval()",
        *model.changes,
        f"model.load_state_dict(load_file({file!r}))",
    ]
    return "\n".join(lines)


def pytorch_section(encoder: Any) -> str:
    """Write how a person loads an encoder in PyTorch, for the card of a model.

    Args:
        encoder: The encoder, or its shapes.

    Returns:
        Markdown; nothing where timm has no such model.

    Examples:
        >>> from flax import nnx
        >>> from lejepa_jax.nn import resnet
        >>> pytorch_section(nnx.eval_shape(lambda: resnet(18, width=8, rngs=nnx.Rngs(0))))
        ''
    """
    try:
        lines = pytorch_lines(torch_model(encoder, "timm"), "timm.safetensors")
    except ValueError:
        return ""
    return (
        "In PyTorch, after `python train.py export PATH_OF_THIS_FOLDER --format timm --out "
        f"timm.safetensors`:\n\n```python\n{lines}\n```"
    )


def _ratio(width: int, hidden: int) -> float:
    """Ratio whose product with the width is not below the hidden width after rounding."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width


def _norm(epsilon: float) -> dict[str, Any]:
    if epsilon == 1e-6:
        return {}
    return {"norm_layer": Source(f"functools.partial(torch.nn.LayerNorm, eps={epsilon!r})")}


def _transformer(encoder: ViT) -> dict[str, Any]:
    """Arguments that both classes of transformers have."""
    block = encoder.blocks[0]
    hidden = block.contract.kernel.shape[0]
    gated = block.activation == "swiglu"
    pooling = "token" if encoder.cls_token is not None else "avg"
    both = {
        "img_size": tuple(n * p for n, p in zip(encoder.grid, encoder.patch_sides, strict=True)),
        "patch_size": encoder.patch_size,
        "in_chans": encoder.in_channels,
        "num_classes": 0,
        "global_pool": "map" if encoder.attention_pooling is not None else pooling,
        "embed_dim": encoder.features,
        "depth": len(encoder.blocks),
        "num_heads": block.attention.num_heads,
        "class_token": encoder.cls_token is not None,
        "qkv_bias": block.attention.qkv.bias is not None,
        "qk_norm": block.attention.query_norm is not None,
        "init_values": None if block.layer_scales is None else 1e-5,
        # Registers have no rows here; there, they have rows where the class token has one.
        "no_embed_class": encoder.registers is not None,
        **_norm(encoder.norm.epsilon),
    }
    packed = 2 * hidden if gated and isinstance(encoder.position, str) else hidden
    return {**both, "mlp_ratio": _ratio(encoder.features, packed)}


def _registers(encoder: ViT) -> int:
    return 0 if encoder.registers is None else encoder.registers.shape[0]


def _vit(encoder: ViT) -> TorchModel:
    activation = encoder.blocks[0].activation
    arguments = {
        **_transformer(encoder),
        "reg_tokens": _registers(encoder),
        "pos_embed": "none" if encoder.position == "none" else "learn",
        "pre_norm": encoder.norm_before,
        "fc_norm": encoder.norm_after_mean,
    }
    if activation == "swiglu":
        arguments |= {"mlp_layer": Source("timm.layers.SwiGLUPacked"), "act_layer": "silu"}
    elif activation != "gelu":
        arguments["act_layer"] = activation
    return TorchModel("timm.models.vision_transformer.VisionTransformer", arguments)


def _eva(encoder: ViT) -> TorchModel:
    activation = encoder.blocks[0].activation
    if activation == "quick_gelu":
        raise ValueError(
            f"activation must be gelu or swiglu beside rotary positions in timm, got {activation!r}"
        )
    arguments = {
        **_transformer(encoder),
        "num_reg_tokens": _registers(encoder),
        "use_abs_pos_emb": encoder.position_table is not None,
        "use_rot_pos_emb": True,
        "use_pre_transformer_norm": encoder.norm_before,
        "use_fc_norm": encoder.norm_after_mean,
        "swiglu_mlp": activation == "swiglu",
        "attn_type": "rope",
        **rope_choice(encoder)[2],
    }
    return TorchModel("timm.models.eva.Eva", arguments)


def _resnet(encoder: ResNet, library: str) -> TorchModel:
    bottleneck = len(encoder.blocks[0].convs) == 3
    expansion = 4 if bottleneck else 1
    ends = [sum(encoder.stage_sizes[: stage + 1]) - 1 for stage in range(len(encoder.stage_sizes))]
    widths = tuple(encoder.blocks[end].convs[-1].kernel.shape[-1] // expansion for end in ends)
    stem = encoder.stem.kernel.shape
    if encoder.pooling != "mean" or len(widths) != 4 or 0 in encoder.stage_sizes or stem[-1] != 64:
        raise ValueError(
            f"a ResNet must have pooling='mean', width=64 and four stages to be a model of "
            f"{library}, got pooling={encoder.pooling!r}, width={stem[-1]} and "
            f"stage_sizes={encoder.stage_sizes}"
        )
    block = "Bottleneck" if bottleneck else "BasicBlock"
    changes = ()
    if not encoder.pool:
        convolution = f"torch.nn.Conv2d({encoder.in_channels}, 64, 3, padding=1, bias=False)"
        changes = (f"model.conv1, model.maxpool = {convolution}, torch.nn.Identity()",)
    if library == "timm":
        arguments: dict[str, Any] = {
            "block": Source(f"timm.models.resnet.{block}"),
            "layers": encoder.stage_sizes,
            "num_classes": 0,
            "in_chans": encoder.in_channels,
            "channels": widths,
        }
        if encoder.deep:
            arguments |= {"stem_type": "deep", "stem_width": 32}
        if encoder.average_shortcut:
            arguments["avg_down"] = True
        return TorchModel("timm.models.resnet.ResNet", arguments, changes)
    plain = not encoder.deep and not encoder.average_shortcut and widths == (64, 128, 256, 512)
    if not plain or (encoder.pool and encoder.in_channels != 3):
        raise ValueError(
            "a ResNet must have 3 channels, the usual widths and stem, and no average_shortcut to "
            "be a model of torchvision: try format='timm'"
        )
    arguments = {
        "block": Source(f"torchvision.models.resnet.{block}"),
        "layers": list(encoder.stage_sizes),
    }
    changes = (*changes, "model.fc = torch.nn.Identity()")
    return TorchModel("torchvision.models.resnet.ResNet", arguments, changes)


def _convnext(encoder: ConvNeXt) -> TorchModel:
    if len(encoder.depths) != 4 or encoder.stem_patch not in (1, 4):
        # With a stem of 2 theirs halves the map before its first stage, too.
        raise ValueError(
            "a ConvNeXt must have four stages and stem_patch 1 or 4 to be a model of timm, got "
            f"depths={encoder.depths} and stem_patch={encoder.stem_patch}"
        )
    block = encoder.blocks[0]
    arguments = {
        "in_chans": encoder.in_channels,
        "num_classes": 0,
        "depths": encoder.depths,
        "dims": tuple(linear.kernel.shape[-1] for linear in encoder.reduce),
        "patch_size": encoder.stem_patch,
        "use_grn": block.response is not None,
        "ls_init_value": None if block.layer_scale is None else 1e-6,
    }
    if encoder.norm.epsilon != 1e-6:
        arguments["norm_eps"] = encoder.norm.epsilon
    return TorchModel("timm.models.convnext.ConvNeXt", arguments)
