"""Blocks of tokens, what is seen beside them, and what predicts them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn import TokenPredictor, draw_blocks
from lejepa_jax.nn.transformers import split_tokens

KEYS = jax.random.split(jax.random.key(0), 2000)
GRID = (8, 10)


@pytest.fixture(scope="module")
def single():
    draw = functools.partial(draw_blocks, grid=GRID, count=1, scale=(0.1, 0.3), ratio=(0.5, 2.0))
    draw = jax.jit(draw)
    np.testing.assert_array_equal(draw(KEYS)[5:7], draw(KEYS[5:7]))
    return np.asarray(draw(KEYS)).reshape(-1, *GRID)


def test_a_block_is_a_rectangle_of_the_area_and_the_shape_that_is_asked_for(single):
    rows, columns = single.any(2), single.any(1)
    np.testing.assert_array_equal(single, rows[:, :, None] & columns[:, None])
    height, width = rows.sum(1), columns.sum(1)
    # Connected: as many as from the first to the last.
    for inside, length in ((rows, height), (columns, width)):
        last = inside.shape[1] - inside[:, ::-1].argmax(1)
        np.testing.assert_array_equal(last - inside.argmax(1), length)
    # Both sides are rounded: by half a token each.
    assert (height * width).min() >= (math.sqrt(4) - 0.5) * (math.sqrt(16) - 0.5)
    assert (height * width).max() <= (math.sqrt(12) + 0.5) * (math.sqrt(48) + 0.5)
    assert abs((height * width).mean() / 80 - 0.2) < 0.01
    assert abs(np.log(height / width).mean()) < 0.03
    assert height.min() == 2
    assert height.max() == 7  # sqrt(24 * 2) = 6.9


def test_every_place_is_equally_likely(single):
    height, first = single.any(2).sum(1), single.any(2).argmax(1)
    for length in (3, 4):
        counts = np.bincount(first[height == length], minlength=9 - length)
        assert len(counts) == 9 - length
        mean = counts.mean()
        assert np.abs(counts - mean).max() < 4.5 * math.sqrt(mean)


def test_several_blocks_are_their_union_and_a_block_may_be_everything():
    @jax.jit
    def draw(keys):
        one, four = (draw_blocks(keys, GRID, count=count) for count in (1, 4))
        whole = draw_blocks(keys[:2], GRID, count=1, scale=(1, 1), ratio=(1, 1))
        return one.mean(), four.mean(), whole.mean(), draw_blocks(keys[:2], (1, 1), count=1)

    one, four, whole, single = draw(KEYS[:200])
    assert one < four < 4 * one
    assert whole > 0.9
    assert single.all()


def test_what_is_seen_lies_outside_the_blocks_as_far_as_it_can():
    masked = draw_blocks(KEYS[:300], GRID)
    kept, asked = jax.jit(split_tokens, static_argnums=2)(KEYS[:300], masked, 30)
    assert kept.shape == (300, 30)
    assert asked.shape == (300, 50)
    both = np.sort(np.concatenate([kept, asked], 1), 1)
    np.testing.assert_array_equal(both, np.broadcast_to(np.arange(80), both.shape))
    inside = np.take_along_axis(np.asarray(masked), np.asarray(kept), 1)
    short = np.maximum(30 - (~np.asarray(masked)).sum(1), 0)
    np.testing.assert_array_equal(inside.sum(1), short)
    # With no block every token is as likely.
    kept, _ = split_tokens(KEYS, jnp.zeros((2000, 8), bool), 2)
    counts = np.bincount(np.asarray(kept).ravel(), minlength=8)
    assert np.abs(counts - 500).max() < 5 * math.sqrt(500 * 0.75)


def test_a_prediction_knows_its_place_and_not_what_does_not_count():
    counts, order = jnp.array([[True, True, False, True]]), jnp.array([0, 1, 3])
    kept, asked = jnp.array([[0, 3]]), jnp.array([[1, 2, 4, 5]])

    @jax.jit
    def run(tokens):
        predictor = TokenPredictor(6, 3, width=8, depth=2, num_heads=2, rngs=nnx.Rngs(0))
        predict = functools.partial(predictor, grid=(2, 3))
        back = tokens[:, ::-1], kept[:, ::-1], asked[:, ::-1]
        return (
            predict(tokens, kept, asked, counts=counts),
            predict(tokens, kept, asked[:, order]),
            predict(*back, counts=counts[:, ::-1])[:, ::-1],
            predict(tokens, kept.at[0, 1].set(5), asked.at[0, 3].set(3), counts=counts),
        )

    found, alone, turned, moved = run(jax.random.normal(KEYS[0], (1, 2, 6)))
    np.testing.assert_allclose(found[:, order], alone, atol=1e-6)
    # The order of the tokens is that of their numbers alone.
    np.testing.assert_allclose(turned, found, atol=1e-6)
    assert np.abs(found[:, 0] - found[:, 1]).max() > 1e-2
    assert np.abs(moved[:, 0] - found[:, 0]).max() > 1e-4


def test_bad_input_is_named():
    for options, message in (
        ({"count": 0}, "count must be positive"),
        ({"scale": (0.2, 0.1)}, "scale must be an ascending range above 0"),
        ({"scale": (0.2, 1.5)}, "scale must be at most 1"),
        ({"ratio": (0.0, 1.0)}, "ratio must be an ascending range above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            draw_blocks(KEYS[:1], GRID, **options)
    with pytest.raises(ValueError, match="kept must be between 1 and 3 tokens, got 4"):
        split_tokens(KEYS[:1], jnp.zeros((1, 4), bool), 4)
    with pytest.raises(ValueError, match="width must be divisible by 4"):
        TokenPredictor(6, 3, width=6, depth=1, num_heads=2, rngs=nnx.Rngs(0))
