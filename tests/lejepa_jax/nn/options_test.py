"""What encoders have for weights of other libraries, against the formulas in numpy."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rope_jax
from lejepa_jax.nn import AttentionPooling, Block, ConvNeXt, ViT, resnet
from lejepa_jax.nn.convolutions.residual_network import ResidualBlock

RNG = np.random.default_rng(0)
TOKENS = RNG.standard_normal((2, 5, 8)).astype("f4")


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def norm(x, epsilon=1e-6):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)


def linear(layer, x):
    return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def test_swiglu_is_a_gate_times_a_value():
    block = Block(8, 2, 6, activation="swiglu", epsilon=0.1, rngs=nnx.Rngs(0))
    mixed = TOKENS + np.asarray(block.attention(block.attention_norm(jnp.asarray(TOKENS))))
    gate, value = np.split(linear(block.expand, norm(mixed, 0.1)), 2, -1)
    wanted = mixed + linear(block.contract, gate / (1 + np.exp(-gate)) * value)
    np.testing.assert_allclose(block(jnp.asarray(TOKENS)), wanted, atol=1e-5)


def test_attention_pooling_is_one_query_and_an_mlp():
    pool = AttentionPooling(8, 2, 6, activation="quick_gelu", rngs=nnx.Rngs(0))
    query = linear(pool.query, np.asarray(pool.latent[...])).reshape(2, 4)
    key, value = (x.reshape(2, 5, 2, 4) for x in np.split(linear(pool.key_value, TOKENS), 2, -1))
    weights = softmax(np.einsum("hd,bnhd->bhn", query, key) / 2)
    y = linear(pool.out, np.einsum("bhn,bnhd->bhd", weights, value).reshape(2, 8))
    hidden = linear(pool.expand, norm(y))
    wanted = y + linear(pool.contract, hidden / (1 + np.exp(-1.702 * hidden)))
    np.testing.assert_allclose(pool(jnp.asarray(TOKENS)), wanted, atol=1e-5)


def vit(**options):
    fixed = {"width": 8, "depth": 1, "num_heads": 2, "patch_size": 4, "image_size": 8}
    return ViT(**{**fixed, **options}, rngs=nnx.Rngs(0))


IMAGES = jnp.asarray(RNG.standard_normal((1, 8, 8, 3)), jnp.float32)


def test_the_norm_may_act_on_the_mean_or_before_the_blocks():
    encoder = vit(pooling="mean", norm_after_mean=True, epsilon=1e-3, norm_before=True)
    assert encoder.patch_embedding.bias is None
    x, grid = encoder._embed(IMAGES)
    np.testing.assert_allclose(norm(np.asarray(x), 1e-3), x, atol=2e-3)
    *_, last = encoder._layers(x, grid)
    np.testing.assert_allclose(encoder(IMAGES), norm(np.asarray(last).mean(1), 1e-3), atol=1e-5)


def test_a_table_may_stand_beside_an_encoding_at_named_positions():
    options = {"position": "axial", "coordinates": "integer", "pooling": "mean"}
    encoder = vit(**options, position_table=True)
    table = encoder.position_table[...]
    bare = vit(**options)
    difference = encoder._embed(IMAGES)[0] - bare._embed(IMAGES)[0]
    # The draws that follow the table differ, those of the patches do not.
    np.testing.assert_allclose(difference[0], table, atol=1e-6)

    def by_hand(height, width):
        return rope_jax.patch_grid((height, width), convention="integer").positions

    same = vit(**{**options, "coordinates": by_hand})
    np.testing.assert_array_equal(bare(IMAGES), same(IMAGES))
    assert not np.array_equal(bare(IMAGES), vit(**{**options, "coordinates": None})(IMAGES))


def test_shortcuts_average_what_there_is():
    plan = {"bottleneck": False, "zero_init_residual": True, "dtype": "float32", "axis_name": None}
    block = ResidualBlock(1, 2, 2, average_shortcut=True, **plan, rngs=nnx.Rngs(0))
    x = np.arange(15.0, dtype="f4").reshape(1, 3, 5, 1)
    kernel = np.asarray(block.shortcut.kernel[...])[0, 0]
    means = [[x[0, i : i + 2, j : j + 2].mean() for j in (0, 2, 4)] for i in (0, 2)]
    wanted = np.maximum(np.asarray(means)[..., None] @ kernel, 0) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(block(jnp.asarray(x), train=False)[0], wanted, rtol=1e-5)


def test_convnext_of_the_first_version_has_a_gain_and_no_response():
    plan = {"depths": (1,), "widths": (4,), "stem_patch": 1, "in_channels": 1}
    encoder = ConvNeXt(**plan, response=False, layer_scale=0.0, rngs=nnx.Rngs(0))
    assert encoder.blocks[0].response is None
    images = IMAGES[..., :1]
    x = encoder.reduce_norms[0](encoder.reduce[0](images))
    np.testing.assert_allclose(encoder(images), encoder.norm(x.mean((1, 2))), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vit(norm_after_mean=True), "norm_after_mean wants pooling=\"mean\", got 'cls'"),
        (lambda: vit(position_table=True), "position_table wants an encoding beside it, got 'lea"),
        (lambda: vit(position="axial", coordinates="polar"), "coordinates must name a convention"),
        (lambda: vit(position="axial", coordinates="centers(to=1)"), "unknown options to"),
        (lambda: vit(activation="tanh"), "activation must be one of gelu, quick_gelu, swiglu"),
        (lambda: vit(epsilon=0.0), "epsilon must be positive"),
        (lambda: vit(pooling="attention", activation="swiglu"), "activation must be one of gelu"),
        (lambda: resnet(18, stem="deep", width=3, rngs=nnx.Rngs(0)), "width must be even"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        nnx.eval_shape(make)
