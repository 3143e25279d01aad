"""The prediction loss on hand-made cases, and what a mask keeps out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax import lejepa_loss, prediction_loss

VIEWS = jax.random.normal(jax.random.key(7), (5, 12, 3))


def test_prediction_is_the_mean_squared_distance_to_the_center_of_the_global_views():
    # Two global views at 1 and 3, a local one at 5: center 2, distances 1, 1 and 9.
    views = jnp.array([1.0, 3.0, 5.0])[:, None, None]
    np.testing.assert_allclose(prediction_loss(views, num_global=2), 11 / 3, rtol=1e-6)
    # The center of all three is 3: distances 4, 0 and 4.
    np.testing.assert_allclose(prediction_loss(views, num_global=2, target="all"), 8 / 3, rtol=1e-6)
    # Pairs of a global and any view: (0, 4, 16) and (4, 0, 4).
    pairs = prediction_loss(views, num_global=2, target="pairwise")
    np.testing.assert_allclose(pairs, 28 / 6, rtol=1e-6)


def test_pairwise_form_agrees_with_a_loop_over_pairs():
    pairs = [(VIEWS[g] - VIEWS[v]) ** 2 for g in range(2) for v in range(5)]
    value = prediction_loss(VIEWS, num_global=2, target="pairwise")
    np.testing.assert_allclose(value, np.mean(pairs), rtol=1e-5)


def test_pairwise_form_is_not_the_center_form_which_the_paper_equates_with_it():
    center = prediction_loss(VIEWS, num_global=2)
    among_global = prediction_loss(VIEWS[:2], num_global=2)
    pairs = prediction_loss(VIEWS, num_global=2, target="pairwise")
    np.testing.assert_allclose(pairs, center + among_global, rtol=1e-5)
    assert pairs > 1.2 * center


def test_gradients_flow_through_the_center():
    gradient = jax.grad(lambda z: prediction_loss(z, num_global=2))(VIEWS)
    # Without a stop-gradient a common shift changes nothing, so the gradients sum to zero.
    np.testing.assert_allclose(gradient.sum(0), 0, atol=1e-6)


@pytest.mark.parametrize("poison", [jnp.nan, jnp.inf])
@pytest.mark.parametrize("target", ["global", "all", "pairwise"])
def test_what_is_masked_reaches_neither_value_nor_gradient(target, poison):
    mask = jnp.arange(12) < 9

    def value_and_gradient(z):
        return jax.value_and_grad(
            lambda z: prediction_loss(z, num_global=2, target=target, mask=mask)
        )(z)

    with jax.debug_nans(False):
        spoiled = jnp.where(mask[None, :, None], VIEWS, poison)
        value, gradient = jax.jit(value_and_gradient)(spoiled)
    expected, expected_gradient = value_and_gradient(VIEWS)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-7)


def test_what_is_masked_reaches_no_part_of_the_objective(key):
    mask = jnp.arange(12) < 9

    @jax.jit
    @jax.value_and_grad
    def objective(z):
        return lejepa_loss(key, z, num_global=2, num_slices=8, mask=mask).total

    with jax.debug_nans(False):
        value, gradient = objective(jnp.where(mask[None, :, None], VIEWS, jnp.nan))
    expected, expected_gradient = objective(VIEWS)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-7)
