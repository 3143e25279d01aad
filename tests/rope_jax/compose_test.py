"""Compositions: every part does what it does alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rope_jax

POSITIONS = rope_jax.patch_grid((2, 3)).positions


def test_heads_and_channels_are_given_to_their_encodings():
    key = jax.random.key(0)
    x = jax.random.normal(key, (6, 3, 12))
    axial, spherical = rope_jax.axial(12, 2), rope_jax.spherical(12, 1)
    heads = rope_jax.over_heads([(2, axial), (1, spherical)])

    @jax.jit
    def run(x):
        whole = heads.rotate(heads.prepare(heads.init(key), POSITIONS), x)
        parts = (
            axial.rotate(axial.prepare({}, POSITIONS), x[:, :2]),
            spherical.rotate(spherical.prepare({}, POSITIONS), x[:, 2:]),
        )
        return whole, jnp.concatenate(parts, axis=1)

    np.testing.assert_allclose(*run(x), atol=1e-6)
    with pytest.raises(ValueError, match="x must have 3 heads, got 4"):
        heads.rotate(heads.prepare(({}, {}), POSITIONS), jnp.ones((6, 4, 12)))


def test_parameters_of_the_parts_are_independent_and_learned():
    encoding = rope_jax.over_channels([(4, rope_jax.mixed(4, 2)), (4, rope_jax.mixed(4, 2))])
    params = encoding.init(jax.random.key(0))
    assert float(jnp.abs(params[0]["frequencies"] - params[1]["frequencies"]).max()) > 0.01
    x = jax.random.normal(jax.random.key(1), (6, 2, 8))

    @jax.jit
    def gradient(params):
        return jax.grad(
            lambda p: jnp.sum(jnp.sin(encoding.rotate(encoding.prepare(p, POSITIONS), x)))
        )(params)

    assert all(bool(jnp.any(g != 0)) for g in jax.tree.leaves(gradient(params)))


def test_a_leading_share_of_the_channels_can_stay_unrotated():
    encoding = rope_jax.partial_rotation(rope_jax.axial, 12, 2, num_unrotated=4, base=10.0)
    x = jax.random.normal(jax.random.key(0), (6, 2, 12))
    out = encoding.rotate(encoding.prepare(encoding.init(jax.random.key(0)), POSITIONS), x)
    np.testing.assert_array_equal(out[..., :4], x[..., :4])
    alone = rope_jax.axial(8, 2, base=10.0)
    want = alone.rotate(alone.prepare({}, POSITIONS), x[..., 4:])
    np.testing.assert_allclose(out[..., 4:], want, atol=1e-6)
    with pytest.raises(ValueError, match="between 1 and 11, got 12"):
        rope_jax.partial_rotation(rope_jax.axial, 12, 2, num_unrotated=12)


@pytest.mark.parametrize("name", ["axial", "spherical", "liere", "string_cayley"])
def test_prefix_tokens_are_untouched_bit_for_bit(name):
    inner = getattr(rope_jax, name)(24, 1)
    encoding = rope_jax.with_prefix(inner, 2)
    # Minus zero and infinity too: nothing multiplies them.
    x = (
        jax.random.normal(jax.random.key(0), (8, 1, 24))
        .at[0, 0, :2]
        .set(jnp.array([-0.0, jnp.inf]))
    )

    @jax.jit
    def run(x):
        rotation = encoding.prepare(encoding.init(jax.random.key(0)), POSITIONS)
        return encoding.rotate(rotation, x), inner.rotate(rotation, x[2:])

    out, alone = run(x)
    np.testing.assert_array_equal(
        np.asarray(out[:2]).view(np.int32), np.asarray(x[:2]).view(np.int32)
    )
    np.testing.assert_allclose(out[2:], alone, atol=1e-6)


def test_nothing_is_added_to_prefix_tokens():
    encoding = rope_jax.with_prefix(rope_jax.sincos(4, 1), 1)
    added = encoding.embed({}, POSITIONS)
    assert added.shape == (7, 4)
    np.testing.assert_array_equal(added[0], np.zeros(4))
    assert rope_jax.with_prefix(encoding, 0) is encoding


def test_additive_parts_add_up():
    parts = rope_jax.over_heads([(1, rope_jax.sincos(4, 1)), (1, rope_jax.axial(4, 1))])
    np.testing.assert_allclose(
        parts.embed(({}, {}), POSITIONS), rope_jax.sincos(4, 1).embed({}, POSITIONS)
    )
