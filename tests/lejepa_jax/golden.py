"""Values that the published formulas give on four clouds, float64: numbers, no code.

`data/statistics.npz` holds `CASE/z` (n, d), `CASE/directions` (d, k) and, for each statistic, the
value per slice and, in two cases, the gradient of the mean over slices with respect to `z`.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

CASES = ("case0_normal", "case1_shift", "case2_aniso", "case3_bimodal")
COLUMN = jnp.array([-1.5, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2])[:, None]
CLOUD = jnp.array([[0.5, -1], [1.2, 0.3], [-0.7, 0.8], [0, -0.4], [-1.1, 1.5], [0.9, -0.2]])

_DATA = np.load(Path(__file__).parent / "data" / "statistics.npz")


def load(case, name):
    return jnp.asarray(_DATA[f"{case}/{name}"])


def check_slices(case, name, statistic, *, rtol=1e-5, atol=0.0):
    """Compare a statistic of the slices, and the gradient of its mean where that is on file."""

    def slices(z):
        projections = jnp.matmul(z, load(case, "directions"), precision="highest")
        return statistic(projections)

    expected = _DATA[f"{case}/{name}/per_slice"]
    if f"{case}/{name}/grad_of_mean" in _DATA:
        (values, pullback) = jax.vjp(slices, load(case, "z"))
        (gradient,) = pullback(jnp.full(values.shape, 1 / values.size))
        expected_gradient = _DATA[f"{case}/{name}/grad_of_mean"]
        scale = np.abs(expected_gradient).max()
        np.testing.assert_allclose(gradient / scale, expected_gradient / scale, atol=1e-5)
    else:
        values = slices(load(case, "z"))
    np.testing.assert_allclose(values, expected, rtol=rtol, atol=atol)


def check_cloud(case, name, statistic):
    """The same for a statistic of the whole cloud."""
    value, gradient = jax.value_and_grad(statistic)(load(case, "z"))
    np.testing.assert_allclose(value, _DATA[f"{case}/{name}/value"], rtol=1e-5)
    if f"{case}/{name}/grad" in _DATA:
        expected = _DATA[f"{case}/{name}/grad"]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(gradient / scale, expected / scale, atol=1e-5)
