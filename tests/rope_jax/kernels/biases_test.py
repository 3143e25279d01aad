"""Distances, and biases made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rope_jax
from rope_jax import kernels


def test_distances_on_the_torus_and_the_sphere():
    near_seam = kernels.distances(jnp.array([[3.1, 0.0]]), jnp.array([[-3.1, 0.0]]), space="torus")
    np.testing.assert_allclose(near_seam, 2 * np.pi - 6.2, rtol=1e-4)
    p = rope_jax.sphere_grid(3, 4).positions
    got = np.asarray(kernels.distances(p, p, space="sphere"))
    u = np.asarray(rope_jax.unit_vectors(p), np.float64)
    np.testing.assert_allclose(got, np.arccos(np.clip(u @ u.T, -1, 1)), atol=2e-3)
    with pytest.raises(ValueError, match=r"\(longitude, latitude\), got 3"):
        kernels.distances(jnp.zeros((1, 3)), jnp.zeros((1, 3)), space="sphere")


@pytest.mark.parametrize("space", ["flat", "torus", "sphere"])
def test_gradients_of_distances_are_finite_at_zero(space):
    p = jnp.array([[0.2, 0.1], [0.2, 0.1]])
    gradient = jax.jit(jax.grad(lambda q: kernels.distances(q, p, space=space).sum()))(p)
    assert bool(jnp.isfinite(gradient).all())


def test_alibi_has_its_slopes_for_any_number_of_heads():
    np.testing.assert_allclose(kernels.alibi_slopes(8), 0.5 ** np.arange(1, 9), rtol=1e-6)
    twelve = np.asarray(kernels.alibi_slopes(12))
    np.testing.assert_allclose(twelve[:8], 0.5 ** np.arange(1, 9), rtol=1e-6)
    np.testing.assert_allclose(twelve[8:], 0.5 ** np.array([0.5, 1.5, 2.5, 3.5]), rtol=1e-6)
    p = jnp.arange(3.0)[:, None]
    bias = kernels.alibi(p, p, jnp.array([1.0, 0.5]))
    np.testing.assert_allclose(bias[1], -0.5 * np.abs(np.subtract.outer(range(3), range(3))))


def test_relative_bias_depends_on_the_displacement_alone():
    table = jnp.arange(2 * 3 * 5.0).reshape(2, 15)
    bias = np.asarray(kernels.relative_bias(table, (2, 3)))
    assert bias.shape == (2, 6, 6)
    # Cells (0,0)->(0,1) and (1,1)->(1,2) are the same displacement; the other way is another.
    assert bias[0, 0, 1] == bias[0, 4, 5]
    assert bias[0, 0, 1] != bias[0, 1, 0]
    assert len(np.unique(bias[0])) == 15
    with pytest.raises(ValueError, match="table must have 15 displacements, got 9"):
        kernels.relative_bias(jnp.zeros((1, 9)), (2, 3))
