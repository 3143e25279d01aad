"""Exponentials of skew matrices, against scipy and against numbers of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm, expm_frechet

import rope_jax

exponential = jax.jit(rope_jax.exp_skew)


@pytest.mark.parametrize(("size", "scale"), [(3, 1e-3), (8, 6.3), (8, 60.0)])
def test_exponential_agrees_with_scipy_and_is_orthogonal(size, scale):
    rng = np.random.default_rng(0)
    a = rope_jax.skew(
        jnp.asarray(rng.uniform(0, scale, (3, size * (size - 1) // 2)), jnp.float32), size
    )
    r = np.asarray(exponential(a), np.float64)
    want = np.stack([expm(np.asarray(one, np.float64)) for one in a])
    np.testing.assert_allclose(r, want, atol=1e-6 * max(1, scale))
    np.testing.assert_allclose(
        np.swapaxes(r, 1, 2) @ r, np.tile(np.eye(size), (3, 1, 1)), atol=1e-6
    )


def test_small_rotations_keep_their_digits():
    # Squaring I + A/2^s would round the angle to 1e-7 absolute; here it is relative.
    r = exponential(jnp.array([[[0.0, -3e-6], [3e-6, 0.0]], [[0.0, -40.0], [40.0, 0.0]]]))
    np.testing.assert_allclose(r[0, 1, 0], 3e-6, rtol=1e-5)


def test_exponential_stays_orthogonal_over_thousands_of_turns():
    a = rope_jax.skew(jnp.full((2, 28), 3e3), 8)
    r = np.asarray(exponential(a), np.float64)
    np.testing.assert_allclose(np.swapaxes(r, 1, 2) @ r, np.tile(np.eye(8), (2, 1, 1)), atol=1e-5)


def test_gradient_of_the_exponential_is_the_derivative_of_scipy():
    rng = np.random.default_rng(0)
    upper, weight = rng.normal(size=(2, 6)) * 2, rng.normal(size=(2, 4, 4))

    @jax.jit
    def gradient(upper):
        return jax.grad(lambda u: jnp.sum(rope_jax.exp_skew(rope_jax.skew(u, 4)) * weight))(upper)

    weight = jnp.asarray(weight, jnp.float32)
    rows, columns = np.triu_indices(4, 1)
    for at in (upper, np.zeros_like(upper)):
        got = gradient(jnp.asarray(at, jnp.float32))
        for batch in range(2):
            a, moves = np.zeros((4, 4)), np.zeros((6, 4, 4))
            a[rows, columns], a[columns, rows] = at[batch], -at[batch]
            moves[np.arange(6), rows, columns], moves[np.arange(6), columns, rows] = 1, -1
            derivatives = [expm_frechet(a, move, compute_expm=False) for move in moves]
            want = np.einsum("kij,ij->k", derivatives, np.asarray(weight[batch], np.float64))
            np.testing.assert_allclose(got[batch], want, atol=1e-5)


def test_rodrigues_is_orthogonal_and_smooth_through_zero():
    angles = jnp.array([0.0, 1e-6, 1e-3, 0.499, 0.501, 3.0, 50.0])
    u = jnp.array([0.6, 0.0, -0.8])[:, None] * angles[None, :]
    rodrigues = jax.jit(rope_jax.rodrigues)
    r = np.moveaxis(np.asarray(rodrigues(u)), -1, 0)
    np.testing.assert_allclose(np.swapaxes(r, 1, 2) @ r, np.tile(np.eye(3), (7, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.trace(r, axis1=1, axis2=2), 1 + 2 * np.cos(angles), atol=1e-5)
    generator = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
    # The derivative at zero is the cross-product matrix.
    derivative = jax.jit(jax.jacfwd(rope_jax.rodrigues))(jnp.zeros((3, 1)))[:, :, 0, 2, 0]
    np.testing.assert_allclose(derivative, generator, atol=1e-6)
