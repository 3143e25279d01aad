"""Positions that come with a measure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rope_jax


def test_points_in_a_crowd_stand_for_less():
    line = jnp.concatenate([jnp.linspace(0, 1, 21), jnp.linspace(1.2, 3, 10)])[:, None]
    measure = rope_jax.points(line, num_neighbors=2).measure
    np.testing.assert_allclose(measure[25] / measure[10], 0.2 / 0.05, rtol=1e-3)
    np.testing.assert_allclose(measure.mean(), 1, rtol=1e-5)
    mask = jnp.arange(31) < 21
    masked = rope_jax.points(line, mask=mask, num_neighbors=2).measure
    np.testing.assert_array_equal(masked[21:], 0)
    np.testing.assert_allclose(masked[:21].mean(), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="between 1 and 30, got 31"):
        rope_jax.points(line, num_neighbors=31)


def test_fewer_points_than_neighbors_and_none_at_all_have_a_finite_measure():
    positions = jnp.arange(10.0).reshape(2, 5, 1) ** 2
    mask = jnp.array([[True, True, True, False, False], [False] * 5])

    @jax.jit
    def run(positions):
        coordinates = rope_jax.points(positions, mask=mask, num_neighbors=4, intrinsic_dim=3)
        return coordinates.measure, jax.grad(
            lambda p: rope_jax.points(p, mask=mask, num_neighbors=4).measure[0, 0]
        )(positions)

    measure, gradient = run(positions)
    # The farthest of those that exist stands in: distances 4, 3, 4 cubed, to a mean of one.
    np.testing.assert_allclose(measure[0], np.array([64, 27, 64, 0, 0]) * 3 / 155, rtol=1e-5)
    np.testing.assert_array_equal(measure[1], 0)
    assert bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("dim", [2, 6, 16])
def test_duplicates_keep_a_finite_logarithm_in_any_dimension(dim):
    positions = jnp.concatenate([jnp.zeros((2, dim)), jnp.eye(dim), 2e3 * jnp.ones((2, dim))])
    measure = rope_jax.points(positions, num_neighbors=1).measure
    assert bool((measure > 0).all())
    assert bool(jnp.isfinite(measure).all())
