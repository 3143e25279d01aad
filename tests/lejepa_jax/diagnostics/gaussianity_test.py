"""Calibration of the tables, the law of SIGReg, and the test with its worst direction."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lejepa_jax.diagnostics.gaussianity import (
    critical_value,
    gaussianity_test,
    null_table,
    p_value,
    sigreg_null,
    sigreg_p_value,
    simulate_null,
)
from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.slicing import slice_statistics
from lejepa_jax.statistics.edf import anderson_darling, cramer_von_mises, watson
from lejepa_jax.statistics.moment_tests import extended_jarque_bera, jarque_bera, moments, vcreg
from lejepa_jax.statistics.normality import epps_pulley, epps_pulley_null_mean
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


def test_the_law_of_sigreg_is_that_of_simulated_clouds():
    n, d, k = 100, 4, 16

    def value(key):
        cloud_key, slice_key = jax.random.split(key)
        directions = unit_directions(slice_key, d, k)
        return slice_statistics(jax.random.normal(cloud_key, (n, d)), directions).mean()

    values = jax.jit(lambda keys: jax.lax.map(value, keys, batch_size=100))(
        jax.random.split(jax.random.key(0), 3000)
    )
    null = sigreg_null(dim=d, num_slices=k)
    assert null.mean == pytest.approx(epps_pulley_null_mean())
    np.testing.assert_allclose(values.mean(), null.mean, rtol=0.03)
    np.testing.assert_allclose(values.std(), null.std, rtol=0.08)
    assert abs(scipy.stats.skew(values) - null.skewness) < 0.3
    p = sigreg_p_value(values, dim=d, num_slices=k)
    # A fifth of nominal, and three standard errors of the simulation.
    for level in (0.5, 0.05, 0.01):
        assert abs((p < level).mean() - level) < 0.2 * level + 3 * (level / 3000) ** 0.5


def test_one_slice_in_one_dimension_is_the_statistic_itself():
    table = null_table("epps_pulley")
    null = sigreg_null(dim=1, num_slices=1)
    again = sigreg_null(dim=1, num_slices=50)
    assert null.std == pytest.approx(again.std)
    p = sigreg_p_value(critical_value(table, 0.05, 1024), dim=1, num_slices=1)
    np.testing.assert_allclose(p, 0.05, rtol=0.06)


def test_cumulants_of_sigreg_agree_with_a_covariance_matrix_over_all_knots_and_slices():
    """A plain matrix of 4 slices in 2 dimensions, averaged over many draws of them."""
    t = np.linspace(0, 3, 17)
    weights = np.r_[0.5, np.ones(16)] * np.r_[np.ones(16), 0.5] * 2 * t[1] * np.exp(-(t**2) / 2)
    angles = np.random.default_rng(0).uniform(0, np.pi, (600, 4))
    rho = np.cos(angles[:, :, None] - angles[:, None, :])[..., None, None]
    root = np.sqrt(weights / 4) * np.exp(-(t**2) / 2)
    products = rho * t[:, None] * t
    traces = np.zeros((600, 2))
    for part in (np.cosh(products) - 1, np.sinh(products)):
        matrix = (part * root[:, None] * root).transpose(0, 1, 3, 2, 4).reshape(-1, 68, 68)
        squared = matrix @ matrix
        traces += np.stack([np.trace(m, axis1=1, axis2=2) for m in (squared, squared @ matrix)], 1)
    second, third = traces.mean(0) * [2, 8]
    null = sigreg_null(dim=2, num_slices=4)
    np.testing.assert_allclose(null.std, second**0.5, rtol=0.02)
    np.testing.assert_allclose(null.skewness, third / second**1.5, rtol=0.04)


run = jax.jit(
    functools.partial(gaussianity_test, num_slices=8, num_null=39, num_starts=3, num_steps=40)
)


def cloud(seed=0, n=256, d=4):
    return jax.random.normal(jax.random.key(seed), (n, d))


@pytest.mark.slow
def test_a_normal_cloud_passes_and_the_p_value_is_uniform():
    results = [run(jax.random.key(s), cloud(100 + s)) for s in range(12)]
    for p in ([r.p_value for r in results], [r.worst_p_value for r in results]):
        assert scipy.stats.kstest(np.asarray(p, np.float64), "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_the_worst_direction_is_found_and_confirmed_by_the_other_half():
    hidden = jnp.array([0.5, -0.5, 0.5, 0.5])
    x = cloud(n=512)
    along = x @ hidden
    # Two peaks along one direction, mean and variance as before.
    peaks = 0.95 * jnp.sign(along) + 0.31 * cloud(1, n=512)[:, 0]
    x = x + (peaks - along)[:, None] * hidden[None, :]
    result = run(jax.random.key(1), x)
    assert abs(result.worst_direction @ hidden) > 0.97
    assert result.worst_p_value < 1e-4 < result.p_value
    # The histogram shows them: few samples near 0.
    centers = (result.edges[1:] + result.edges[:-1]) / 2
    middle = result.histogram[jnp.abs(centers) < 0.25].mean()
    peak = result.histogram[jnp.abs(jnp.abs(centers) - 1) < 0.25].mean()
    assert peak > 4 * middle
    np.testing.assert_allclose(result.histogram.sum() * 8 / 32, 1, atol=0.01)


def test_a_mask_equals_leaving_out():
    x = cloud(n=256)
    mask = jnp.arange(256) < 200
    spoiled = jnp.where(mask[:, None], x, 100.0)
    masked = run(jax.random.key(0), spoiled, mask=mask)
    clean = run(jax.random.key(0), x, mask=mask)
    for one, other in zip(masked, clean, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert masked.statistic < 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: null_table("lilliefors"), "name must be one of epps_pulley, .* got 'lilliefors'"),
        (
            lambda: critical_value(null_table("watson"), 1.5, 10),
            "level must be between 0 and 1, got 1.5",
        ),
        (
            lambda: gaussianity_test(jax.random.key(0), cloud(n=8)),
            r"embeddings must have shape \(n >= 16, d\), got \(8, 4\)",
        ),
        (
            lambda: gaussianity_test(jax.random.key(0), cloud(), statistic=watson),
            "table must be given with a statistic other than epps_pulley",
        ),
        (
            lambda: gaussianity_test(jax.random.key(0), cloud(), num_null=0),
            "num_null must be positive, got 0",
        ),
        (lambda: sigreg_null(dim=0, num_slices=1), "dim must be positive, got 0"),
        (
            lambda: simulate_null(jax.random.key(0), watson, num_columns=0),
            "num_columns must be positive, got 0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
