"""Shapiro-Wilk, Vasicek entropy and the likelihood of order statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from lejepa_jax.statistics.order_statistics import (
    order_statistic_nll,
    order_statistic_nll_null_mean,
    shapiro_wilk,
    vasicek_entropy,
)
from tests.lejepa_jax import golden

uncentered = jax.jit(functools.partial(shapiro_wilk, center=False))


def angle(projections, denominator_less_n):
    """Uncentered Shapiro-Francia statistic from positions (i - pi/8) / (n + c), in float64."""
    x = np.sort(np.asarray(projections, np.float64), axis=0)
    n = len(x)
    m = scipy.special.ndtri((np.arange(1, n + 1) - np.pi / 8) / (n + denominator_less_n))
    return 1 - np.abs(m @ x) / np.linalg.norm(m) / np.linalg.norm(x, axis=0)


@pytest.mark.parametrize("case", golden.CASES)
def test_published_elfving_positions_are_off_center_and_ours_are_not(case):
    projections = golden.load(case, "z") @ golden.load(case, "directions")
    published = golden.load(case, "shapiro_francia_elfving/per_slice")
    np.testing.assert_allclose(angle(projections, 1 / 4), published, atol=1e-5)
    ours = uncentered(projections)
    np.testing.assert_allclose(ours, angle(projections, 1 - np.pi / 4), rtol=1e-4, atol=1e-6)
    mirrored = uncentered(-projections)
    np.testing.assert_allclose(ours, mirrored, rtol=1e-4)
    assert np.abs(angle(-projections, 1 / 4) - angle(projections, 1 / 4)).max() > 1e-4


def test_values_of_one_small_column():
    blom = shapiro_wilk(golden.COLUMN, positions="blom", center=False)
    np.testing.assert_allclose(blom, 0.0405108, rtol=1e-5)
    rahman = shapiro_wilk(golden.COLUMN, positions="rahman", covariance="rahman", center=False)
    np.testing.assert_allclose(rahman, 0.0421503, rtol=1e-5)
    np.testing.assert_allclose(order_statistic_nll(golden.COLUMN), 0.5103017, rtol=5e-6)


def test_shapiro_wilk_orders_samples_as_scipy_does():
    x = np.random.default_rng(0).standard_t(4, size=(40, 12)).astype(np.float32)
    ours = shapiro_wilk(jnp.asarray(x), positions="blom")
    w = np.array([scipy.stats.shapiro(column).statistic for column in x.T])
    assert scipy.stats.spearmanr(ours, 1 - np.sqrt(w)).statistic > 0.97


def test_shapiro_wilk_sees_shape_only_and_uncentered_location_too():
    x = jax.random.normal(jax.random.key(0), (50, 2))
    np.testing.assert_allclose(shapiro_wilk(x), shapiro_wilk(5 * x + 3), rtol=1e-3)
    assert (shapiro_wilk(x + 3, center=False) > 10 * shapiro_wilk(x, center=False)).all()


def test_rahman_weights_keep_their_digits_in_large_samples():
    n = 3000
    x = np.sort(np.random.default_rng(0).normal(size=n)).astype(np.float32)
    m = scipy.special.ndtri(np.arange(1, n + 1) / (n + 1))
    density = scipy.stats.norm.pdf(m)
    g = np.pad(m * density, 1)
    a = density * (2 * g[1:-1] - g[2:] - g[:-2])
    centered = x - x.mean(dtype=np.float64)
    expected = 1 - a @ centered / np.linalg.norm(a) / np.linalg.norm(centered)
    value = shapiro_wilk(jnp.asarray(x)[:, None], positions="rahman", covariance="rahman")[0]
    np.testing.assert_allclose(value, expected, rtol=1e-3)


def test_vasicek_counts_the_ends_once_where_published_code_counts_them_twice():
    x = np.random.default_rng(0).normal(size=256).astype(np.float32)
    entropy = scipy.stats.differential_entropy(x, method="vasicek", window_length=1)
    gap = np.log(x.std() * np.sqrt(2 * np.pi * np.e)) - entropy
    value = vasicek_entropy(jnp.asarray(x)[:, None], window=1)[0]
    np.testing.assert_allclose(value, gap, rtol=1e-4)


def test_vasicek_ignores_location_and_scale_unless_told_otherwise():
    x = jax.random.normal(jax.random.key(1), (100, 1))
    np.testing.assert_allclose(vasicek_entropy(x), vasicek_entropy(0.01 * x + 3), rtol=1e-3)
    divergence = [vasicek_entropy(s * x, standardize=False)[0] for s in (1.0, 0.2, 5.0)]
    assert divergence[0] < min(divergence[1:]) - 0.5


@pytest.mark.parametrize("n", [1, 2, 30])
def test_the_null_mean_of_the_likelihood_is_known_at_any_size(n):
    values = jax.jit(order_statistic_nll)(jax.random.normal(jax.random.key(n), (n, 20_000)))
    error = values.mean() - order_statistic_nll_null_mean(n)
    assert abs(error) < 4 * values.std() / 20_000**0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: vasicek_entropy(x, window=0), "window must be positive, got 0"),
        (lambda x: order_statistic_nll_null_mean(0), "num_samples must be positive, got 0"),
        (
            lambda x: shapiro_wilk(x, positions="weibull"),
            "positions must be one of elfving, blom, rahman, got 'weibull'",
        ),
        (
            lambda x: shapiro_wilk(x, covariance="exact"),
            "covariance must be one of francia, rahman",
        ),
    ],
)
def test_bad_options_are_named(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call(golden.COLUMN)
