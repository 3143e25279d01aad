"""Quadrature on the sphere."""

import numpy as np
import pytest

import rope_jax


@pytest.mark.parametrize("rule", ["midpoint", "clenshaw_curtis", "gauss_legendre"])
def test_sphere_rules_integrate_polynomials(rule):
    grid = rope_jax.sphere_grid(9, 12, rule=rule)
    z = np.asarray(rope_jax.unit_vectors(grid.positions), np.float64)[:, 2]
    w = np.asarray(grid.measure, np.float64)
    assert w.min() > 0
    np.testing.assert_allclose(w.sum(), 4 * np.pi, rtol=1e-6)
    np.testing.assert_allclose(w @ z, 0, atol=1e-5)
    # The integral of z^2 over the sphere is 4 pi / 3; bands have an error, the rules have none.
    tolerance = 2e-2 if rule == "midpoint" else 1e-5
    np.testing.assert_allclose(w @ z**2, 4 * np.pi / 3, rtol=tolerance)
    if rule != "midpoint":
        np.testing.assert_allclose(w @ z**8, 4 * np.pi / 9, rtol=1e-4)
    north = grid.positions[0, 1]
    assert north > 1.3, "north comes first"


def test_healpix_has_equal_areas_distinct_centers_and_balance():
    for sides in (1, 2, 4):
        grid = rope_jax.healpix_grid(sides)
        u = np.asarray(rope_jax.unit_vectors(grid.positions), np.float64)
        assert len(u) == 12 * sides**2
        np.testing.assert_allclose(grid.measure.sum(), 4 * np.pi, rtol=1e-5)
        np.testing.assert_allclose(u.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(u.T @ u / len(u), np.eye(3) / 3, atol=0.02 if sides > 1 else 0.1)
        gaps = np.linalg.norm(u[:, None] - u[None], axis=-1) + 9 * np.eye(len(u))
        assert gaps.min() > 0.5 / sides
