"""Commuting encodings against each other and their published rules."""

import jax
import jax.numpy as jnp
import numpy as np

import rope_jax


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
    # Rotated by a quarter turn in the positive sense, as in rope-vit.
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


def test_dinov3_periods_are_a_scaled_geometric_spectrum():
    periods = 100.0 ** (np.arange(8) / 8)
    coordinate = (np.arange(5) + 0.5) / 5 * 2 - 1
    angles = 2 * np.pi * coordinate[:, None] / periods[None, :]
    encoding = rope_jax.axial(32, 1, scale=2.0)
    grid = rope_jax.patch_grid((1, 5))
    np.testing.assert_allclose(
        encoding.prepare({}, grid.positions).cos[:, 0, :8], np.cos(angles), atol=1e-5
    )


def test_fixed_directions_differ_between_heads_and_reach_both_ends():
    encoding = rope_jax.fixed_directions(16, 2, zero_fraction=0.25, max_frequency=3.0)
    rotation = encoding.prepare({}, jnp.array([[1e-3, 0.0], [0.0, 1e-3]]))
    w = np.asarray(rotation.sin) / 1e-3  # (axis, h, f)
    magnitude = np.linalg.norm(w, axis=0)
    np.testing.assert_allclose(magnitude[:, :2], 0, atol=1e-6)
    np.testing.assert_allclose(magnitude[:, [2, -1]], [[0.1, 3.0]] * 2, rtol=1e-4)
    assert np.abs(w[:, 0] - w[:, 1]).max() > 0.1
