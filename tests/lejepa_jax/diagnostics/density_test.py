"""The score of an input against densities that are known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.diagnostics.density import jepa_score
from lejepa_jax.nn.convolutions.depthwise import depthwise_conv

MATRIX = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
INPUTS = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)), jnp.float32)


def log_normal(x, covariance):
    _, log_det = np.linalg.slogdet(2 * math.pi * covariance)
    return -0.5 * (np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x) + log_det)


def test_a_whitened_gaussian_has_its_density():
    covariance = MATRIX @ MATRIX.T + 0.5 * np.eye(4)
    whiten = jnp.asarray(np.linalg.inv(np.linalg.cholesky(covariance)), jnp.float32)
    score = jepa_score(lambda w, x: x @ w.T, whiten, INPUTS, prior=True)
    np.testing.assert_allclose(score, log_normal(np.asarray(INPUTS), covariance), rtol=1e-4)


def test_a_nonlinear_invertible_map_gives_the_density_it_pulls_back():
    """z = asinh(A x) is normal: p(x) = N(z) |det A| prod (1 + (A x)^2)^(-1/2)."""
    score = jepa_score(lambda a, x: jnp.arcsinh(x @ a.T), jnp.asarray(MATRIX), INPUTS, prior=True)
    linear = np.asarray(INPUTS, np.float64) @ MATRIX.astype(np.float64).T
    expected = log_normal(np.arcsinh(linear), np.eye(4)) + np.linalg.slogdet(MATRIX)[1]
    expected -= 0.5 * np.log1p(linear**2).sum(1)
    np.testing.assert_allclose(score, expected, rtol=1e-4)


@pytest.mark.parametrize(("features", "numbers"), [(3, 7), (7, 3)])
def test_features_need_not_be_as_many_as_numbers(features, numbers):
    matrix = np.random.default_rng(2).normal(size=(features, numbers)).astype(np.float32)
    inputs = jnp.ones((2, numbers))
    score = jepa_score(lambda a, x: x @ a.T, jnp.asarray(matrix), inputs)
    expected = np.log(np.linalg.svd(matrix, compute_uv=False)).sum()
    np.testing.assert_allclose(score, [expected, expected], rtol=1e-5)


def perceptron(params, x):
    first, second = params
    return jnp.tanh(x.reshape(len(x), -1) @ first) @ second


def test_the_estimate_is_unbiased_and_its_steps_may_end_early():
    keys = jax.random.split(jax.random.key(3), 3)
    params = (jax.random.normal(keys[0], (12, 16)) / 4, jax.random.normal(keys[1], (16, 6)) / 4)
    inputs = jax.random.normal(keys[2], (3, 3, 4))
    exact = jepa_score(perceptron, params, inputs)
    options = {"method": "lanczos", "num_steps": 6}
    few = jnp.stack(
        [
            jepa_score(perceptron, params, inputs, key=key, num_probes=16, **options)
            for key in jax.random.split(jax.random.key(4), 12)
        ]
    )
    error = few.std(0, ddof=1) / math.sqrt(len(few))
    assert np.all(np.abs(few.mean(0) - exact) < 4 * error)
    # One eigenvalue alone: the space ends after a step, and every probe gives the sum itself.
    turn = 3 * np.linalg.qr(MATRIX)[0]
    score = jepa_score(
        lambda a, x: x @ a, jnp.asarray(turn), INPUTS, key=keys[0], method="lanczos", num_probes=2
    )
    np.testing.assert_allclose(score, 4 * math.log(3), rtol=1e-5)


def test_a_derivative_of_its_own_needs_no_forward_mode():
    keys = jax.random.split(jax.random.key(0), 3)
    params = jax.random.normal(keys[0], (3, 3, 1, 2)), jax.random.normal(keys[1], (32, 4))

    def apply(params, images):
        return depthwise_conv(images, params[0]).reshape(len(images), -1) @ params[1]

    images = jax.random.normal(keys[2], (1, 4, 4, 2))
    exact = jepa_score(apply, params, images)
    options = {"key": keys[0], "method": "lanczos", "num_probes": 200}
    np.testing.assert_allclose(jepa_score(apply, params, images, **options), exact, rtol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lanczos"}, "key must be given with method='lanczos'"),
        ({"floor": 0.0}, "floor must be positive, got 0.0"),
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        jepa_score(lambda a, x: x @ a, jnp.ones((4, 5)), INPUTS, **options)


def test_the_estimate_refuses_more_features_than_numbers():
    with pytest.raises(ValueError, match="at least the 5 numbers of a feature vector"):
        jepa_score(
            *(lambda a, x: x @ a, jnp.ones((4, 5)), INPUTS),
            key=jax.random.key(0),
            method="lanczos",
        )
