"""Encoding a part of the tokens is encoding all of them with the others hidden."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn import Field, ViT
from lejepa_jax.nn.transformers.token_dropping import draw_kept_tokens, kept_count

KEYS = jax.random.split(jax.random.key(3), 3)


def vit(**options):
    options = {"image_size": 8, "patch_size": 2, "width": 24, "depth": 2, "num_heads": 2} | options
    return ViT(**options, num_registers=1, in_channels=1, rngs=nnx.Rngs(0))


def images(height=8, width=8):
    return jax.random.normal(jax.random.key(1), (3, height, width, 1))


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (8, {"position": "learned"}),
        (6, {"position": "sincos", "pooling": "mean"}),
        (8, {"position": "axial", "position_table": True, "pooling": "attention"}),
        (6, {"position": "liere(block_size=4)"}),
        (8, {"position": "learned_absolute"}),
        (8, {"position": "spherical", "remat": True}),
    ],
)
def test_kept_tokens_are_those_of_all_with_the_others_hidden(size, options):
    encoder, shown = vit(**options), images(size, size)
    prefix, count = encoder.num_prefix, (size // 2) ** 2
    kept = draw_kept_tokens(KEYS, count, 0.4)
    features, tokens = encoder.features_and_tokens(shown, kept=kept)
    np.testing.assert_array_equal(features, encoder(shown, kept=kept))

    x, grid = encoder._embed(shown)
    seen = np.zeros((3, prefix + count), bool)
    seen[:, :prefix] = True
    np.put_along_axis(seen[:, prefix:], np.asarray(kept), True, 1)
    mask = jnp.broadcast_to(seen[:, None, None], (3, 1, seen.shape[1], seen.shape[1]))
    *_, last = encoder._layers(x, grid._replace(mask=mask))
    chosen = jnp.take_along_axis(last[:, prefix:], kept[..., None], 1)
    wanted = encoder._pool(jnp.concatenate([last[:, :prefix], chosen], 1))
    np.testing.assert_allclose(features, wanted, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(tokens, encoder.norm(chosen), rtol=2e-5, atol=2e-5)


def test_keeping_all_changes_nothing():
    encoder, shown = vit(position="axial", log_measure=True), images(6, 6)
    every = jnp.broadcast_to(jnp.arange(9), (3, 9))
    np.testing.assert_allclose(encoder(shown, kept=every), encoder(shown), rtol=1e-6, atol=1e-6)


def test_a_field_shows_what_is_kept_in_its_measure():
    encoder = vit(pooling="mean", position="axial")
    measure = jnp.ones((3, 8, 8)).at[:, :4].set(3.0)
    kept = draw_kept_tokens(KEYS, 16, 0.5)
    whole = encoder(Field(images(), measure), kept=kept)
    # What nobody sees may weigh anything.
    hidden = np.ones((3, 16), bool)
    np.put_along_axis(hidden, np.asarray(kept), False, 1)
    cells = np.repeat(np.repeat(hidden.reshape(3, 4, 4), 2, 1), 2, 2)
    other = encoder(Field(images(), jnp.where(cells, 7.0, measure)), kept=kept)
    np.testing.assert_allclose(whole, other, rtol=1e-6, atol=1e-6)
    assert np.abs(whole - encoder(images(), kept=kept)).max() > 1e-3


def test_the_class_token_keeps_its_share_of_the_attention():
    encoder, shown = vit(position="none", log_measure=True), jnp.ones((1, 8, 8, 1))
    # All patches are alike: a quarter of them stands for all if the weights say so.
    np.testing.assert_allclose(
        encoder(shown, kept=jnp.array([[0, 5, 6, 9]])), encoder(shown), rtol=1e-5, atol=1e-5
    )
    plain = encoder(shown, kept=jnp.array([[0, 5, 6, 9]]), weigh_tokens=False)
    assert np.abs(plain - encoder(shown)).max() > 1e-3


def test_what_is_kept_depends_on_the_example_alone_and_every_token_is_as_likely():
    draw = jax.jit(functools.partial(draw_kept_tokens, count=8, share=0.25))
    keys = jax.random.split(jax.random.key(0), 4000)
    kept = draw(keys)
    np.testing.assert_array_equal(kept[7:9], draw(keys[7:9]))
    counts = np.bincount(np.asarray(kept).ravel(), minlength=8)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)


def test_bad_input_is_named():
    for share in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="share of the tokens to keep must be"):
            kept_count(9, share)
    with pytest.raises(ValueError, match="kept must be None with causal attention"):
        vit(pooling="mean", position="axial", causal=True)(images(), kept=jnp.zeros((3, 2), int))
