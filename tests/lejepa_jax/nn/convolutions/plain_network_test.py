"""The small network of frames: where things are reaches the features."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn import encoder_by_name
from lejepa_jax.nn.convolutions.plain_network import ConvNet


def test_the_same_dot_in_two_places_has_two_features_and_any_side_that_patches_tile_will_do():
    @jax.jit
    def encode(images):
        model = ConvNet(widths=(4, 8), features=3, image_size=(12, 20), rngs=nnx.Rngs(0))
        return model(images)

    images = np.zeros((2, 12, 20, 3), np.float32)
    images[0, 4:8, 4:8], images[1, 8:12, 16:20] = 1, 1
    first, second = encode(jnp.asarray(images))
    assert float(jnp.abs(first - second).max()) > 1e-3


def test_it_is_made_by_name():
    make = encoder_by_name("convnet-tiny(features=6)", image_size=32)
    model = nnx.eval_shape(lambda: make(in_channels=1, rngs=nnx.Rngs(0)))
    assert (model.features, model.image_size, len(model.convs)) == (6, (32, 32), 2)


def test_what_does_not_fit_is_refused():
    for options, message in (
        ({"image_size": 30}, "image_size must be a multiple of patch_size=4 a side"),
        ({"norm_groups": 3}, "norm_groups must divide every width of (32, 64, 64, 64), got 3"),
        ({"widths": (8, 0)}, "widths[1] must be a positive whole number"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            ConvNet(**options, rngs=nnx.Rngs(0))
    model = nnx.eval_shape(lambda: ConvNet(image_size=8, widths=(2,), rngs=nnx.Rngs(0)))
    for images, message in (
        (jnp.ones((1, 8, 12, 3)), "images must be 8 x 8 pixels, got 8 x 12"),
        (jnp.ones((1, 8, 8, 1)), "images must have 3 channels"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(model, images)
