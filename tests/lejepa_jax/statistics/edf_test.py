"""Anderson-Darling, Cramer-von Mises and Watson against published values, and their null means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lejepa_jax.statistics.edf import anderson_darling, cramer_von_mises, watson
from tests.lejepa_jax import golden


def without_factor_n(statistic):
    """What published code returns: the mean of squares, neither scaled nor shifted."""

    def plain(x):
        n = x.shape[-2]
        return (statistic(x) - 1 / (12 * n)) / n

    return jax.jit(plain)


@pytest.mark.parametrize("case", golden.CASES)
@pytest.mark.parametrize("statistic", [cramer_von_mises, watson])
def test_published_values_and_gradients_are_met_up_to_the_factor_n(case, statistic):
    golden.check_slices(case, statistic.__name__, without_factor_n(statistic))


@pytest.mark.parametrize("case", golden.CASES)
def test_anderson_darling_with_the_exact_logarithm_is_met(case):
    golden.check_slices(case, "anderson_darling", jax.jit(anderson_darling))


def test_anderson_darling_far_out_uses_the_exact_logarithm_where_published_code_is_off():
    """Published code is off by 0.14 at -4 and 0.40 at -10, and jumps at -3."""
    x = np.array([-10.0, -4.0, -3.001, -2.999, 5.0])
    ranks = np.arange(1, 6)
    logs = scipy.stats.norm.logcdf(x) + scipy.stats.norm.logcdf(-x[::-1])
    expected = -5 - ((2 * ranks - 1) * logs).mean()
    value = anderson_darling(jnp.asarray(x, jnp.float32)[:, None])[0]
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_values_of_one_small_column():
    np.testing.assert_allclose(anderson_darling(golden.COLUMN), 0.5014782, rtol=1e-5)
    np.testing.assert_allclose(
        without_factor_n(cramer_von_mises)(golden.COLUMN), 0.0076114, rtol=1e-5
    )
    np.testing.assert_allclose(without_factor_n(watson)(golden.COLUMN), 0.0014099, rtol=3e-5)


@pytest.mark.parametrize(
    ("statistic", "null_mean"), [(anderson_darling, 1), (cramer_von_mises, 1 / 6), (watson, 1 / 12)]
)
def test_the_null_mean_is_the_documented_constant_at_any_size(statistic, null_mean):
    for n in (3, 48):
        values = jax.jit(statistic)(jax.random.normal(jax.random.key(n), (n, 20_000)))
        assert abs(values.mean() - null_mean) < 4 * values.std() / 20_000**0.5


def test_a_larger_shift_gives_a_larger_value():
    x = jax.random.normal(jax.random.key(0), (64, 1)) + jnp.linspace(0, 3, 6)[None, :]
    for statistic in (anderson_darling, cramer_von_mises):
        assert (jnp.diff(statistic(x)) > 0).all()


@pytest.mark.parametrize(
    ("x", "mask", "message"),
    [
        (np.zeros(3, np.float32), None, "projections must have at least 2 axes"),
        (np.zeros((3, 0), np.float32), None, r"must hold samples and features, got shape \(3, 0\)"),
        (np.zeros((3, 2), np.int32), None, "floating dtype, got int32"),
        (np.zeros((3, 2), np.float32), np.zeros(2, bool), r"mask must have shape \(3,\)"),
    ],
)
def test_bad_projections_are_named(x, mask, message, unchecked):
    with pytest.raises(ValueError, match=message):
        watson(jnp.asarray(x), mask=mask)
