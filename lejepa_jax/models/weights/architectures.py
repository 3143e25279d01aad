"""Architectures of timm and torchvision by their names: which encoder here is the same."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from lejepa_jax.checks import check_choice
from lejepa_jax.models.weights.transformers import Dialect
from rope_jax.registry import parse_choice


class Architecture(NamedTuple):
    """An architecture of another library.

    Attributes:
        encoder: The encoder here, as `lejepa_jax.nn.encoder_by_name` reads it.
        dialect: What names and layouts of a vision transformer depend on beside it.
        as_convolution: Whether the maps of a ConvNeXt are convolutions of size 1.
    """

    encoder: str
    dialect: Dialect = Dialect()
    as_convolution: bool = False


_SIZES = {"tiny": "Ti", "small": "S", "base": "B", "large": "L", "huge": "H", "giant": "g"}
_SIZES |= {"gigantic": "G"}
_SCALED = "layer_scale=1e-5"


def _vit(size: str, patch: int, image: int, *options: str) -> str:
    parts = (f"patch_size={patch}", f"image_size={image}", *options)
    return f"vit-{size}({', '.join(parts)})"


def _plain() -> Iterator[tuple[str, Architecture]]:
    """ViT and DeiT, which differ in their training alone."""
    for name, patches in {
        "tiny": (16,),
        "small": (8, 16, 32),
        "base": (8, 16, 32),
        "large": (14, 16, 32),
        "huge": (14,),
        "giant": (14,),
        "gigantic": (14,),
    }.items():
        for patch in patches:
            for image in (224, 384) if patch in (16, 32) else (224,):
                text = _vit(_SIZES[name], patch, image)
                yield f"vit_{name}_patch{patch}_{image}", Architecture(text)
    for name in ("tiny", "small", "base"):
        yield f"deit_{name}_patch16_224", Architecture(_vit(_SIZES[name], 16, 224))
    medium = "width=512, num_heads=8, mlp_width=2048"
    registers = "pooling='mean', norm_after_mean=True, num_registers=4"
    apart = Dialect(class_row=False)
    yield "vit_base_patch16_reg4_gap_256", Architecture(_vit("B", 16, 256, registers), apart)
    text = _vit("S", 16, 256, medium, registers, _SCALED)
    yield "vit_medium_patch16_reg4_gap_256", Architecture(text, apart)
    text = _vit("S", 16, 256, medium, "pooling='mean', qkv_bias=False, layer_scale=1e-6")
    yield "vit_medium_patch16_gap_256", Architecture(text)
    # DeiT III: positions for patches alone, layer scale.
    for name, patch, image, extra in (
        ("small", 16, 224, ()),
        ("small", 16, 384, ()),
        ("medium", 16, 224, (medium,)),
        ("base", 16, 224, ()),
        ("base", 16, 384, ()),
        ("large", 16, 224, ()),
        ("large", 16, 384, ()),
        ("huge", 14, 224, ()),
    ):
        text = _vit(_SIZES.get(name, "S"), patch, image, *extra, "layer_scale=1e-6")
        yield f"deit3_{name}_patch{patch}_{image}", Architecture(text, apart)


def _contrastive() -> Iterator[tuple[str, Architecture]]:
    """The image encoders of CLIP and SigLIP."""
    clip = ("norm_before=True", "epsilon=1e-5")
    for name, patch in (("base", 16), ("base", 32), ("large", 14), ("huge", 14)):
        for kind, extra in (("", ()), ("quickgelu_", ("activation='quick_gelu'",))):
            text = _vit(_SIZES[name], patch, 224, *clip, *extra)
            yield f"vit_{name}_patch{patch}_clip_{kind}224", Architecture(text)
    so400m = "width=1152, depth=27, num_heads=16, mlp_width=4304"
    for name, size, patch, image, extra in (
        ("base", "B", 16, 224, ()),
        ("base", "B", 16, 384, ()),
        ("large", "L", 16, 256, ()),
        ("so400m", "B", 14, 224, (so400m,)),
        ("so400m", "B", 14, 378, (so400m,)),
    ):
        text = _vit(size, patch, image, *extra, "pooling='attention'")
        yield f"vit_{name}_patch{patch}_siglip_{image}", Architecture(text)
        text = _vit(size, patch, image, *extra, "pooling='mean'")
        yield f"vit_{name}_patch{patch}_siglip_gap_{image}", Architecture(text)


def _dino() -> Iterator[tuple[str, Architecture]]:
    giant = "width=1536, num_heads=24, mlp_width=4096, activation='swiglu'"
    for name, size, extra in (
        ("small", "S", ()),
        ("base", "B", ()),
        ("large", "L", ()),
        ("giant", "g", (giant,)),
    ):
        options = (*extra, _SCALED, "antialias=True")
        text = _vit(size, 14, 518, *options)
        yield f"vit_{name}_patch14_dinov2", Architecture(text)
        text = _vit(size, 14, 518, *options, "num_registers=4")
        yield f"vit_{name}_patch14_reg4_dinov2", Architecture(text, Dialect(class_row=False))
    rotary = (
        "position='axial(scale=2.0)'",
        "coordinates=\"centers(order='ij', train_shape=None)\"",
        "num_registers=4",
        "epsilon=1e-5",
        _SCALED,
    )
    gated = "activation='swiglu'"
    for name, size, extra in (
        ("tiny", "Ti", ()),
        ("small", "S", ()),
        ("small_plus", "S", (gated,)),
        ("base", "B", ()),
        ("large", "L", ()),
        ("huge_plus", "H", ("num_heads=20", gated)),
        ("7b", "G", ("width=4096, depth=40, num_heads=32, mlp_width=8192", gated)),
    ):
        dialect = Dialect(rotates=True, split_bias=True, split_gate=True)
        if name != "7b":
            text = _vit(size, 16, 256, *extra, *rotary)
            yield f"vit_{name}_patch16_dinov3_qkvb", Architecture(text, dialect)
        if name != "tiny":
            text = _vit(size, 16, 256, *extra, *rotary, "qkv_bias=False")
            yield f"vit_{name}_patch16_dinov3", Architecture(text, dialect)


def _rope_vit() -> Iterator[tuple[str, Architecture]]:
    dialect = Dialect(rotates=True, class_row=False)
    for name in ("small", "base", "large"):
        for kind, encoding in (("rope", "axial"), ("rope_mixed", "mixed")):
            options = (
                f"position=\"{encoding}(layout='adjacent')\"",
                "coordinates='integer'",
                _SCALED,
            )
            text = _vit(_SIZES[name], 16, 224, *options)
            yield f"vit_{name}_patch16_{kind}_224", Architecture(text, dialect)
            text = _vit(_SIZES[name], 16, 224, *options, "position_table=True, antialias=True")
            yield f"vit_{name}_patch16_{kind}_ape_224", Architecture(text, dialect)


def _residual(kinds: bool) -> Iterator[tuple[str, Architecture]]:
    for depth in (18, 34, 50, 101, 152):
        yield f"resnet{depth}", Architecture(f"resnet{depth}")
        if kinds:
            text = f"resnet{depth}(stem='deep', average_shortcut=True)"
            yield f"resnet{depth}d", Architecture(text)


def _convnext() -> Iterator[tuple[str, Architecture]]:
    small = ("atto", "femto", "pico", "nano")
    for size in (*small, "tiny", "small", "base", "large", "huge"):
        yield f"convnextv2_{size}", Architecture(f"convnext-{size}", as_convolution=size in small)
    for size in (*small, "tiny", "small", "base", "large", "xlarge"):
        text = f"convnext-{size}(response=False, layer_scale=1e-6)"
        yield f"convnext_{size}", Architecture(text, as_convolution=size in small)


#: Architectures by library and name.
ARCHITECTURES: Mapping[str, Mapping[str, Architecture]] = MappingProxyType(
    {
        "timm": MappingProxyType(
            dict(_plain())
            | dict(_dino())
            | dict(_rope_vit())
            | dict(_contrastive())
            | dict(_residual(True))
            | dict(_convnext())
        ),
        "torchvision": MappingProxyType(dict(_residual(False))),
    }
)


def architecture_by_name(library: str, name: str) -> Architecture:
    """Find an architecture.

    Args:
        library: "timm" or "torchvision".
        name: Its name there; what stands behind a point, the data it was trained on, is left. May
            be called with options of the encoder here that differ: `(image_size=384)`.

    Returns:
        The architecture.

    Raises:
        ValueError: If it is not in the table.

    Examples:
        >>> architecture_by_name("timm", "vit_tiny_patch16_224.augreg_in21k").encoder
        'vit-Ti(patch_size=16, image_size=224)'
        >>> architecture_by_name("timm", "vit_tiny_patch16_224(image_size=96)").encoder
        'vit-Ti(patch_size=16, image_size=96)'
    """
    check_choice("format", library, tuple(ARCHITECTURES))
    head, bracket, rest = name.partition("(")
    head = head.split(".")[0]
    check_choice("architecture", head, tuple(ARCHITECTURES[library]))
    found = ARCHITECTURES[library][head]
    if not bracket:
        return found
    _, options = parse_choice(f"architecture({rest}")
    encoder, bracket, rest = found.encoder.partition("(")
    _, own = parse_choice(f"encoder{bracket}{rest}")
    texts = [f"{key}={value!r}" for key, value in {**own, **options}.items()]
    return found._replace(encoder=f"{encoder}({', '.join(texts)})")
