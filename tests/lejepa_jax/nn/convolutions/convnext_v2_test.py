import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx

from lejepa_jax.nn.convolutions.convnext_v2 import (
    CONVNEXT_SIZES,
    ConvNeXt,
    GlobalResponseNorm,
    convnext,
)


def layer_norm(norm, x):
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * norm["scale"] + norm["bias"]


def reduce(layer, x, size):
    """Convolution whose stride is its size, patch by patch."""
    height, width = x.shape[1] // size, x.shape[2] // size
    out = np.empty((len(x), height, width, len(layer["bias"])))
    for i in range(height):
        for j in range(width):
            patch = x[:, i * size : (i + 1) * size, j * size : (j + 1) * size]
            out[:, i, j] = patch.reshape(len(x), -1) @ layer["kernel"] + layer["bias"]
    return out


def response(norm, x):
    energy = np.linalg.norm(x, axis=(1, 2), keepdims=True)
    relative = energy / (energy.mean(-1, keepdims=True) + 1e-6)
    return norm["gamma"] * x * relative + norm["beta"] + x


def oracle(tree, x, stem_patch):
    x = layer_norm(tree["reduce_norms"][0], reduce(tree["reduce"][0], x, stem_patch))
    for stage in range(len(tree["reduce"])):
        if stage:
            x = reduce(tree["reduce"][stage], layer_norm(tree["reduce_norms"][stage], x), 2)
        block = tree["blocks"][stage]  # one block a stage
        padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), (1, 2))
        kernel = block["depthwise"]["kernel"][:, :, 0]
        y = np.einsum("bhwcij,ijc->bhwc", windows, kernel) + block["depthwise"]["bias"]
        y = layer_norm(block["norm"], y) @ block["expand"]["kernel"] + block["expand"]["bias"]
        y = response(block["response"], y * 0.5 * (1 + scipy.special.erf(y / math.sqrt(2))))
        x = x + y @ block["contract"]["kernel"] + block["contract"]["bias"]
    return layer_norm(tree["norm"], x.mean((1, 2))), layer_norm(tree["norm"], x)


def test_the_network_equals_a_plain_float64_one():
    graphdef, state = nnx.split(
        nnx.eval_shape(
            lambda: ConvNeXt(depths=(1, 1), widths=(4, 6), stem_patch=2, rngs=nnx.Rngs(0))
        )
    )
    rng = np.random.default_rng(0)
    state = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.5, jnp.float32), state
    )
    # Odd sides: what does not fill a patch is dropped, twice along the rows.
    images = jnp.asarray(rng.normal(size=(2, 7, 13, 3)), jnp.float32)

    @jax.jit
    def encode(state, images):
        model = nnx.merge(graphdef, state)
        return model(images), model.patch_features(images)

    tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(state))
    for got, expected in zip(
        encode(state, images), oracle(tree, np.asarray(images, np.float64), 2), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_global_response_norm_starts_as_the_identity_and_favors_the_strong_channel():
    norm = GlobalResponseNorm(2)
    x = jnp.stack([jnp.full((1, 2, 2), 3.0), jnp.ones((1, 2, 2))], -1)
    np.testing.assert_array_equal(norm(x), x)
    norm.gamma[...] = jnp.ones(2)
    # Norms 6 and 2, mean 4: gains 1 + 6/4 and 1 + 2/4.
    np.testing.assert_allclose(norm(x)[0, 0, 0], [7.5, 1.5], rtol=1e-5)


def test_a_map_that_is_all_zero_has_a_finite_gradient():
    # As black images give at initialization, where all offsets are zero.
    norm = GlobalResponseNorm(2)
    norm.gamma[...] = jnp.ones(2)
    gradient = jax.jit(jax.grad(lambda x: jnp.sin(norm(x)).sum()))(jnp.zeros((1, 2, 2, 2)))
    np.testing.assert_allclose(gradient, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "parameters"),
    # With the published classifiers of 1000 classes: 3,708,400, 5,233,240, 9,066,280, 15,623,800,
    # 28,635,496, 88,717,800, 197,956,840 and 660,289,640.
    [
        ("atto", 3_708_400 - 321_000),
        ("femto", 5_233_240 - 385_000),
        ("pico", 9_066_280 - 513_000),
        ("nano", 15_623_800 - 641_000),
        ("tiny", 28_635_496 - 769_000),
        ("base", 88_717_800 - 1_025_000),
        ("large", 197_956_840 - 1_537_000),
        ("huge", 660_289_640 - 2_817_000),
    ],
)
def test_the_sizes_have_the_published_number_of_parameters(size, parameters):
    model = nnx.eval_shape(lambda: convnext(size, depths=(1, 1, 1, 1), rngs=nnx.Rngs(0)))

    def count(module):
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))

    # Blocks of a stage are alike: one of each, and how many more of each there are.
    depths = CONVNEXT_SIZES[size].depths
    more = sum(
        (depth - 1) * count(block) for depth, block in zip(depths, model.blocks, strict=True)
    )
    assert count(model) + more == parameters


def test_the_smallest_size_is_the_published_one_block_by_block():
    model = nnx.eval_shape(lambda: convnext("atto", rngs=nnx.Rngs(0)))
    assert len(model.blocks) == 12
    assert model.features == 320
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model))) == 3_387_400


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=re.escape("size must be one of atto, femto")):
        convnext("mega", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=re.escape("one width for each of the 2 stages")):
        ConvNeXt(depths=(1, 1), widths=(4,), rngs=nnx.Rngs(0))
    model = nnx.eval_shape(lambda: convnext("atto", stem_patch=2, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="images must measure at least 16 pixels a side"):
        jax.eval_shape(model, jax.ShapeDtypeStruct((1, 8, 16, 3), jnp.float32))
