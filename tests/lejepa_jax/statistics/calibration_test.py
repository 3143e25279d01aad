"""Calibration of the tables: critical values, p-values, simulation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lejepa_jax.statistics.calibration import critical_value, null_table, p_value, simulate_null
from lejepa_jax.statistics.edf import anderson_darling, cramer_von_mises, watson
from lejepa_jax.statistics.moment_tests import extended_jarque_bera, jarque_bera, moments, vcreg
from lejepa_jax.statistics.normality import epps_pulley
from lejepa_jax.statistics.null_quantiles import QUANTILES
from lejepa_jax.statistics.order_statistics import (
    order_statistic_nll,
    shapiro_wilk,
    vasicek_entropy,
)

STATISTICS = (
    epps_pulley,
    anderson_darling,
    cramer_von_mises,
    watson,
    shapiro_wilk,
    vasicek_entropy,
    order_statistic_nll,
    jarque_bera,
    extended_jarque_bera,
    vcreg,
    moments,
)
TABLED = {statistic.__name__: statistic for statistic in STATISTICS}


def test_every_tabled_statistic_is_tested():
    assert set(TABLED) == set(QUANTILES)


@functools.cache
def null_values():
    """At a size between tabled ones; columns that the tables have not seen."""
    x = jax.random.normal(jax.random.key(123), (90, 40_000))
    return jax.jit(lambda x: {name: f(x) for name, f in TABLED.items()})(x)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLED)
def test_type_one_errors_are_within_a_fifth_of_nominal(name):
    values, table = null_values()[name], null_table(name)
    for level in (0.05, 0.01):
        rate = float((values > critical_value(table, level, 90)).mean())
        # Three standard errors of the simulation beside the fifth that is promised.
        assert abs(rate / level - 1) < 0.2 + 3 * (1 / (level * 40_000)) ** 0.5 * 0.3
    p = p_value(table, values, 90)
    assert abs((p < 0.5).mean() - 0.5) < 0.02


def test_p_values_invert_critical_values_and_go_on_beyond_the_table():
    table = null_table("anderson_darling")
    for level in (0.9, 0.3, 0.012):
        value = critical_value(table, level, 300)
        np.testing.assert_allclose(p_value(table, value, 300), level, rtol=1e-4)
    p = p_value(table, jnp.array([0.0, 2.0, 6.0, 12.0, 30.0]), 300)
    assert p[0] == 1
    assert (jnp.diff(p) < 0).all()
    assert (p > 0).all()


@pytest.mark.parametrize(
    ("name", "level", "published"),
    [
        # Stephens 1974, case 0.
        ("anderson_darling", 0.05, 2.492),
        ("anderson_darling", 0.01, 3.857),
        ("cramer_von_mises", 0.05, 0.461),
        ("cramer_von_mises", 0.01, 0.743),
        ("watson", 0.05, 0.187),
        ("watson", 0.01, 0.268),
    ],
)
def test_critical_values_are_the_published_ones(name, level, published):
    np.testing.assert_allclose(critical_value(null_table(name), level, 1000), published, rtol=0.03)


def test_large_samples_of_jarque_bera_tend_to_chi_squared():
    value = critical_value(null_table("extended_jarque_bera"), 0.05, 1024)
    np.testing.assert_allclose(value, scipy.stats.chi2(4).isf(0.05), rtol=0.06)


def test_simulated_tables_agree_with_the_stored_ones():
    table = simulate_null(jax.random.key(5), watson, sizes=(32, 128), num_columns=20_000)
    stored = null_table("watson")
    rows = [list(stored.sizes).index(size) for size in (32, 128)]
    at_5_percent = list(stored.probabilities).index(0.05)
    np.testing.assert_allclose(
        table.quantiles[:, at_5_percent], stored.quantiles[rows, at_5_percent], rtol=0.04
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: null_table("lilliefors"), "name must be one of epps_pulley, .* got 'lilliefors'"),
        (
            lambda: critical_value(null_table("watson"), 1.5, 10),
            "level must be between 0 and 1, got 1.5",
        ),
        (
            lambda: simulate_null(jax.random.key(0), watson, num_columns=0),
            "num_columns must be positive, got 0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
