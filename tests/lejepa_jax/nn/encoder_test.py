import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn.convolutions.convnext_v2 import ConvNeXt
from lejepa_jax.nn.convolutions.residual_network import ResNet
from lejepa_jax.nn.encoder import (
    ENCODERS,
    Encoder,
    HasLayers,
    HasPatches,
    HasTokens,
    WeighsTokens,
    encoder_by_name,
)
from lejepa_jax.nn.projector import Projector
from lejepa_jax.nn.transformers.vision_transformer import ViT


def made(text, **defaults):
    make = encoder_by_name(text, **defaults)
    return nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))


def test_what_an_encoder_can_do_is_seen_by_its_type():
    vit, resnet, convnext = (made(name) for name in ("vit-Ti", "resnet18", "convnext-atto"))
    for encoder in (vit, resnet, convnext):
        assert isinstance(encoder, Encoder)
        assert isinstance(encoder, HasPatches)
    for ability in (HasTokens, HasLayers, WeighsTokens):
        assert isinstance(vit, ability)
        assert not isinstance(resnet, ability)
        assert not isinstance(convnext, ability)
    projector = nnx.eval_shape(lambda: Projector(4, 2, rngs=nnx.Rngs(0)))
    assert not isinstance(projector, HasPatches)


@pytest.mark.parametrize(
    ("text", "module", "features"),
    [
        ("vit", ViT, 384),
        pytest.param("vit-G", ViT, 1664, marks=pytest.mark.slow),
        pytest.param("vit-g", ViT, 1408, marks=pytest.mark.slow),
        (" vit-Ti() ", ViT, 192),
        ("vit('B')", ViT, 768),
        ('vit("S", depth=2)', ViT, 384),
        ("vit(size='S', patch_size=8)", ViT, 384),
        ("vit(pooling='mean')", ViT, 384),
        ("resnet18", ResNet, 512),
        ("resnet50(stem='small')", ResNet, 2048),
        ("resnet(50)", ResNet, 2048),
        ("convnext-atto", ConvNeXt, 320),
        ("convnext-nano(stem_patch=2)", ConvNeXt, 640),
    ],
)
def test_a_line_of_text_makes_the_encoder_it_names(text, module, features):
    encoder = made(text)
    assert type(encoder) is module
    assert encoder.features == features


def test_options_reach_the_encoder_and_defaults_those_that_have_them():
    encoder = made("vit-S(patch_size=8, depth=3)", image_size=32, patch_size=4, stem="small")
    assert encoder.grid == (4, 4)
    assert len(encoder.blocks) == 3
    assert made("resnet18", image_size=32, stem="small").pool is False
    make = encoder_by_name("resnet18(width=8)")
    assert make(in_channels=1, rngs=nnx.Rngs(0)).in_channels == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet19", "encoder must be one of vit-S, .*resnet18, .*got 'resnet19'"),
        ("vit-X", "encoder must be one of .*got 'vit-X'"),
        ("vit('X')", "encoder must be one of"),
        ("resnet('18')", "encoder must be one of"),
        ("swin", "encoder must be one of"),
        ("", "encoder must name one, such as"),
        ("vit-S(", "encoder must name one, such as"),
        ("vit-S(patch_size=abs(8))", "encoder must name one, such as"),
        ("__import__('os')", "encoder must be one of"),
        ("vit-S(pach_size=8)", "options of vit are .*patch_size.*; got 'pach_size'"),
        ("vit-S(rngs=0)", "options of vit are .*; got 'rngs'"),
        ("resnet18(patch_size=8)", "options of resnet are .*; got 'patch_size'"),
    ],
)
def test_a_line_that_names_no_encoder_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        encoder_by_name(text)


def test_every_size_of_every_family_has_a_name():
    for name, family in ENCODERS.items():
        for size in family.sizes:
            assert encoder_by_name(f"{name}{family.between}{size}").args == (size,)


def test_weights_of_tokens_are_an_argument_of_the_call():
    def make(**options):
        small = {"width": 8, "depth": 1, "num_heads": 2, "patch_size": 4, "image_size": 8}
        return ViT(**small, rngs=nnx.Rngs(0), **options)

    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 16, 3)), jnp.float32)
    plain, weighted = make(), make(log_measure=True)
    np.testing.assert_array_equal(plain(images, weigh_tokens=True), weighted(images))
    np.testing.assert_array_equal(weighted(images, weigh_tokens=False), plain(images))
    assert np.abs(np.asarray(plain(images) - weighted(images))).max() > 1e-4


def test_tokens_are_the_patches_row_by_row():
    encoder = ViT(
        width=8, depth=1, num_heads=2, patch_size=4, image_size=8, num_registers=2, rngs=nnx.Rngs(0)
    )
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 12, 3)), jnp.float32)
    tokens = encoder.tokens(images)
    assert tokens.shape == (2, 6, 8)
    np.testing.assert_array_equal(tokens.reshape(2, 2, 3, 8), encoder.patch_features(images))
