"""Phi, log Phi and their derivatives against SciPy in float64, out to where float32 ends."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats

from lejepa_jax.statistics.edf import anderson_darling
from lejepa_jax.statistics.normal import (
    inverse_mills,
    log_normal_cdf,
    normal_cdf,
    normal_density,
)
from lejepa_jax.statistics.order_statistics import order_statistic_nll

FAR = np.concatenate([-np.geomspace(1e4, 1e-3, 500), np.geomspace(1e-3, 1e4, 500)]).astype("f4")
EXACT = FAR.astype(np.float64)


def mills(x):
    """The density over the distribution function, by the scaled complementary error function."""
    return np.sqrt(2 / np.pi) / scipy.special.erfcx(-x / np.sqrt(2))


def test_the_distribution_function_is_right_to_a_rounding_of_one():
    expected = scipy.stats.norm.cdf(EXACT)
    np.testing.assert_allclose(normal_cdf(jnp.asarray(FAR)), expected, atol=2e-7)
    gradient = jax.vmap(jax.grad(normal_cdf))(jnp.asarray(FAR))
    np.testing.assert_allclose(gradient, scipy.stats.norm.pdf(EXACT), rtol=2e-6, atol=1e-30)
    np.testing.assert_array_equal(gradient, normal_density(jnp.asarray(FAR)))


def test_its_logarithm_is_right_in_both_tails():
    value = log_normal_cdf(jnp.asarray(FAR))
    # Below the smallest normal float32 there is nothing to be right about.
    np.testing.assert_allclose(value, scipy.special.log_ndtr(EXACT), rtol=5e-5, atol=1e-37)
    body = EXACT < 3
    expected = scipy.special.log_ndtr(EXACT[body])
    np.testing.assert_allclose(value[body], expected, rtol=2e-6)


def test_the_derivative_of_the_logarithm_is_right_out_to_ten_thousand():
    expected = mills(EXACT)
    for derivative in (jax.vmap(jax.grad(log_normal_cdf)), inverse_mills):
        np.testing.assert_allclose(
            jax.jit(derivative)(jnp.asarray(FAR)), expected, rtol=3e-5, atol=1e-36
        )


def test_the_second_derivative_is_right_out_to_ten_thousand():
    second = jax.jit(jax.vmap(jax.grad(jax.grad(log_normal_cdf))))(jnp.asarray(FAR))
    near = EXACT > -100
    exact = -mills(EXACT[near]) * (mills(EXACT[near]) + EXACT[near])
    np.testing.assert_allclose(second[near], exact, rtol=3e-5, atol=1e-36)
    # -r (r + x) = -1 + 1 / x^2 - 6 / x^4 + ..., of which float64 leaves too little further out.
    x = EXACT[~near]
    np.testing.assert_allclose(second[~near], -1 + 1 / x**2, rtol=2e-6)


def test_gradients_of_statistics_far_out_are_those_of_the_formula():
    """One column with samples at every distance; the gradient by the formula in float64."""
    x = np.concatenate([-np.geomspace(1, 1e4, 9), np.geomspace(1, 1e4, 8)])[::-1]
    column = jnp.asarray(x[:, None], jnp.float32)
    n, rank = len(x), np.argsort(np.argsort(x)) + 1
    p = (rank - 0.5) / n
    expected = 2 * (-p * mills(x) + (1 - p) * mills(-x))
    gradient = jax.jit(jax.grad(lambda x: anderson_darling(x)[0]))(column)[:, 0]
    np.testing.assert_allclose(gradient, expected, rtol=2e-5)
    expected = (-(rank - 1) * mills(x) + (n - rank) * mills(-x) + x) / n
    gradient = jax.jit(jax.grad(lambda x: order_statistic_nll(x)[0]))(column)[:, 0]
    np.testing.assert_allclose(gradient, expected, rtol=2e-5)
