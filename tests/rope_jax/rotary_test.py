"""Pairs: against complex numbers, against each other, across layouts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rope_jax
from rope_jax import frequencies
from rope_jax.rotary import turn


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


def test_axial_puts_the_column_first_on_a_grid_that_is_not_square():
    grid = rope_jax.patch_grid((2, 5), convention="integer")
    rotation = rope_jax.axial(8, 1).prepare({}, grid.positions)
    column = np.tile(np.arange(5.0), 2)
    row = np.repeat(np.arange(2.0), 5)
    np.testing.assert_allclose(rotation.sin[:, 0, 0], np.sin(column), atol=1e-6)
    np.testing.assert_allclose(rotation.sin[:, 0, 1], np.sin(column / 10), atol=1e-6)
    np.testing.assert_allclose(rotation.sin[:, 0, 2], np.sin(row), atol=1e-6)


def test_mixed_that_starts_unrotated_is_axial():
    mixed = rope_jax.mixed(16, 3, base=10.0, rotate_init=False)
    axial = rope_jax.axial(16, 3, base=10.0)
    positions = rope_jax.patch_grid((3, 4), convention="integer").positions
    one = mixed.prepare(mixed.init(jax.random.key(0)), positions)
    np.testing.assert_allclose(one.cos[:, :1], axial.prepare({}, positions).cos, atol=1e-6)


def test_mixed_starts_with_two_perpendicular_directions_in_every_head():
    w = rope_jax.mixed(16, 3).init(jax.random.key(0))["frequencies"]
    one, two = w[:, :, :4], w[:, :, 4:]
    np.testing.assert_allclose(jnp.sum(one * two, axis=0), np.zeros((3, 4)), atol=1e-6)
    magnitude = 10.0 ** (-np.arange(4) / 4)  # theta^(-4t/N)
    np.testing.assert_allclose(jnp.linalg.norm(one, axis=0), np.tile(magnitude, (3, 1)), rtol=1e-5)
    # Turned by a quarter in the positive sense, as in rope-vit.
    assert bool((one[0] * two[1] - one[1] * two[0] > 0).all())
    assert float(jnp.abs(w[:, 0] - w[:, 1]).max()) > 0.1


def test_trivial_reuse_of_one_dimensional_rope_confuses_positions():
    encoding = rope_jax.rope_1d(8, 1, num_axes=2)
    rotation = encoding.prepare({}, jnp.array([[1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(rotation.cos[0], rotation.cos[1])
    other = rope_jax.axial(8, 1).prepare({}, jnp.array([[1.0, 0.0], [0.0, 1.0]]))
    assert float(jnp.abs(other.cos[0] - other.cos[1]).max()) > 0.1


def test_learned_axial_starts_at_the_fixed_rule():
    positions = rope_jax.patch_grid((2, 3)).positions
    fixed = rope_jax.axial(8, 2).prepare({}, positions)
    for learned in ("joint", "separate"):
        encoding = rope_jax.axial(8, 2, learned=learned)
        own = encoding.prepare(encoding.init(jax.random.key(0)), positions)
        np.testing.assert_allclose(own.cos[:, 1:], fixed.cos, atol=1e-6)


def test_sections_give_each_axis_its_own_number_of_pairs():
    encoding = rope_jax.axial(16, 1, num_axes=3, sections=(3, 3, 2))
    rotation = encoding.prepare({}, jnp.array([[0.0, 0.0, 1.0]]))
    assert (np.asarray(rotation.sin[0, 0]) != 0).tolist() == [False] * 6 + [True] * 2


def test_channels_beyond_the_pairs_pass_through_bit_for_bit():
    x = jax.random.normal(jax.random.key(0), (3, 1, 7))
    out = rope_jax.rotate_pairs(rope_jax.pair_rotation(jnp.ones((3, 1, 2))), x)
    np.testing.assert_array_equal(out[..., 4:], x[..., 4:])
    with pytest.raises(ValueError, match="rotate 8 channels, x has only 7"):
        rope_jax.rotate_pairs(rope_jax.pair_rotation(jnp.ones((3, 1, 4))), x)


def test_geometric_spectra_span_what_their_exponent_says():
    channels = frequencies.geometric(20, 100.0)
    blocks = frequencies.geometric(20, 100.0, exponent="blocks")
    np.testing.assert_allclose(channels[[0, -1]], [1.0, 100 ** (-19 / 20)], rtol=1e-6)
    np.testing.assert_allclose(blocks, frequencies.geometric(20, 10_000.0), rtol=1e-6)


def test_dinov3_periods_are_a_scaled_geometric_spectrum():
    periods = 100.0 ** (np.arange(8) / 8)
    coordinate = (np.arange(5) + 0.5) / 5 * 2 - 1
    angles = 2 * np.pi * coordinate[:, None] / periods[None, :]
    encoding = rope_jax.axial(32, 1, scale=2.0)
    grid = rope_jax.patch_grid((1, 5))
    np.testing.assert_allclose(
        encoding.prepare({}, grid.positions).cos[:, 0, :8], np.cos(angles), atol=1e-5
    )


def test_quasi_random_directions_are_unit_distinct_and_even():
    u = np.asarray(frequencies.quasi_random_directions(256, 3))
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1, atol=1e-6)
    # The second moment of a uniform direction is I / 3.
    np.testing.assert_allclose(u.T @ u / 256, np.eye(3) / 3, atol=0.03)
    rest = frequencies.quasi_random_directions(6, 3, offset=250)
    np.testing.assert_allclose(u[250:], rest, atol=1e-6)


def test_fixed_directions_differ_between_heads_and_reach_both_ends():
    encoding = rope_jax.fixed_directions(16, 2, zero_fraction=0.25, max_frequency=3.0)
    rotation = encoding.prepare({}, jnp.array([[1e-3, 0.0], [0.0, 1e-3]]))
    w = np.asarray(rotation.sin) / 1e-3  # (axis, h, f)
    magnitude = np.linalg.norm(w, axis=0)
    np.testing.assert_allclose(magnitude[:, :2], 0, atol=1e-6)
    np.testing.assert_allclose(magnitude[:, [2, -1]], [[0.1, 3.0]] * 2, rtol=1e-4)
    assert np.abs(w[:, 0] - w[:, 1]).max() > 0.1


@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd])
def test_the_slope_of_a_turn_is_that_of_its_formula(derivative):
    keys = jax.random.split(jax.random.key(0), 4)
    pair = jax.random.normal(keys[0], (2, 3, 5, 2, 4))
    angles, weights = jax.random.normal(keys[1], (1, 5, 2, 4)), jax.random.normal(keys[2], (2, 4))

    def formula(a, b, cos, sin):
        return a * cos - b * sin, a * sin + b * cos

    def slopes(function):
        def loss(pair, angles):
            first, second = function(*pair, jnp.cos(angles), jnp.sin(angles))
            return (jnp.sin(first) + jnp.square(second)).sum((0, 1, 2)) @ weights.sum(0)

        return jax.jit(derivative(loss, argnums=(0, 1)))(pair, angles)

    for ours, theirs in zip(slopes(turn), slopes(formula), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
