"""Wrapping, canonical coordinates, augmentation."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import rope_jax


@given(offset=st.floats(-20, 20), period=st.sampled_from([1.0, 2 * np.pi]))
def test_wrapped_offsets_are_the_shortest_way(offset, period):
    out = float(rope_jax.wrap(jnp.array([offset], jnp.float32), period)[0])
    assert abs(out) <= period / 2 + 1e-5
    turns = (offset - out) / period
    assert abs(turns - round(turns)) < 1e-4


def test_scaling_and_turning_the_plane_shift_log_polar_coordinates():
    p = jax.random.normal(jax.random.key(0), (6, 2))
    angle, factor = 0.3, 1.7
    rotation = factor * jnp.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    difference = rope_jax.log_polar(p @ rotation, min_radius=1e-3) - rope_jax.log_polar(
        p, min_radius=1e-3
    )
    difference = np.asarray(difference)
    np.testing.assert_allclose(difference[:, 0], np.log(factor), atol=1e-5)
    np.testing.assert_allclose(np.exp(1j * difference[:, 1]), np.exp(1j * angle), atol=1e-5)
    gradient = jax.grad(lambda p: rope_jax.log_polar(p, min_radius=0.1).sum())(jnp.zeros((1, 2)))
    assert bool(jnp.isfinite(gradient).all())


def test_augmentation_stays_in_its_bounds_and_moves_all_tokens_alike():
    positions = rope_jax.patch_grid((2, 3)).positions
    keys = jax.random.split(jax.random.key(0), 64)
    augment = jax.jit(
        jax.vmap(
            lambda k: rope_jax.augment_positions(k, positions, shift=0.5, jitter=1.5, rescale=2.0)
        )
    )
    out = np.asarray(augment(keys))
    x = np.asarray(positions)
    scale = (out[:, 5] - out[:, 0]) / (x[5] - x[0])[None]
    assert scale.min() > 1 / 3 - 1e-5
    assert scale.max() < 3 + 1e-5
    assert scale[:, 0].max() / scale[:, 0].min() > 2
    ratio = scale[:, 0] / scale[:, 1]
    assert ratio.max() < 1.5**2 + 1e-4
    shift = out[:, 0] / scale - x[0][None]
    assert np.abs(shift).max() < 0.5 + 1e-4
    assert np.abs(shift).max() > 0.3
    same = rope_jax.augment_positions(keys[0], positions)
    np.testing.assert_allclose(same, positions, rtol=1e-6)
    with pytest.raises(ValueError, match="rescale >= 1"):
        rope_jax.augment_positions(keys[0], positions, rescale=0.5)


def test_perturbation_keeps_tokens_inside_their_patches():
    positions = rope_jax.patch_grid((8, 8), extent=1.0).positions
    out = rope_jax.perturb_positions(jax.random.key(0), positions, (0.25, 0.25), strength=2.0)
    moved = np.abs(np.asarray(out - positions))
    assert moved.max() <= 0.125 + 1e-6
    assert moved.std() > 0.01
