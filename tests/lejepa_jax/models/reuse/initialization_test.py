"""A run that begins with a model: all of its encoder, or one error that lists what does not fit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.models import FieldPreprocessing, ImagePreprocessing, random_model
from lejepa_jax.models.reuse.initialization import match_arrays
from lejepa_jax.models.reuse.resizing import resize_array, resize_patches
from lejepa_jax.models.tensors import arrange_arrays, name_arrays
from lejepa_jax.nn import ViT, patchify
from tests.lejepa_jax.models.conftest import IMAGES, MAKERS


def encoder_and_shapes(**changes):
    make = functools.partial(MAKERS["encoder"], **changes)
    encoder = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    _, params, _ = nnx.split(encoder, nnx.Param, ...)
    names = name_arrays({"encoder": nnx.to_pure_dict(params)})
    return encoder, {name: tuple(x.shape) for name, x in names.items()}


def test_the_same_network_takes_every_array_as_it_is(model):
    encoder, wanted = encoder_and_shapes()
    found = match_arrays(model, wanted, encoder)
    assert found.arrays.keys() == wanted.keys()
    assert not found.resized
    for name, array in name_arrays(model.variables.params).items():
        if name.startswith("encoder."):
            np.testing.assert_array_equal(found.arrays[name], array)


def test_positions_and_patches_of_other_sizes_are_resized(model):
    encoder, wanted = encoder_and_shapes(image_size=12, patch_size=3, in_channels=1)
    found = match_arrays(model, wanted, encoder)
    assert found.resized == {
        "encoder.patch_embedding.kernel": ((48, 8), (9, 8)),
        "encoder.position_table": ((5, 8), (17, 8)),
    }
    assert {name: x.shape for name, x in found.arrays.items()} == wanted


def test_a_projector_of_another_size_stays_new(model):
    encoder, wanted = encoder_and_shapes()
    names = [pair for part in model.variables for pair in name_arrays(part).items()]
    shapes = {name: tuple(x.shape) for name, x in names if name.startswith("projector.")}
    assert not match_arrays(model, wanted | shapes, encoder).left
    shapes["projector.last.bias"] = (7,)
    found = match_arrays(model, wanted | shapes, encoder)
    assert found.left == {"projector": "of other sizes"}
    assert not any(name.startswith("projector") for name in found.arrays)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depth": 3}, ["encoder.blocks.2.attention.qkv.kernel is missing"]),
        ({"depth": 1}, ["encoder.blocks.1.attention.qkv.kernel is no part of the network"]),
        ({"width": 16}, ["encoder.cls_token is (1, 8) there and (1, 16) in the network"]),
        ({"pooling": "mean"}, ["encoder.cls_token is no part", "encoder.position_table is (5, 8)"]),
        ({"layer_scale": 1e-5}, ["encoder.blocks.0.", "encoder.blocks.1."]),
    ],
)
def test_everything_that_does_not_fit_is_in_one_error(model, changes, said):
    encoder, wanted = encoder_and_shapes(**changes)
    with pytest.raises(ValueError, match="the encoder of init_from does not fit") as caught:
        match_arrays(model, wanted, encoder)
    for text in said:
        assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_resized_map_gives_of_enlarged_patches_what_the_old_one_gave():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 4, 3, 5)).astype(np.float32)
    patch = rng.normal(size=(1, 4, 4, 3)).astype(np.float32)
    larger = jax.image.resize(patch, (1, 7, 7, 3), "bilinear", antialias=False)
    old = patchify(jnp.asarray(patch), 4).reshape(1, -1) @ kernel.reshape(48, 5)
    new = patchify(larger, 7).reshape(1, -1) @ resize_patches(kernel, 7, 3).reshape(147, 5)
    np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)
    gray = rng.normal(size=(1, 4, 4, 1)).astype(np.float32)
    one = resize_patches(kernel, 4, 1)
    three = np.repeat(gray, 3, axis=-1).reshape(1, -1) @ kernel.reshape(48, 5)
    np.testing.assert_allclose(
        gray.reshape(1, -1) @ one.reshape(16, 5), three, rtol=1e-4, atol=1e-5
    )
    back = resize_patches(one, 4, 3)
    again = np.repeat(gray, 3, axis=-1).reshape(1, -1) @ back.reshape(48, 5)
    np.testing.assert_allclose(again, three, rtol=1e-4, atol=1e-5)


def test_resized_positions_keep_what_the_network_sees(model):
    """The same image, larger: with positions resized the features stay near."""
    make = functools.partial(MAKERS["encoder"], image_size=16)
    preprocessing = ImagePreprocessing(
        channels=3, image_size=16, eval_size=16, mean=IMAGES.mean, std=IMAGES.std, batch_size=4
    )
    encoder = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    larger = random_model(jax.random.key(1), {"encoder": make}, preprocessing)
    names = {**name_arrays(larger.variables.params)}
    found = match_arrays(model, {name: x.shape for name, x in names.items()}, encoder)
    # On the grid of 8 pixels both read the table of 8 pixels: bicubic back and forth is near.
    assert found.resized == {"encoder.position_table": ((5, 8), (17, 8))}
    table = found.arrays["encoder.position_table"]
    old = np.asarray(model.variables.params["encoder"]["position_table"])
    np.testing.assert_array_equal(table[0], old[0])
    np.testing.assert_allclose(table[1:].mean(0), old[1:].mean(0), rtol=1e-4, atol=1e-4)
    assert isinstance(larger.net.shape.encoder, ViT)


def small_vit(num_axes, position, **options):
    options = {
        "width": 24,
        "depth": 2,
        "num_heads": 2,
        "in_channels": 2,
        "pooling": "mean",
    } | options
    sides = {"image_size": (8,) * num_axes, "patch_size": 4, "num_axes": num_axes}
    return ViT(**sides, position=position, **options, rngs=nnx.Rngs(num_axes))


def inflate(position, deep_position=None, **options):
    """A model of planes, and an encoder of volumes that begins with it."""
    own = FieldPreprocessing(
        stored_size=(8, 8),
        eval_size=(8, 8),
        **{name: (0.0, 0.0) for name in ("mean", "low", "high")},
        std=(1.0, 1.0),
        batch_size=2,
    )
    make = functools.partial(small_vit, 2, position, **options)
    model = random_model(jax.random.key(0), {"encoder": lambda rngs, **given: make(**given)}, own)
    volume = small_vit(3, deep_position or position, **options)
    graph, params, rest = nnx.split(volume, nnx.Param, ...)
    wanted = {n: x.shape for n, x in name_arrays({"encoder": nnx.to_pure_dict(params)}).items()}
    found = match_arrays(model, wanted, volume)
    own = {name.removeprefix("encoder."): jnp.asarray(x) for name, x in found.arrays.items()}
    nnx.replace_by_pure_dict(params, arrange_arrays(own, nnx.to_pure_dict(params)))
    return model, nnx.merge(graph, params, rest), found


@pytest.mark.parametrize(
    "positions", [("learned",), ("mixed",), ("axial", "axial(sections=(3, 3, 0))")]
)
def test_a_volume_constant_along_its_depth_gives_what_its_slice_gave(positions):
    model, volume, found = inflate(*positions)
    planes = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    deep = jnp.broadcast_to(jnp.asarray(planes)[:, None], (2, 8, 8, 8, 2))
    expected = model.apply(model.params, jnp.asarray(planes))
    np.testing.assert_allclose(volume(deep), expected, atol=1e-5)
    changed = volume(deep.at[:, 4:].add(1.0))
    assert np.abs(np.asarray(changed - expected)).max() > 1e-3
    assert found.new_axes == 1
    assert found.resized["encoder.patch_embedding.kernel"] == ((32, 24), (128, 24))
    learned = any(".position_" in name for name in found.resized)
    assert found.positions == ("" if learned else f"positions: {positions[-1]} over 3 axes")
    assert learned == (len(positions) == 1)


def test_more_channels_begin_with_the_mean_of_the_codes():
    codes = np.arange(6, dtype=np.float32).reshape(3, 2)
    more = resize_array("encoder.channel_codes", codes, (4, 2), None, None)
    np.testing.assert_array_equal(more, [*codes.tolist(), [2, 3]])
    fewer = resize_array("encoder.channel_codes", codes, (2, 2), None, None)
    np.testing.assert_array_equal(fewer, codes[:2])
