import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn.convolutions.residual_network import ResidualBlock, ResNet, resnet


def convolve(kernel, x, stride):
    """Cross-correlation with zeros around, by its definition, float64."""
    size = kernel.shape[0]
    half = size // 2
    x = np.pad(np.asarray(x, np.float64), ((0, 0), (half, half), (half, half), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    return np.einsum("bhwcij,ijco->bhwo", windows[:, ::stride, ::stride], kernel)


def normalize(norm, x):
    return (x - norm["mean"]) / np.sqrt(norm["var"] + 1e-5) * norm["scale"] + norm["bias"]


def relu(x):
    return np.maximum(x, 0)


def oracle(tree, x, *, strides, imagenet, middle):
    """The network in evaluation; `middle` is the place of the convolution that has the stride."""
    x = relu(
        normalize(tree["stem_norm"], convolve(tree["stem"]["kernel"], x, 2 if imagenet else 1))
    )
    if imagenet:
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
        x = windows[:, ::2, ::2].max((-1, -2))
    for index, stride in enumerate(strides):
        block = tree["blocks"][index]
        y = x
        for i in range(len(block["convs"])):
            kernel = block["convs"][i]["kernel"]
            y = normalize(block["norms"][i], convolve(kernel, y, stride if i == middle else 1))
            if i + 1 < len(block["convs"]):
                y = relu(y)
        if "shortcut" in block:
            x = convolve(block["shortcut"]["kernel"], x, stride)
            x = normalize(block["shortcut_norm"], x)
        x = relu(x + y)
    return x


@pytest.mark.parametrize(
    ("options", "strides", "middle"),
    [
        ({"stage_sizes": (2, 1), "width": 2}, (1, 1, 2), 0),
        ({"stage_sizes": (1, 1), "width": 2, "bottleneck": True, "stem": "small"}, (1, 2), 1),
    ],
)
def test_the_network_equals_a_plain_float64_one(options, strides, middle):
    graphdef, state = nnx.split(nnx.eval_shape(lambda: ResNet(**options, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if jax.tree_util.keystr(path).endswith("['var'].value"):
            return jnp.asarray(rng.uniform(0.5, 2, leaf.shape), jnp.float32)
        return jnp.asarray(rng.normal(size=leaf.shape) * 0.5, jnp.float32)

    state = jax.tree_util.tree_map_with_path(draw, state)
    images = jnp.asarray(rng.normal(size=(2, 12, 9, 3)), jnp.float32)

    @jax.jit
    def encode(state, images):
        model = nnx.merge(graphdef, state)
        return model(images), model.patch_features(images)

    features, maps = encode(state, images)
    imagenet = options.get("stem", "imagenet") == "imagenet"
    tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(state))
    expected = oracle(tree, images, strides=strides, imagenet=imagenet, middle=middle)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features, expected.mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_training_normalizes_by_the_batch_and_moves_the_running_statistics_a_tenth():
    graphdef, state = nnx.split(
        nnx.eval_shape(lambda: ResNet(stage_sizes=(1,), width=3, stem="small", rngs=nnx.Rngs(0)))
    )
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), state)
    images = jnp.asarray(rng.normal(size=(4, 5, 6, 3)), jnp.float32)

    @jax.jit
    def train(state, images):
        model = nnx.merge(graphdef, state, copy=True)
        model(images, train=True)
        return nnx.state(model, nnx.BatchStat)

    before = nnx.to_pure_dict(state)
    after = nnx.to_pure_dict(train(state, images))["stem_norm"]
    activations = convolve(before["stem"]["kernel"], images, 1).reshape(-1, 3)
    for name, value in (("mean", activations.mean(0)), ("var", activations.var(0))):
        expected = 0.9 * before["stem_norm"][name] + 0.1 * value
        np.testing.assert_allclose(after[name], expected, rtol=1e-4)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_residual_block_starts_as_its_shortcut(bottleneck):
    def make(zero):
        return ResidualBlock(
            4,
            4,
            1,
            bottleneck=bottleneck,
            zero_init_residual=zero,
            dtype=jnp.float32,
            axis_name=None,
            rngs=nnx.Rngs(0),
        )

    @jax.jit
    def first(x):
        plain = [norm.scale[...] for norm in make(False).norms]
        return make(True)(x, train=True), plain

    x = jnp.linspace(0, 1, 64, dtype=jnp.float32).reshape(1, 4, 4, 4)
    y, plain = first(x)
    np.testing.assert_array_equal(y, x)
    assert all((np.asarray(scale) == 1).all() for scale in plain)


@pytest.mark.parametrize(
    ("depth", "stem", "parameters", "features"),
    [
        (18, "imagenet", 11_176_512, 512),
        (18, "small", 11_168_832, 512),
        (34, "imagenet", 21_284_672, 512),
        (50, "imagenet", 23_508_032, 2048),
    ],
)
def test_the_depths_have_the_published_number_of_parameters(depth, stem, parameters, features):
    model = nnx.eval_shape(lambda: resnet(depth, stem=stem, rngs=nnx.Rngs(0)))
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert sum(leaf.size for leaf in leaves) == parameters
    assert model.features == features


@pytest.mark.parametrize(("stem", "sides"), [("imagenet", (7, 7)), ("small", (28, 28))])
def test_the_stems_reduce_by_thirty_two_and_by_eight(stem, sides):
    def maps(images):
        model = resnet(18, width=4, stage_sizes=(1, 1, 1, 1), stem=stem, rngs=nnx.Rngs(0))
        return model.patch_features(images)

    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    assert jax.eval_shape(maps, images).shape == (1, *sides, 32)


@pytest.mark.parametrize(("stem", "side"), [("small", 9), ("small", 8), ("imagenet", 33)])
def test_flattened_features_are_the_whole_last_map(stem, side):
    options = {"stage_sizes": (0, 1, 1), "width": 2, "stem": stem, "in_channels": 1}
    network = ResNet(**options, pooling="flatten", image_size=side, rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (2, side, side, 1))
    maps, features = network.patch_features(images), network(images)
    assert features.shape == (2, network.features)
    np.testing.assert_array_equal(features, maps.reshape(2, -1))


def test_flattened_features_need_images_of_the_side_they_were_made_for():
    options = {"stage_sizes": (1, 1), "width": 2, "stem": "small", "pooling": "flatten"}
    with pytest.raises(ValueError, match="image_size must be given"):
        ResNet(**options, rngs=nnx.Rngs(0))
    network = ResNet(**options, image_size=8, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="side of image_size = 8, got"):
        network(jnp.zeros((1, 16, 16, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: resnet(99, rngs=r), "depth must be one of 18, 34, 50, 101, 152, got 99"),
        (
            lambda r: resnet(18, stem="big", rngs=r),
            "stem must be one of imagenet, deep, small, got 'big'",
        ),
        (
            lambda r: ResNet(stage_sizes=(1, 1), stage_widths=(8,), rngs=r),
            "one width for each of the 2 stages (at least one), got (8,)",
        ),
        (
            lambda r: ResNet(stage_sizes=(1,), stage_widths=(6,), bottleneck=True, rngs=r),
            "stage_widths must be divisible by 4 with bottlenecks, got (6,)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        nnx.eval_shape(lambda: make(nnx.Rngs(0)))


def test_compiled_bfloat16_features_are_those_of_the_operations_one_by_one():
    """XLA of jax 0.12 merged the last block with the mean into one wrong operation on CPUs."""
    network = ResNet(
        stage_sizes=(1, 1),
        stem="small",
        zero_init_residual=False,
        dtype=jnp.bfloat16,
        rngs=nnx.Rngs(0),
    )
    images = jax.random.normal(jax.random.key(1), (8, 16, 16, 3))
    wanted = np.asarray(network(images))
    found = np.asarray(nnx.jit(lambda net, x: net(x))(network, images))
    np.testing.assert_allclose(found, wanted, atol=2e-2 * np.abs(wanted).max())
