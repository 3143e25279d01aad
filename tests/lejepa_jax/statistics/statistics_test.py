"""What every statistic must keep, whatever it measures. A new one joins with one line in a table.

All statistics of a table are compiled together, so that a property costs one compilation.
"""

import functools
from typing import get_args

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.statistics.edf import anderson_darling, cramer_von_mises, watson
from lejepa_jax.statistics.moment_tests import extended_jarque_bera, jarque_bera, moments, vcreg
from lejepa_jax.statistics.multivariate import (
    bhep,
    bhep_mgf,
    comb,
    energy_distance,
    henze_visagie,
    henze_zirkler,
    mardia,
)
from lejepa_jax.statistics.normality import epps_pulley
from lejepa_jax.statistics.order_statistics import (
    order_statistic_nll,
    shapiro_wilk,
    vasicek_entropy,
)
from lejepa_jax.testing.statistics import Way, check_devices, check_statistic

# --- Oracles: plain NumPy and SciPy in float64, one column or cloud at a time.


def trapezoid_epps_pulley(x):
    t = np.linspace(-3, 3, 33)
    phi = np.exp(1j * t[:, None] * x).mean(1)
    return len(x) * np.trapezoid(np.abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2), t)


def debiased_epps_pulley(x):
    """The closed form on the whole line, in which no sample makes a pair with itself."""
    n = len(x)
    kernel = np.exp(-((x[:, None] - x) ** 2) / 2)
    pairs = (kernel.sum() - n) / (n * (n - 1))
    single = np.exp(-(x**2) / 4).mean()
    return n * (np.sqrt(2 * np.pi) * (pairs + 3**-0.5) - 2 * np.sqrt(np.pi) * single)


def ranks(x):
    return np.sort(x), np.arange(1, len(x) + 1), len(x)


def textbook_anderson_darling(x):
    x, i, n = ranks(x)
    logs = scipy.special.log_ndtr(x) + scipy.special.log_ndtr(-x[::-1])
    return -n - ((2 * i - 1) * logs).mean()


def scipy_cramer_von_mises(x):
    return scipy.stats.cramervonmises(x, "norm").statistic


def textbook_watson(x):
    return scipy_cramer_von_mises(x) - len(x) * (scipy.stats.norm.cdf(x).mean() - 0.5) ** 2


def cosine_shapiro_wilk(x, offset=np.pi / 8, rahman=False, center=True):
    x, i, n = ranks(x)
    m = scipy.special.ndtri((i - offset) / (n + 1 - 2 * offset))
    if rahman:
        density = scipy.stats.norm.pdf(m)
        g = np.pad(m * density, 1)
        m = density * (2 * g[1:-1] - g[2:] - g[:-2])
    x = x - x.mean() if center else x
    return 1 - m @ x / np.linalg.norm(m) / np.linalg.norm(x)


def scipy_vasicek(x, standardize=True):
    entropy = scipy.stats.differential_entropy(x, method="vasicek", window_length=2)
    if standardize:
        return np.log(x.std() * np.sqrt(2 * np.pi * np.e)) - entropy
    return -scipy.stats.norm.logpdf(x).mean() - entropy


def beta_nll(x):
    x, i, n = ranks(x)
    # The i-th order statistic of uniforms is Beta(i, n + 1 - i).
    logs = scipy.stats.beta.logpdf(scipy.stats.norm.cdf(x), i, n + 1 - i)
    return -(logs + scipy.stats.norm.logpdf(x)).mean()


def mean_and_variance(x):
    n, v = len(x), x.var(ddof=1)
    return n * x.mean() ** 2 / v + (n - 1) * (v - 1) ** 2 / 2


def four_moments(x):
    s = x.std(ddof=1)
    skewness, kurtosis = (((x - x.mean()) ** j).mean() / s**j for j in (3, 4))
    return mean_and_variance(x) + len(x) / 6 * (skewness**2 + (kurtosis - 3) ** 2 / 4)


def raw_moments(x):
    weights, targets = [1, *np.exp([-2, -3, -4, -5])], [0, 1, 0, 3, 0]
    means = [(x**j).mean() for j in range(1, 6)]
    return sum(w * abs(m - t) for w, m, t in zip(weights, means, targets, strict=True))


def squares(x):
    """Squared norms of the samples, of their differences, of their sums, and inner products."""
    s = (x**2).sum(1)
    inner = x @ x.T
    return s, s[:, None] + s - 2 * inner, s[:, None] + s + 2 * inner, inner


def plain_bhep(x, beta):
    n, d = x.shape
    s, differences, _, _ = squares(x)
    single = (1 + beta**2) ** (-d / 2) * np.exp(-(beta**2) * s / (2 + 2 * beta**2)).mean()
    pairs = np.exp(-(beta**2) * differences / 2).mean()
    return n * (pairs - 2 * single + (1 + 2 * beta**2) ** (-d / 2))


def plain_henze_zirkler(x):
    n, d = x.shape
    return plain_bhep(x, 2**-0.5 * ((2 * d + 1) * n / 4) ** (1 / (d + 4)))


def plain_henze_visagie(x, gamma=5.0):
    n, d = x.shape
    _, _, sums, inner = squares(x)
    polynomial = inner - sums / (2 * gamma) + d / (2 * gamma) + sums / (4 * gamma**2)
    return (np.exp(sums / (4 * gamma)) * polynomial).sum() / n


def plain_bhep_mgf(x, beta=10.0):
    n, d = x.shape
    s, _, sums, _ = squares(x)
    single = (1 - 0.5 / beta) ** (-d / 2) * np.exp(s / (4 * beta - 2)).mean()
    return n * (np.exp(sums / (4 * beta)).mean() - 2 * single + (1 - 1 / beta) ** (-d / 2))


def plain_comb(x, gamma=5.0):
    s, _, _, inner = squares(x)
    growth = np.exp((s[:, None] - s) / (4 * gamma))
    return np.sqrt(len(x)) * ((growth * np.cos(inner / (2 * gamma))).mean() - 1)


def plain_mardia(x):
    n, d = x.shape
    s, _, _, inner = squares(x)
    return n / 6 * (inner**3).mean(), ((s**2).mean() - d * (d + 2)) / np.sqrt(8 * d * (d + 2) / n)


def plain_energy(x):
    n, d = x.shape
    s, differences, _, _ = squares(x)
    half = np.sqrt(2) * np.exp(scipy.special.gammaln((d + 1) / 2) - scipy.special.gammaln(d / 2))
    to_normal = half * scipy.special.hyp1f1(-0.5, d / 2, -s / 2)
    distances = np.sqrt(np.maximum(differences, 0))
    return n * (2 * to_normal.mean() - np.sqrt(2) * half - distances.mean())


# --- The tables: a statistic and its oracle.

partial = functools.partial

UNIVARIATE = {
    "epps_pulley": (epps_pulley, trapezoid_epps_pulley),
    "epps_pulley_debiased": (
        partial(epps_pulley, quadrature="hermite", num_knots=20, debias=True),
        debiased_epps_pulley,
    ),
    "anderson_darling": (anderson_darling, textbook_anderson_darling),
    "cramer_von_mises": (cramer_von_mises, scipy_cramer_von_mises),
    "watson": (watson, textbook_watson),
    "shapiro_wilk": (shapiro_wilk, cosine_shapiro_wilk),
    "shapiro_wilk_rahman": (
        partial(shapiro_wilk, positions="rahman", covariance="rahman", center=False),
        partial(cosine_shapiro_wilk, offset=0, rahman=True, center=False),
    ),
    "vasicek_entropy": (partial(vasicek_entropy, window=2), scipy_vasicek),
    "vasicek_divergence": (
        partial(vasicek_entropy, window=2, standardize=False),
        partial(scipy_vasicek, standardize=False),
    ),
    "order_statistic_nll": (order_statistic_nll, beta_nll),
    "jarque_bera": (jarque_bera, lambda x: scipy.stats.jarque_bera(x).statistic),
    "extended_jarque_bera": (extended_jarque_bera, four_moments),
    "vcreg": (vcreg, mean_and_variance),
    "moments": (partial(moments, order=5), raw_moments),
}


def mardia_part(index):
    return lambda x, **options: mardia(x, **options)[index], lambda x: plain_mardia(x)[index]


MULTIVARIATE = {
    "bhep": (partial(bhep, beta=0.7), partial(plain_bhep, beta=0.7)),
    "henze_zirkler": (henze_zirkler, plain_henze_zirkler),
    "henze_visagie": (henze_visagie, plain_henze_visagie),
    "bhep_mgf": (bhep_mgf, plain_bhep_mgf),
    "comb": (comb, plain_comb),
    "mardia_skewness": mardia_part(0),
    "mardia_kurtosis": mardia_part(1),
    "energy_distance": (energy_distance, plain_energy),
}


# One for each way in which samples meet: by sums, by ranks, in pairs.
REPRESENTATIVES = ("epps_pulley", "vcreg", "moments", "watson", "shapiro_wilk_rahman", "bhep")


# --- All of a table at once.


def univariate(x, mask=None, axis_name=None):
    return {
        name: statistic(x, mask=mask, axis_name=axis_name)
        for name, (statistic, _) in UNIVARIATE.items()
    }


def multivariate(x, mask=None, axis_name=None):
    return {
        name: statistic(x, mask=mask, axis_name=axis_name)
        for name, (statistic, _) in MULTIVARIATE.items()
    }


def with_gradients(table):
    """Value of the mean and gradient of each statistic of a table."""

    def of(x, mask=None):
        return {
            name: jax.value_and_grad(lambda x, f=statistic: f(x, mask=mask).mean())(x)
            for name, (statistic, _) in table.items()
        }

    return of


values = jax.jit(univariate)
cloud_values = jax.jit(multivariate)
gradients = jax.jit(with_gradients(UNIVARIATE))
cloud_gradients = jax.jit(with_gradients(MULTIVARIATE))


def draw(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def test_each_can_be_the_statistic_of_sigreg(key):
    """The mean over slices and views, with masks: by hand from projections that NumPy made."""
    z, directions = draw(2, 12, 3), unit_directions(key, 3, 4)
    mask = jnp.asarray(np.random.default_rng(0).permutation(24).reshape(2, 12) < 17)

    @jax.jit
    def all_of_them(z):
        return {
            name: sigreg(key, z, statistic=statistic, directions=directions, mask=mask)
            for name, (statistic, _) in UNIVARIATE.items()
        }

    found = all_of_them(z)
    projections = np.asarray(z, np.float64) @ np.asarray(directions, np.float64).T
    for name, (_, oracle) in UNIVARIATE.items():
        columns = [x[valid].T for x, valid in zip(projections, np.asarray(mask), strict=True)]
        expected = np.mean([oracle(column) for view in columns for column in view])
        np.testing.assert_allclose(found[name], expected, rtol=2e-5, err_msg=name)


# --- Values and gradients.

SAMPLE = (
    draw(12, 3, seed=3) * jnp.array([1.0, 0.6, 1.8])[None, :] + jnp.array([0.0, 0.5, -1.0])[None]
)


@pytest.mark.parametrize("name", UNIVARIATE)
def test_value_and_gradient_of_a_column_statistic_agree_with_float64(name):
    _check_against_oracle(UNIVARIATE[name][1], gradients(SAMPLE)[name], columns=True)


@pytest.mark.parametrize("name", MULTIVARIATE)
def test_value_and_gradient_of_a_cloud_statistic_agree_with_float64(name):
    _check_against_oracle(MULTIVARIATE[name][1], cloud_gradients(SAMPLE)[name], columns=False)


def _check_against_oracle(oracle, result, columns):
    x = np.asarray(SAMPLE, np.float64)

    def expected(x):
        return np.mean([oracle(column) for column in x.T]) if columns else oracle(x)

    value, gradient = result
    np.testing.assert_allclose(value, expected(x), rtol=1e-5)
    step = 1e-6 * np.random.default_rng(0).normal(size=x.shape)
    change = (expected(x + step) - expected(x - step)) / 2
    np.testing.assert_allclose((gradient * step).sum(), change, rtol=2e-4)


@hypothesis.given(seed=st.integers(0, 2**31 - 1))
def test_the_order_of_the_samples_means_nothing(seed):
    x = draw(12, 3, seed=seed)
    shuffled = jax.random.permutation(jax.random.key(seed), x)
    chex.assert_trees_all_close(values(x), values(shuffled), rtol=1e-3, atol=1e-5)
    chex.assert_trees_all_close(cloud_values(x), cloud_values(shuffled), rtol=1e-3, atol=1e-5)


def test_columns_know_nothing_of_each_other():
    before = values(SAMPLE)
    after = values(SAMPLE.at[:, 0].multiply(3.0))
    for name in UNIVARIATE:
        np.testing.assert_array_equal(before[name][1:], after[name][1:])
        assert before[name][0] != after[name][0] or name.startswith(("shapiro", "vasicek", "jar"))


def test_a_rotation_changes_no_cloud_statistic():
    rotation, _ = jnp.linalg.qr(draw(3, 3, seed=1))
    rotated = jnp.matmul(SAMPLE, rotation, precision="highest")
    chex.assert_trees_all_close(cloud_values(SAMPLE), cloud_values(rotated), rtol=1e-4)


def test_column_statistics_keep_what_sigreg_relies_on():
    """Shapes, order, masks, finite gradients, and every statistic on devices that differ."""
    table = {name: statistic for name, (statistic, _) in UNIVARIATE.items()}
    check_statistic(table, devices=(8,), ways=("shard_map",))


def test_cloud_statistics_keep_what_a_regularizer_relies_on():
    table = {name: statistic for name, (statistic, _) in MULTIVARIATE.items()}
    # The exponentials of generating functions leave float32 far out, as they say.
    check_statistic(table, per_column=False, widest=1.0, devices=(8,), ways=("shard_map",))


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_jitted_equals_eager(name):
    statistic, _ = (UNIVARIATE | MULTIVARIATE)[name]
    jitted = (values(SAMPLE) | cloud_values(SAMPLE))[name]
    np.testing.assert_allclose(statistic(SAMPLE), jitted, rtol=2e-5)


def test_two_samples_of_one_dimension_are_enough_in_bfloat16():
    x = draw(2, 1).astype(jnp.bfloat16)
    for results in (gradients(x), cloud_gradients(x)):
        for name, (value, gradient) in results.items():
            assert value.dtype == jnp.float32, name
            assert gradient.dtype == jnp.bfloat16, name
            assert jnp.isfinite(value), name
            assert jnp.isfinite(gradient).all(), name


# --- On devices.

SOME = {name: (UNIVARIATE | MULTIVARIATE)[name][0] for name in REPRESENTATIVES}
WAYS = [(way, masked) for way in get_args(Way) for masked in (True, False)]
# Of what a step of the trainer may take, jit is tested with SIGReg in spmd_test.py.
QUICK_WAYS = {("pmap", True)}


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.slow
def test_fewer_devices_agree(number):
    check_devices(SOME, "shard_map", number)


@pytest.mark.parametrize(
    ("way", "masked"),
    [pytest.param(*way, marks=() if way in QUICK_WAYS else pytest.mark.slow) for way in WAYS],
)
def test_every_way_to_run_on_devices_agrees(way, masked):
    check_devices(SOME, way, masked=masked)
