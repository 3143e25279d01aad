"""The law of SIGReg at N(0, I), against simulated clouds and a plain covariance matrix."""

import jax
import numpy as np
import pytest
import scipy.stats

from lejepa_jax.diagnostics.null_law import sigreg_null, sigreg_p_value
from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.slicing import slice_statistics
from lejepa_jax.statistics.calibration import critical_value, null_table
from lejepa_jax.statistics.normality import epps_pulley_null_mean


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


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="dim must be positive, got 0"):
        sigreg_null(dim=0, num_slices=1)
