"""What every encoder, and the projector, promises: see the contract that pretraining relies on."""

import functools
import re
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn.convolutions.convnext_v2 import ConvNeXt
from lejepa_jax.nn.convolutions.plain_network import ConvNet
from lejepa_jax.nn.convolutions.residual_network import ResNet
from lejepa_jax.nn.projector import Projector
from lejepa_jax.nn.transformers.vision_transformer import ViT
from lejepa_jax.testing import check_encoder, check_sharded, encoders, random_variables
from lejepa_jax.testing.encoders import Way

BATCH = 16


def make_vit(**options):
    # The registers, LayerScale, norm of queries and keys, stochastic depth, recomputation: all on.
    return ViT(
        width=8,
        depth=2,
        num_heads=2,
        patch_size=4,
        image_size=12,
        num_registers=1,
        drop_path=0.5,
        layer_scale=1.0,
        qk_norm=True,
        remat=True,
        rngs=nnx.Rngs(0),
        **options,
    )


def make_convnext(**options):
    return ConvNeXt(
        depths=(1, 1), widths=(4, 8), stem_patch=2, drop_path=0.5, rngs=nnx.Rngs(0), **options
    )


def make_resnet(**options):
    return ResNet(stage_sizes=(1, 1), width=4, stem="small", rngs=nnx.Rngs(0), **options)


def make_convnet(**options):
    return ConvNet(
        widths=(4, 8),
        features=5,
        norm_groups=2,
        image_size=(8, 12),
        rngs=nnx.Rngs(0),
        **options,
    )


class KeyedProjector(Projector):
    """The projector, called as encoders are."""

    def __call__(self, x, *, train=False, keys=None):
        return super().__call__(x, train=train)


def make_projector(**options):
    return KeyedProjector(6, 3, hidden_features=5, num_layers=3, rngs=nnx.Rngs(0), **options)


MAKERS = {
    "vit": make_vit,
    "convnext": make_convnext,
    "resnet": make_resnet,
    "convnet": make_convnet,
    "projector": make_projector,
}
ENCODERS = ("vit", "convnext", "resnet")


def inputs(name):
    rng = np.random.default_rng(1)
    shape = (BATCH, 6) if name == "projector" else (BATCH, 8, 12, 3)
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


@pytest.mark.parametrize("name", MAKERS)
def test_it_keeps_what_every_encoder_promises(name):
    check_encoder(MAKERS[name], inputs(name), ways=())


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name in ("resnet", "projector") for way in get_args(Way)]
    # Nothing here looks across the batch; their question is stochastic depth by global index, and
    # whether every reshape says where an explicit mesh axis goes.
    + [
        ("vit", "explicit"),
        ("convnext", "explicit"),
        ("convnet", "explicit"),
        pytest.param("vit", "shard_map", marks=pytest.mark.slow),
        pytest.param("convnext", "pmap", marks=pytest.mark.slow),
    ],
)
def test_eight_devices_compute_what_one_does(name, way):
    assert jax.device_count() == 8
    check_sharded(MAKERS[name], inputs(name), way, on_one_device(name))


@functools.cache
def on_one_device(name):
    return encoders.single_device_step(MAKERS[name], inputs(name))


@pytest.mark.parametrize("name", ENCODERS)
def test_features_is_the_width_for_every_image_size_and_dtype(name):
    for dtype in (jnp.float32, jnp.bfloat16):
        graphdef, params, rest = random_variables(MAKERS[name], dtype=dtype)
        model = nnx.merge(graphdef, params, rest)
        for height, width in ((12, 12), (16, 8)):
            images = jax.ShapeDtypeStruct((2, height, width, 3), dtype)
            assert jax.eval_shape(model, images).shape == (2, model.features)
            assert jax.eval_shape(model, images).dtype == jnp.float32
            maps = jax.eval_shape(model.patch_features, images)
            assert maps.shape[0::3] == (2, model.features)
            assert maps.dtype == jnp.float32


@pytest.mark.parametrize("name", ENCODERS)
def test_images_of_another_number_of_channels_are_refused(name):
    model = nnx.merge(*random_variables(MAKERS[name]))
    with pytest.raises(
        ValueError, match=re.escape("images must have 3 channels, got (1, 8, 8, 1)")
    ):
        model(jnp.ones((1, 8, 8, 1)))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ENCODERS)
def test_one_image_without_a_batch_axis_and_integers_are_refused(name):
    model = nnx.merge(*random_variables(MAKERS[name]))
    for call in (model, model.patch_features):
        with pytest.raises(ValueError, match=re.escape("(batch, height, width, 3), got (8, 8, 3)")):
            jax.eval_shape(call, jnp.ones((8, 8, 3)))
        for dtype in (jnp.uint8, jnp.uint16, jnp.int32):
            with pytest.raises(ValueError, match=f"must be normalized.*got {jnp.dtype(dtype)}"):
                jax.eval_shape(call, jnp.ones((1, 8, 8, 3), dtype))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_vit(attention_implementation="flash"), "None, 'xla' or 'cudnn', got 'flash'"),
        (lambda: make_vit(in_channels=0), "in_channels must be a positive whole number, got 0"),
        (lambda: make_vit(mlp_width=-4), "mlp_width must be a positive whole number, got -4"),
        (lambda: ViT(width=8, depth=0, num_heads=2, rngs=nnx.Rngs(0)), "depth must be a positive"),
        (lambda: ViT(width=8, depth=1, num_heads=0, rngs=nnx.Rngs(0)), "num_heads must be a pos"),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, patch_size=0, rngs=nnx.Rngs(0)),
            "patch_size must be a positive",
        ),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, image_size=-16, rngs=nnx.Rngs(0)),
            "image_size must be a positive",
        ),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, num_registers=-1, rngs=nnx.Rngs(0)),
            "num_registers must not be negative, got -1",
        ),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, layer_scale=np.nan, rngs=nnx.Rngs(0)),
            "layer_scale must be finite or None, got nan",
        ),
        (
            lambda: ViT(width=8, depth=1, num_heads=2, drop_path=np.nan, rngs=nnx.Rngs(0)),
            r"drop_path must be in \[0, 1\), got nan",
        ),
        (lambda: make_convnext(in_channels=-3), "in_channels must be a positive"),
        (lambda: ConvNeXt(depths=(1, 0), widths=(4, 8), rngs=nnx.Rngs(0)), "depths must be a pos"),
        (lambda: ConvNeXt(depths=(1,), widths=(-4,), rngs=nnx.Rngs(0)), "widths must be a pos"),
        (
            lambda: ConvNeXt(depths=(1,), widths=(4,), stem_patch=0, rngs=nnx.Rngs(0)),
            "stem_patch must be a positive",
        ),
        (lambda: make_resnet(image_size=-1), "image_size must be a positive"),
        (lambda: ResNet(stage_sizes=(1, 0), rngs=nnx.Rngs(0)), "stage_sizes must be a positive"),
        (lambda: ResNet(stage_sizes=(-1, 1), rngs=nnx.Rngs(0)), "stage_sizes must be a positive"),
        (lambda: ResNet(stage_sizes=(1,), width=0, rngs=nnx.Rngs(0)), "width must be a positive"),
        (
            lambda: ResNet(stage_sizes=(1,), stage_widths=(-8,), rngs=nnx.Rngs(0)),
            "stage_widths must be a positive",
        ),
        (lambda: Projector(0, 3, rngs=nnx.Rngs(0)), "in_features must be a positive"),
        (
            lambda: Projector(6, 3, hidden_features=-1, rngs=nnx.Rngs(0)),
            "hidden_features must be a positive",
        ),
    ],
)
def test_options_that_make_no_network_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(make)


@pytest.mark.parametrize("name", ["vit", "convnext"])
def test_stochastic_depth_without_keys_is_refused(name):
    model = nnx.merge(*random_variables(MAKERS[name]))
    with pytest.raises(ValueError, match="keys must hold one key an image"):
        jax.eval_shape(lambda x: model(x, train=True), jnp.ones((1, 8, 8, 3)))
