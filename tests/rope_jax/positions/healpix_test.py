"""HEALPix: nested cells, and values between them, against the geometry and against astropy."""

import jax.numpy as jnp
import numpy as np
import pytest

import rope_jax


def centers(sides, order="ring"):
    grid = rope_jax.healpix_grid(sides, order=order)
    return np.asarray(rope_jax.unit_vectors(grid.positions), np.float64)


def test_four_children_lie_around_their_parent():
    for sides in (1, 2, 4):
        assert sorted(rope_jax.healpix_nested(sides)) == list(range(12 * sides**2))
        children = centers(2 * sides, "nested").reshape(-1, 4, 3)
        middle = children.mean(1)
        middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
        off = np.arccos(np.clip((middle * centers(sides, "nested")).sum(-1), -1, 1))
        assert off.max() < 0.15 / sides, "a cell is about 1 / sides wide"


def test_interpolation_is_exact_at_centers_and_of_second_order():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3))
    points = np.concatenate([points / np.linalg.norm(points, axis=1, keepdims=True), np.eye(3)])
    points = np.concatenate([points, -np.eye(3)])  # the poles among them
    errors = []
    for sides in (4, 8):
        pixels, weights = rope_jax.healpix_interpolation(jnp.asarray(points, jnp.float32), sides)
        assert float(weights.min()) > -1e-5
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
        own = centers(sides)
        found = (np.asarray(weights)[..., None] * own[np.asarray(pixels)]).sum(1)
        errors.append(np.abs(found - points).max())
        pixels, weights = rope_jax.healpix_interpolation(jnp.asarray(own, jnp.float32), sides)
        there = np.asarray(pixels) == np.arange(len(own))[:, None]
        np.testing.assert_allclose((np.asarray(weights) * there).sum(1), 1, atol=1e-4)
    assert errors[0] < 0.1
    assert errors[1] < 0.4 * errors[0], "of second order"


def test_it_is_what_astropy_healpix_has():
    package, unit = pytest.importorskip("astropy_healpix"), pytest.importorskip("astropy.units")
    points = np.random.default_rng(0).normal(size=(300, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    longitude = np.arctan2(points[:, 1], points[:, 0]) % (2 * np.pi)
    latitude = np.arcsin(points[:, 2])
    for sides in (1, 4):
        ring = package.HEALPix(sides, order="ring")
        nested = package.HEALPix(sides, order="nested")
        numbers = np.arange(12 * sides**2)
        np.testing.assert_array_equal(
            rope_jax.healpix_nested(sides), nested.nested_to_ring(numbers)
        )
        values = np.random.default_rng(1).normal(size=len(numbers))
        theirs = ring.bilinear_interpolation_weights(longitude * unit.rad, latitude * unit.rad)
        expected = (values[theirs[0]] * theirs[1]).sum(0)
        pixels, weights = rope_jax.healpix_interpolation(jnp.asarray(points, jnp.float32), sides)
        found = (values[np.asarray(pixels)] * np.asarray(weights)).sum(-1)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_refusals(unchecked):
    with pytest.raises(ValueError, match="num_sides must be a power of 2 for nested pixels, got 3"):
        rope_jax.healpix_grid(3, order="nested")
    with pytest.raises(ValueError, match="order must be"):
        rope_jax.healpix_grid(2, order="spiral")
