"""Statistics of whole clouds against published values, closed forms and simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
from tests.lejepa_jax import golden


@pytest.mark.parametrize("case", golden.CASES)
@pytest.mark.parametrize(
    ("name", "statistic"),
    [("bhep_b01", lambda z: bhep(z, beta=0.1)), ("bhep_b1", bhep), ("hz", henze_zirkler)],
)
def test_published_values_and_gradients_are_met_up_to_the_factor_n(case, name, statistic):
    golden.check_cloud(case, name, jax.jit(lambda z: statistic(z) / z.shape[0]))


def test_values_of_one_small_cloud():
    x = golden.CLOUD
    np.testing.assert_allclose(bhep(x, beta=0.1) / 6, 4.7928e-4, rtol=1e-3)
    np.testing.assert_allclose(bhep(x) / 6, 0.06833321, rtol=1e-6)
    np.testing.assert_allclose(henze_zirkler(x) / 6, 0.06725892, rtol=1e-6)
    np.testing.assert_allclose(comb(x, gamma=0.1), -248.5645, rtol=1e-6)
    np.testing.assert_allclose(comb(x, gamma=1.0), -0.2367308, rtol=1e-6)
    np.testing.assert_allclose(henze_visagie(x, gamma=1.0), 11.8256454, rtol=1e-6)
    np.testing.assert_allclose(henze_visagie(x, gamma=3.0), 1.1786057, rtol=1e-6)


def test_bhep_mgf_has_the_term_that_published_code_leaves_out():
    """Published: the first two terms, times beta^(-d/2), negative at -0.664 on this cloud."""
    n, d, beta = 6, 2, 10.0
    published = bhep_mgf(golden.CLOUD) * beta ** (-d / 2) - n * (beta - 1) ** (-d / 2)
    np.testing.assert_allclose(published, -0.6644152, rtol=1e-6)
    assert bhep_mgf(golden.CLOUD) > 0


def test_one_dimension_is_epps_pulley():
    x = golden.COLUMN
    whole_line = epps_pulley(x, t_max=8.0, num_knots=65)[0]
    np.testing.assert_allclose(np.sqrt(2 * np.pi) * bhep(x), whole_line, rtol=1e-5)


def test_null_means_are_the_documented_ones():
    n, d, repeats = 20, 3, 4000
    clouds = jax.random.normal(jax.random.key(0), (repeats, n, d))
    beta = 2**-0.5 * ((2 * d + 1) * n / 4) ** (1 / (d + 4))
    gamma = 8.0
    statistics = {
        "bhep": (lambda x: bhep(x, beta=0.5), 1 - 1.5 ** (-d / 2)),
        "hz": (henze_zirkler, 1 - (1 + 2 * beta**2) ** (-d / 2)),
        "hv": (
            lambda x: henze_visagie(x, gamma=gamma),
            (gamma / (gamma - 2)) ** (d / 2) * (d + d / (2 * (gamma - 2))),
        ),
        "mgf": (bhep_mgf, 0.8 ** (-d / 2) - 0.9 ** (-d / 2)),
        "comb": (comb, (((1 - 1j / 5) ** (-d / 2)).real - 1) / n**0.5),
        "skewness": (lambda x: mardia(x).skewness, d * (d + 2) * (d + 4) / 6),
        "kurtosis": (lambda x: mardia(x).kurtosis, 0.0),
        "energy": (energy_distance, 4 / np.sqrt(np.pi)),  # 2 Gamma(2) / Gamma(3/2)
    }
    values = jax.jit(
        lambda x: jax.lax.map(lambda x: {k: f(x) for k, (f, _) in statistics.items()}, x)
    )(clouds)
    for name, (_, null_mean) in statistics.items():
        error = values[name].mean() - null_mean
        assert abs(error) < 4 * values[name].std() / repeats**0.5, name


def test_rows_in_blocks_give_what_one_block_gives(monkeypatch):
    x = jax.random.normal(jax.random.key(0), (50, 4))
    mask = jnp.arange(50) < 41
    one = jax.value_and_grad(lambda x: energy_distance(x, mask=mask))(x)
    monkeypatch.setattr("lejepa_jax.statistics.multivariate.pairs._BLOCK_ROWS", 7)
    many = jax.value_and_grad(lambda x: energy_distance(x, mask=mask))(x)
    np.testing.assert_allclose(one[0], many[0], rtol=1e-5)
    np.testing.assert_allclose(one[1], many[1], atol=1e-6)


def test_comb_is_blind_to_covariance_and_bhep_is_not():
    x = jax.random.normal(jax.random.key(0), (500, 2)) * jnp.array([1.0, 0.5])[None, :]
    assert abs(comb(x)) < 0.5
    assert bhep(x) > 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: bhep(x, beta=0.0), "beta must be positive, got 0"),
        (lambda x: bhep_mgf(x, beta=1.0), "beta must be above 1, got 1"),
        (lambda x: henze_visagie(x, gamma=-1.0), "gamma must be positive, got -1"),
        (lambda x: comb(x, gamma=0.0), "gamma must be positive, got 0"),
        (lambda x: energy_distance(x[None]), r"samples must have shape \(n, d\), got \(1, 6, 2\)"),
        (lambda x: mardia(x.astype(jnp.int32)), "samples must have a floating dtype"),
        (lambda x: henze_zirkler(x, mask=jnp.ones(2, bool)), r"mask must have shape \(6,\)"),
    ],
)
def test_bad_input_is_named(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call(golden.CLOUD)
