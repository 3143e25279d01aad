"""Moment statistics against published values and scipy, and what they cannot see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lejepa_jax.statistics.moment_tests import extended_jarque_bera, jarque_bera, moments, vcreg
from lejepa_jax.statistics.normality import epps_pulley
from tests.lejepa_jax import golden


@pytest.mark.parametrize("case", golden.CASES)
@pytest.mark.parametrize("statistic", [extended_jarque_bera, vcreg])
def test_published_values_and_gradients_are_met(case, statistic):
    golden.check_slices(case, statistic.__name__, jax.jit(statistic))


def test_values_of_one_small_column():
    np.testing.assert_allclose(vcreg(golden.COLUMN), 1.0246871, rtol=1e-6)
    np.testing.assert_allclose(extended_jarque_bera(golden.COLUMN), 1.5591154, rtol=1e-6)
    np.testing.assert_allclose(moments(golden.COLUMN), 0.4318606, rtol=1e-6)


def test_weights_and_order_of_the_moments():
    x = jnp.array([[1.0], [3.0]])
    np.testing.assert_allclose(moments(x, order=2, weights=[1.0, 0.5]), 2 + 0.5 * 4)
    np.testing.assert_allclose(moments(x, order=1), 2)


def test_a_mean_far_from_zero_costs_no_digits():
    x = np.random.default_rng(0).normal(size=64).astype(np.float32) + np.float32(1000)
    expected = scipy.stats.jarque_bera(x.astype(np.float64)).statistic
    np.testing.assert_allclose(jarque_bera(jnp.asarray(x)[:, None])[0], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("statistic", "null_mean"), [(jarque_bera, 2), (extended_jarque_bera, 4), (vcreg, 2)]
)
def test_the_null_mean_tends_to_the_degrees_of_freedom(statistic, null_mean):
    values = jax.jit(statistic)(jax.random.normal(jax.random.key(0), (1000, 2000)))
    assert abs(values.mean() - null_mean) < 0.05 * null_mean


def test_four_moments_miss_what_the_characteristic_function_sees():
    """Gauss-Hermite weights give a law of four points with the first seven normal moments."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    counts = np.round(weights / weights.sum() * 2000).astype(int)
    column = jnp.asarray(np.repeat(nodes, counts), jnp.float32)[:, None]
    assert extended_jarque_bera(column)[0] < 1
    assert epps_pulley(column)[0] > 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order must be at least 1, got 0"),
        ({"order": 3, "weights": [1.0]}, "weights must hold 3 numbers, one a moment, got 1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        moments(golden.COLUMN, **options)
