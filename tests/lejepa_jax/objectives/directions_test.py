"""Directions are unit, uniform on the sphere, and depend on each other as they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import qmc

from lejepa_jax.objectives.directions import (
    _owen_scramble,
    _sobol_matrix,
    orthogonal_directions,
    sobol_directions,
    unit_directions,
)

DRAWS = [unit_directions, orthogonal_directions, sobol_directions]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(("dim", "num"), [(1, 3), (3, 7)])
def test_rows_are_unit_and_a_function_of_the_key(draw, dim, num):
    draw = jax.jit(draw, static_argnums=(1, 2))
    directions = draw(jax.random.key(0), dim, num)
    assert directions.shape == (num, dim)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(directions, draw(jax.random.key(0), dim, num))
    assert (directions != draw(jax.random.key(1), dim, num)).any() or dim == 1


@pytest.mark.parametrize("draw", DRAWS)
def test_each_row_is_uniform_on_the_sphere(draw):
    """Over keys, coordinates of one row have the moments of the sphere: 0, 1/d, 3/d(d+2)."""
    keys = jax.random.split(jax.random.key(1), 2000)
    rows = jax.jit(jax.vmap(lambda key: draw(key, 3, 4)))(keys)
    for row in range(4):
        x = np.asarray(rows[:, row], np.float64)
        np.testing.assert_allclose(x.mean(0), 0, atol=0.06)
        np.testing.assert_allclose(x.T @ x / len(x), np.eye(3) / 3, atol=0.04)
        np.testing.assert_allclose((x**4).mean(0), 3 / 15, atol=0.04)


def test_orthogonal_blocks_are_bases_and_independent():
    directions = orthogonal_directions(jax.random.key(0), 4, 10)
    gram = directions @ directions.T
    np.testing.assert_allclose(gram[:4, :4], np.eye(4), atol=1e-6)
    np.testing.assert_allclose(gram[4:8, 4:8], np.eye(4), atol=1e-6)
    np.testing.assert_allclose(gram[8:, 8:], np.eye(2), atol=1e-6)
    assert jnp.abs(gram[:4, 4:8]).max() > 0.1


def test_orthogonal_directions_integrate_variances_exactly():
    matrix = jax.random.normal(jax.random.key(0), (5, 5))
    directions = orthogonal_directions(jax.random.key(1), 5, 10)
    mean = np.einsum("ki,ij,kj->k", directions, matrix, directions).mean()
    np.testing.assert_allclose(mean, jnp.trace(matrix) / 5, rtol=1e-5)


@pytest.mark.parametrize("num", [1, 2, 8, 13])
def test_generating_matrices_make_the_points_of_scipy(num):
    matrix = _sobol_matrix(6, num)
    points = np.zeros((num, 6), np.uint32)
    for bit, row in enumerate(matrix):
        points ^= (np.arange(num)[:, None] >> bit & 1).astype(np.uint32) * row
    # Scipy lists the same points in Gray code order.
    order = np.arange(num) ^ (np.arange(num) >> 1)
    total = 1 << max(num - 1, 1).bit_length()
    reference = np.zeros((total, 6))
    gray = np.arange(total) ^ (np.arange(total) >> 1)
    reference[gray] = qmc.Sobol(6, scramble=False, bits=32).random(total)
    assert order.max() < total
    np.testing.assert_array_equal(points * 2.0**-32, reference[:num])


def test_scrambling_keeps_every_elementary_interval_full():
    """16 points: one in each sixteenth of every axis, before and after."""
    points = jnp.zeros((16, 5), jnp.uint32)
    for bit, row in enumerate(_sobol_matrix(5, 16)):
        digit = (jnp.arange(16, dtype=jnp.uint32) >> np.uint32(bit)) & np.uint32(1)
        points ^= digit[:, None] * jnp.asarray(row)[None, :]
    seeds = jax.random.bits(jax.random.key(0), (1, 5), jnp.uint32)
    scrambled = _owen_scramble(points, seeds)
    assert (scrambled != points).any()
    cells = np.sort(np.asarray(scrambled >> np.uint32(28)), axis=0)
    np.testing.assert_array_equal(cells, np.arange(16)[:, None].repeat(5, 1))
    # And in each 4 by 4 cell of the first two axes.
    quarters = np.asarray(scrambled >> np.uint32(30)).astype(int)
    assert len({tuple(q) for q in quarters[:, :2]}) == 16


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(("dim", "num", "name"), [(0, 3, "dim"), (3, 0, "num"), (-1, 3, "dim")])
def test_bad_sizes_are_named(draw, dim, num, name):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        draw(jax.random.key(0), dim, num)


def test_more_dimensions_than_sobol_numbers_are_refused():
    with pytest.raises(ValueError, match="dim must be at most 21201, got 30000"):
        sobol_directions(jax.random.key(0), 30000, 2)
