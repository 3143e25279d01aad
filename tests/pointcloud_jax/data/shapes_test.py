"""Procedural solids: uniform on their surfaces, normals outward, families that differ."""

import functools

import jax
import numpy as np
import pytest

from pointcloud_jax.data import shapes
from pointcloud_jax.data.shapes import FAMILIES

NUM = 512
# Eighteen families are a quarter of a minute to compile.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn():
    """Two solids of every family: one compilation for all of them."""
    return jax.tree.map(
        np.asarray, jax.jit(lambda key: shapes.shape_dataset(key, 2, NUM))(jax.random.key(0))
    )


def of(drawn, family):
    index = 2 * FAMILIES.index(family)
    return [shapes.Shapes(*(leaf[i] for leaf in drawn)) for i in (index, index + 1)]


def test_clouds_are_centered_of_radius_one_with_unit_normals(drawn):
    assert len(FAMILIES) == 18
    assert drawn.points.shape == (36, NUM, 3)
    np.testing.assert_array_equal(drawn.label, np.repeat(np.arange(18), 2))
    np.testing.assert_allclose(drawn.points.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(drawn.points, axis=-1).max(1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(drawn.normals, axis=-1), 1, atol=1e-4)


def test_no_point_is_drawn_twice(drawn):
    for cloud in drawn.points:
        assert len(np.unique(cloud, axis=0)) == NUM


def test_proportions_vary_within_a_family(drawn):
    for index in range(18):
        first, second = (
            np.linalg.norm(c[:, None] - c[None], axis=-1).ravel()
            for c in drawn.points[2 * index :][:2]
        )
        assert (
            abs(np.quantile(first, [0.1, 0.5, 0.9]) - np.quantile(second, [0.1, 0.5, 0.9])).max()
            > 1e-3
        )


@pytest.mark.parametrize(
    "family", ["ellipsoid", "box", "cylinder", "cone", "capsule", "pyramid", "hexagon"]
)
def test_normals_of_convex_solids_point_away_from_all_other_points(drawn, family):
    for shape in of(drawn, family):
        reach = np.einsum("nc,nmc->nm", shape.normals, shape.points[None] - shape.points[:, None])
        assert reach.max() < 2e-3


@pytest.mark.parametrize("family", ["torus", "helix", "mug", "bowl", "star", "table", "bottle"])
def test_normals_are_orthogonal_to_the_surface(drawn, family):
    for shape in of(drawn, family):
        gaps = np.linalg.norm(shape.points[:, None] - shape.points[None], axis=-1)
        np.fill_diagonal(gaps, 9)
        nearest = gaps.argmin(1)
        edge = shape.points[nearest] - shape.points
        same = (shape.normals[nearest] * shape.normals).sum(-1) > 0.9
        tilt = abs((edge * shape.normals).sum(-1)) / gaps.min(1)
        assert np.median(tilt[same]) < 0.25


def test_points_are_uniform_in_area(drawn):
    for shape in of(drawn, "box"):
        # On a box the faces are told by the normal, and their areas by the extents.
        extent = np.ptp(shape.points, axis=0)
        axis = abs(shape.normals).argmax(1)
        area = np.array([extent[1] * extent[2], extent[0] * extent[2], extent[0] * extent[1]])
        np.testing.assert_allclose(np.bincount(axis) / NUM, area / area.sum(), atol=0.02)
    for shape in of(drawn, "cone"):
        side = abs(shape.normals[:, 2]) < 0.95
        height = np.sort(shape.points[side, 2])
        # The area below a height on a frustum is quadratic in it: compare the median.
        low, high = height.min(), height.max()
        radii = [
            np.linalg.norm(shape.points[side & (abs(shape.points[:, 2] - z) < 0.1), :2], axis=1)
            for z in (low + 0.05, high - 0.05)
        ]
        radii = [around.mean() for around in radii]
        share = (height < (low + high) / 2).mean()
        expected = (0.75 * radii[0] + 0.25 * radii[1]) / (radii[0] + radii[1])
        np.testing.assert_allclose(share, expected, atol=0.06)


def test_composite_families_have_their_parts(drawn):
    counts = {family: len(np.unique(of(drawn, family)[0].part)) for family in FAMILIES}
    expected = {"bowl": 2, "table": 2, "chair": 3, "mug": 2, "lamp": 3, "cross": 3, "bottle": 2}
    assert counts == {family: expected.get(family, 1) for family in FAMILIES}


def test_the_helix_turns_one_way(drawn):
    """All families but this one have a mirror plane."""
    for shape in of(drawn, "helix"):
        # The normal shows where the tube's center is; rising, the center turns counter-clockwise.
        flat = abs(shape.normals[:, 2]) < 0.3
        points = shape.points[flat]
        angle, height = np.arctan2(points[:, 1], points[:, 0]), points[:, 2]
        phases = [
            abs(np.exp(1j * (angle - handed * np.outer(np.linspace(4, 14, 400), height))).mean(1))
            for handed in (1, -1)
        ]
        assert phases[0].max() > 2 * phases[1].max()


def test_another_key_draws_other_solids_and_the_same_key_the_same():
    sample = jax.jit(functools.partial(shapes.sample_shape, family="torus", num_points=64))
    first, again, other = (sample(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.points, again.points)
    assert abs(first.points - other.points).max() > 0.1


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"family must be one of ellipsoid, .* got 'teapot'"):
        shapes.sample_shape(jax.random.key(0), "teapot", 8)
    with pytest.raises(ValueError, match="num_points must be positive, got 0"):
        shapes.sample_shape(jax.random.key(0), "box", 0)
    with pytest.raises(ValueError, match="per_family must be positive, got 0"):
        shapes.shape_dataset(jax.random.key(0), 0, 8)
