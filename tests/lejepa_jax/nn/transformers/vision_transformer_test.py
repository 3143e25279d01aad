import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

import rope_jax
from lejepa_jax.nn.transformers.layer_reader import TokenGrid
from lejepa_jax.nn.transformers.positions import sincos_table
from lejepa_jax.nn.transformers.vision_transformer import ViT
from lejepa_jax.nn.transformers.vit_sizes import vit
from rope_jax import Encoding, patch_grid

WIDTH, HEADS, PATCH = 8, 2, 2


def make(**options):
    defaults = {
        "width": WIDTH,
        "depth": 2,
        "num_heads": HEADS,
        "patch_size": PATCH,
        "image_size": (6, 8),
        "num_registers": 1,
    }
    return ViT(**{**defaults, **options}, rngs=nnx.Rngs(0))


def make_random(**options):
    """The model with every parameter drawn anew, so that none sits at zero or one."""
    graphdef, params = nnx.split(nnx.eval_shape(lambda: make(**options)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.4, jnp.float32), params
    )
    tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(params))
    return nnx.merge(graphdef, params), tree


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(graphdef, method, params, images):
    return getattr(nnx.merge(graphdef, params), method)(images)


def apply(model, images, method="__call__"):
    return np.asarray(_apply(*nnx.split(model)[:1], method, nnx.split(model)[1], images))


def photographs(height=6, width=8, count=2):
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(count, height, width, 3)), jnp.float32)


# A second implementation: one image, explicit loops over patches and heads, float64.


def layer_norm(norm, x):
    centered = x - x.mean(-1, keepdims=True)
    y = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6) * norm["scale"]
    return y + norm.get("bias", 0)


def linear(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def attend(block, x, turn):
    parts = linear(block["attention"]["qkv"], layer_norm(block["attention_norm"], x))
    query, key, value = np.split(parts, 3, -1)
    size = WIDTH // HEADS
    maps, mixed = [], []
    for head in range(HEADS):
        columns = slice(head * size, (head + 1) * size)
        q, k = query[:, columns], key[:, columns]
        if "query_norm" in block["attention"]:
            q = layer_norm(block["attention"]["query_norm"], q)
            k = layer_norm(block["attention"]["key_norm"], k)
        weights = np.exp(turn(q) @ turn(k).T / math.sqrt(size))
        weights /= weights.sum(-1, keepdims=True)
        maps.append(weights)
        mixed.append(weights @ value[:, columns])
    return np.stack(maps), linear(block["attention"]["out"], np.concatenate(mixed, -1))


def oracle(tree, image, *, place=None, turn=lambda x: x):
    """Tokens after every block, and the attention of the last; `place` adds positions."""
    image = np.asarray(image, np.float64)
    rows = []
    for i in range(0, image.shape[0], PATCH):
        for j in range(0, image.shape[1], PATCH):
            rows.append(linear(tree["patch_embedding"], image[i : i + 2, j : j + 2].reshape(-1)))
    patches = np.stack(rows)
    cls = tree["cls_token"]
    if "position_table" in tree:
        cls = cls + tree["position_table"][:1]
        patches = patches + tree["position_table"][1:]
    if place is not None:
        patches = patches + place
    x = np.concatenate([cls, tree["registers"], patches])
    layers, maps = [], None
    for index in range(len(tree["blocks"])):
        block = tree["blocks"][index]
        maps, branch = attend(block, x, turn)
        gains = block.get("layer_scales", {0: 1.0, 1: 1.0})
        x = x + gains[0] * branch
        hidden = linear(block["expand"], layer_norm(block["mlp_norm"], x))
        hidden = hidden * 0.5 * (1 + scipy.special.erf(hidden / math.sqrt(2)))
        x = x + gains[1] * linear(block["contract"], hidden)
        layers.append(layer_norm(tree["norm"], x))
    return layers, maps


@pytest.fixture(scope="module")
def learned():
    return make_random(qk_norm=True, layer_scale=1.0)


def test_features_and_maps_equal_a_plain_float64_transformer(learned):
    model, tree = learned
    images = photographs()
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)

    @jax.jit
    def everything(images):
        return (
            model(images),
            model.intermediate(images, num_layers=2),
            model.patch_features(images),
            model.attention_maps(images),
        )

    got = [np.asarray(part) for part in everything(images)]
    for index, image in enumerate(images):
        layers, maps = oracle(tree, image)
        close(got[0][index], layers[-1][0])
        close(got[1][index], np.concatenate([layers[-2][0], layers[-1][0]]))
        close(got[2][index].reshape(-1, WIDTH), layers[-1][2:])
        close(got[3][index], maps)


def test_mean_pooling_averages_the_normed_patches_and_leaves_registers_out():
    model, _ = make_random(pooling="mean", num_registers=2)
    assert model.num_prefix == 2
    images = photographs()
    expected = apply(model, images, "patch_features").mean((1, 2))
    np.testing.assert_allclose(apply(model, images), expected, rtol=1e-5, atol=1e-6)


def test_without_positions_the_class_token_does_not_see_the_order_of_patches():
    images = photographs()
    swapped = jnp.concatenate([images[:, 2:4], images[:, :2], images[:, 4:]], 1)
    blind, _ = make_random(position="none")
    np.testing.assert_allclose(apply(blind, swapped), apply(blind, images), rtol=1e-4, atol=1e-5)
    seeing, _ = make_random(position="sincos")
    assert np.abs(apply(seeing, swapped) - apply(seeing, images)).max() > 1e-3


def test_recomputing_blocks_changes_neither_value_nor_gradient():
    images = photographs()

    def value_and_grad(remat):
        graphdef, params = nnx.split(make_random(depth=1, remat=remat)[0])
        loss = jax.jit(
            jax.value_and_grad(lambda params: jnp.sin(nnx.merge(graphdef, params)(images)).sum())
        )
        jaxpr = str(jax.make_jaxpr(loss)(params))
        assert ("checkpoint" in jaxpr or "remat" in jaxpr) == remat
        return jax.tree.leaves(loss(params))

    for kept, again in zip(value_and_grad(False), value_and_grad(True), strict=True):
        np.testing.assert_allclose(again, kept, rtol=1e-4, atol=1e-5)


# Positions.


@given(st.integers(1, 5), st.integers(1, 5))
def test_sincos_positions_are_the_published_ones_on_their_own_grid(height, width):
    expected = np.empty((height, width, 8))
    for y in range(height):
        for x in range(width):
            omega = [1.0, 10000.0**-0.5]
            row = [math.sin(w * y) for w in omega] + [math.cos(w * y) for w in omega]
            column = [math.sin(w * x) for w in omega] + [math.cos(w * x) for w in omega]
            expected[y, x] = row + column
    np.testing.assert_allclose(sincos_table(height, width, 8), expected, atol=1e-6)


def test_sincos_positions_of_a_finer_grid_lie_between_those_trained_on():
    # Twice the patches over the same extent: places -1/4, 1/4, 3/4, 5/4 in old patches.
    fine = sincos_table(4, 2, 4, reference=(2, 2))[:, 0, 0]
    np.testing.assert_allclose(fine, np.sin([-0.25, 0.25, 0.75, 1.25]), rtol=1e-5)


def test_a_learned_table_is_resized_over_the_same_extent_without_averaging():
    model, _ = make_random(image_size=16, depth=1)
    table = np.zeros((65, WIDTH), np.float32)
    # A ramp along rows in the first feature; the third column alone in the second.
    table[1:, 0] = np.repeat(np.arange(8), 8)
    table[1:, 1] = np.tile(np.arange(8) == 2, 8)
    model.position_table[...] = jnp.asarray(table)
    model.patch_embedding.kernel[...] = jnp.zeros((12, WIDTH))
    model.patch_embedding.bias[...] = jnp.zeros(WIDTH)
    tokens, grid = model._embed(jnp.zeros((1, 8, 8, 3)))
    assert grid == TokenGrid((None,), None)
    patches = tokens[0, 2:].reshape(4, 4, WIDTH)
    # Centers of the 4 coarse patches in fine ones: 0.5, 2.5, 4.5, 6.5; cubic keeps ramps inside.
    np.testing.assert_allclose(patches[1:3, 0, 0], [2.5, 4.5], atol=1e-5)
    # The cubic kernel half a patch and 2.5 patches away; averaging would halve the first.
    np.testing.assert_allclose(patches[2, 1:3, 1], [0.5625, 0], atol=1e-5)
    same, _ = model._embed(jnp.zeros((1, 16, 16, 3)))
    np.testing.assert_array_equal(same[0, 2:], table[1:])


def rotary(embed=None):
    """One learned frequency an axis: pair (0, 1) turns by the column, pair (2, 3) by the row."""

    def prepare(params, positions):
        angles = positions * params["frequencies"][None]
        return jnp.cos(angles)[None, :, None], jnp.sin(angles)[None, :, None]

    def rotate(rotation, x):
        cos, sin = rotation
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1)
        return turned.reshape(x.shape)

    return Encoding(lambda key: {"frequencies": jnp.ones(2)}, prepare, rotate, embed)


def test_an_encoding_turns_the_queries_and_keys_of_patches_and_nothing_else():
    model, tree = make_random(position=rotary(), share_positions=True)
    assert "position_table" not in tree
    images = photographs()
    angles = np.asarray(patch_grid((3, 4)).positions, np.float64)
    angles = angles * tree["position_params"]["frequencies"]
    angles = np.concatenate([np.zeros((2, 2)), angles])  # the class token and the register

    def turn(x):
        pairs = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * angles)
        return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)

    layers, maps = oracle(tree, images[0], turn=turn)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(apply(model, images)[0], layers[-1][0])
    close(apply(model, images, "attention_maps")[0], maps)

    graphdef, params = nnx.split(model)
    gradient = jax.jit(jax.grad(lambda params: jnp.sin(nnx.merge(graphdef, params)(images)).sum()))
    learned = gradient(params)["position_params"]["frequencies"][...]
    assert np.isfinite(learned).all()
    assert np.abs(learned).min() > 1e-6


def test_an_encoding_that_adds_moves_the_patches_by_what_it_says():
    def embed(params, positions):
        return jnp.tile(positions * params["frequencies"][None], (1, 4))

    identity = rotary(embed)._replace(rotate=lambda rotation, x: x)

    def grid(height, width):
        return patch_grid((height, width), train_shape=(1, 1)).positions

    model, tree = make_random(position=identity, coordinates=grid)
    place = np.tile(np.asarray(grid(3, 4)) * tree["position_params"]["frequencies"], (1, 4))
    layers, _ = oracle(tree, photographs()[0], place=place)
    np.testing.assert_allclose(apply(model, photographs())[0], layers[-1][0], rtol=1e-4, atol=1e-5)


# Encodings by name.


def test_a_name_with_options_is_the_encoding_they_make():
    named = "mixed(base=3.0, layout='adjacent')"
    by_name, tree = make_random(position=named, width=16)
    assert tree["position_params"]["frequencies"].shape == (2, 2, 2, 4)  # a set for each block
    encoding = rope_jax.mixed(8, 2, base=3.0, layout="adjacent")
    by_hand, _ = make_random(position=encoding, width=16)
    images = photographs()
    np.testing.assert_array_equal(apply(by_name, images), apply(by_hand, images))


@pytest.mark.parametrize("name", ["learned", "sincos", "none"])
def test_a_position_of_its_own_means_the_same_with_and_without_parentheses(name):
    assert make(position=f"{name}()").position == make(position=name).position == name


@pytest.mark.parametrize("spec", ["sincos(base=100.0)", "none(num_axes=2)", "learned(std=0.1)"])
def test_a_position_of_its_own_takes_no_options(spec):
    with pytest.raises(ValueError, match=re.escape(f"takes no options, got {spec!r}")):
        make(position=spec)


@pytest.mark.parametrize("name", sorted(rope_jax.ENCODINGS))
def test_every_name_makes_an_encoder_that_takes_other_grids(name):
    def run(images):
        model = make(position=name, width=32, image_size=8, num_registers=1)
        return model(images[:, :8, :8]) + model(images)

    assert jax.eval_shape(run, jnp.zeros((1, 12, 8, 3))).shape == (1, 32)


def test_class_and_register_tokens_are_not_turned_by_a_single_bit():
    model = make(position="spherical(learned=True)", width=32)
    x = jax.random.normal(jax.random.key(0), (1, 2 + 12, 2, 16))

    @jax.jit
    def turn(images, x):
        rotates = model._embed(images)[1].rotates
        return jnp.stack([rotate(x) for rotate in rotates])

    turned = np.asarray(turn(photographs(count=1), x))
    np.testing.assert_array_equal(turned[:, :, :2], np.stack([x[:, :2]] * 2))
    assert np.abs(turned[:, :, 2:] - np.asarray(x)[None, :, 2:]).max() > 0.1


def test_the_measure_keeps_the_share_of_the_class_token_at_another_resolution():
    plain, _ = make_random(position="none", depth=1, log_measure=False)
    weighted, _ = make_random(position="none", depth=1, log_measure=True)
    small = photographs()
    # Each patch four times: the same field, sampled more finely.
    big = jnp.repeat(jnp.repeat(small.reshape(2, 3, 2, 4, 2, 3), 2, 1), 2, 3).reshape(2, 12, 16, 3)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(apply(weighted, small), apply(plain, small))
    close(apply(weighted, big), apply(plain, small))
    maps = apply(weighted, big, "attention_maps")
    close(maps[:, :, 0, :2], apply(plain, small, "attention_maps")[:, :, 0, :2])
    assert np.abs(apply(plain, big) - apply(plain, small)).max() > 1e-2


# Published sizes.


def test_registers_and_cls_start_apart():
    tokens = jax.jit(
        lambda: (lambda m: (m.cls_token[...], m.registers[...]))(make(num_registers=3))
    )
    assert np.linalg.matrix_rank(np.concatenate(tokens())) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, "width must be divisible by num_heads=3, got 8"),
        ({"image_size": 7}, "image_size must be a multiple of patch_size=2 a side, got 7 x 7"),
        ({"pooling": "max"}, "pooling must be one of cls, mean, attention, got 'max'"),
        (
            {"position": "rope"},
            "position must be learned, sincos, none, or name an encoding; encoding must be one of "
            "none, learned_absolute, sincos, rope_1d, axial,",
        ),
        ({"position": "axial(bass=2)"}, "options of axial must be among: base, exponent,"),
        ({"drop_path": 1.0}, "drop_path must be in [0, 1), got 1.0"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        nnx.eval_shape(lambda: make(**options))


def test_other_things_that_do_not_fit_are_refused(learned):
    model, _ = learned
    with pytest.raises(ValueError, match="images must be a multiple of patch_size=2 a side"):
        model(jnp.ones((1, 5, 8, 3)))
    with pytest.raises(ValueError, match="num_layers must be between 1 and depth=2, got 3"):
        model.intermediate(photographs(), num_layers=3)
    with pytest.raises(ValueError, match="size must be one of Ti, S"):
        vit("XL", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="width must be divisible by 4"):
        sincos_table(2, 2, 6)
