"""Positions that come with a measure."""

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
