"""Pairs of channels, against complex numbers and across layouts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rope_jax
from rope_jax.encodings.pairs import rotate_plane


def complex_rope(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Adjacent pairs as complex numbers: the form rope-vit uses, in float64."""
    z = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
    return np.stack([z.real, z.imag], axis=-1).reshape(x.shape)


@pytest.mark.parametrize("layout", ["adjacent", "half_split"])
def test_rotation_is_multiplication_by_a_complex_number(layout):
    rng = np.random.default_rng(0)
    x, angles = rng.normal(size=(2, 5, 3, 8)), rng.normal(size=(5, 3, 4)) * 3
    rotation = rope_jax.pair_rotation(jnp.asarray(angles, jnp.float32))
    order = rope_jax.layout_permutation(8, source="adjacent", target=layout)
    out = rope_jax.rotate_pairs(rotation, jnp.asarray(x[..., order], jnp.float32), layout=layout)
    np.testing.assert_allclose(out, complex_rope(x, angles)[..., order], atol=1e-5)


def test_applying_a_rotation_gathers_and_scatters_nothing():
    rotation = rope_jax.pair_rotation(jnp.ones((4, 1, 4)))
    for layout in ("adjacent", "half_split"):
        run = jax.jit(lambda r, x, layout=layout: rope_jax.rotate_pairs(r, x, layout=layout))
        text = run.lower(rotation, jnp.ones((2, 4, 3, 8))).compile().as_text()
        assert " gather(" not in text
        assert "scatter(" not in text


def test_channels_beyond_the_pairs_pass_through_bit_for_bit():
    x = jax.random.normal(jax.random.key(0), (3, 1, 7))
    out = rope_jax.rotate_pairs(rope_jax.pair_rotation(jnp.ones((3, 1, 2))), x)
    np.testing.assert_array_equal(out[..., 4:], x[..., 4:])
    with pytest.raises(ValueError, match="rotate 8 channels, x has only 7"):
        rope_jax.rotate_pairs(rope_jax.pair_rotation(jnp.ones((3, 1, 4))), x)


@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd])
def test_the_derivative_of_a_rotation_is_that_of_its_formula(derivative):
    keys = jax.random.split(jax.random.key(0), 4)
    pair = jax.random.normal(keys[0], (2, 3, 5, 2, 4))
    angles, weights = jax.random.normal(keys[1], (1, 5, 2, 4)), jax.random.normal(keys[2], (2, 4))

    def formula(a, b, cos, sin):
        return a * cos - b * sin, a * sin + b * cos

    def derivatives(function):
        def loss(pair, angles):
            first, second = function(*pair, jnp.cos(angles), jnp.sin(angles))
            return (jnp.sin(first) + jnp.square(second)).sum((0, 1, 2)) @ weights.sum(0)

        return jax.jit(derivative(loss, argnums=(0, 1)))(pair, angles)

    for ours, theirs in zip(derivatives(rotate_plane), derivatives(formula), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
