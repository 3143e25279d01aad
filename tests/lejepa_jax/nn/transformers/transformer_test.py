import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn.transformers.transformer import Attention, Block

N, WIDTH, HEADS = 5, 8, 2
RNG = np.random.default_rng(0)
TOKENS = jnp.asarray(RNG.normal(size=(2, N, WIDTH)), jnp.float32)
MASK = jnp.asarray(RNG.uniform(size=(N, N)) < 0.5) | jnp.eye(N, dtype=bool)
BIAS = jnp.asarray(RNG.normal(size=(HEADS, N, N)), jnp.float32)


def plain(module, x, *, bias=0.0, mask=True, log_measure=0.0):
    """Attention in float64, from the weights of the module."""
    kernel, offset = (np.asarray(p[...], np.float64) for p in (module.qkv.kernel, module.qkv.bias))
    q, k, v = np.split(np.asarray(x, np.float64) @ kernel + offset, 3, axis=-1)
    q, k, v = (part.reshape(*part.shape[:2], HEADS, -1).swapaxes(1, 2) for part in (q, k, v))
    scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1]) + bias + log_measure
    weights = np.exp(scores) * mask
    weights /= weights.sum(-1, keepdims=True)
    mixed = (weights @ v).swapaxes(1, 2).reshape(*x.shape[:2], -1)
    return mixed @ np.asarray(module.out.kernel[...]) + np.asarray(module.out.bias[...]), weights


def test_heads_may_be_wider_together_than_the_tokens():
    module = Attention(WIDTH, HEADS, inner_width=12, rngs=nnx.Rngs(0))
    assert module.qkv.kernel.shape == (WIDTH, 36)
    np.testing.assert_allclose(module(TOKENS), plain(module, TOKENS)[0], atol=1e-5)
    with pytest.raises(ValueError, match="inner_width must be divisible by num_heads=2, got 7"):
        Attention(WIDTH, HEADS, inner_width=7, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("given", ["nothing", "mask", "bias", "everything"])
def test_attention_equals_its_definition(causal, given):
    module = Attention(WIDTH, HEADS, causal=causal, rngs=nnx.Rngs(0))
    logs = jnp.log(jnp.arange(1.0, N + 1))
    options = {"mask": MASK, "bias": BIAS, "log_measure": logs}
    options = {n: v for n, v in options.items() if given in (n, "everything")}
    visible = np.asarray(options.get("mask", np.ones((N, N), bool)))
    if causal:
        visible = visible & np.tri(N, dtype=bool)
    reference = {n: np.asarray(v, np.float64) for n, v in options.items() if n != "mask"}
    expected, weights = plain(module, TOKENS, mask=visible, **reference)
    np.testing.assert_allclose(module(TOKENS, **options), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(module.weights(TOKENS, **options), weights, rtol=1e-4, atol=1e-6)


def test_a_causal_block_does_not_see_what_comes_later():
    block = Block(WIDTH, HEADS, 16, causal=True, rngs=nnx.Rngs(0))
    later = TOKENS.at[:, 3:].add(1.0)
    moved = np.abs(np.asarray(block(later) - block(TOKENS))).max((0, 2))
    assert np.all(moved[:3] == 0)
    assert np.all(moved[3:] > 0.1)


def test_a_block_hands_mask_and_bias_to_its_attention():
    block = Block(WIDTH, HEADS, 16, rngs=nnx.Rngs(0))
    # Each token sees itself alone, so that others do not matter.
    alone = jnp.eye(N, dtype=bool)
    changed = block(TOKENS.at[:, 1:].add(1.0), mask=alone) - block(TOKENS, mask=alone)
    assert np.all(np.asarray(changed)[:, 0] == 0)
    # A bias that leaves one key is a mask.
    bias = jnp.where(alone, 0.0, -1e9)
    np.testing.assert_allclose(block(TOKENS, bias=bias), block(TOKENS, mask=alone), atol=1e-6)


def test_masks_of_each_example_and_head_are_taken():
    module = Attention(WIDTH, HEADS, rngs=nnx.Rngs(0))
    mask = (
        jnp.asarray(RNG.uniform(size=(2, HEADS, N, N)) < 0.5) | jnp.eye(N, dtype=bool)[None, None]
    )
    expected, _ = plain(module, TOKENS, mask=np.asarray(mask))
    np.testing.assert_allclose(module(TOKENS, mask=mask), expected, rtol=1e-4, atol=1e-5)


def test_only_the_blocks_of_a_causal_transformer_have_their_gradient_masked():
    attend = functools.partial(Attention(WIDTH, HEADS, causal=True, rngs=nnx.Rngs(0)))
    gradient = jax.grad(lambda x: attend(x)[0, 1].sum())(TOKENS)
    assert np.all(np.asarray(gradient)[0, 2:] == 0)
    assert np.abs(np.asarray(gradient)[0, :2]).max() > 0
