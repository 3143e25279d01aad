"""Neighborhoods against float64 searches, with masks, ties, blocks and rotations."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from pointcloud_jax.geometry import graph

knn = jax.jit(graph.knn, static_argnums=1, static_argnames="exclude_self")
fps = jax.jit(graph.farthest_point_sampling, static_argnums=1)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("dim", [3, 40])
@pytest.mark.parametrize("exclude_self", [False, True])
def test_neighbors_agree_with_a_search_in_float64(dim, exclude_self):
    points = draw(2, 50, dim) + 3
    found = knn(points, 7, exclude_self=exclude_self)
    assert found.mask.all()
    for cloud, indices in zip(points.astype(float), found.indices, strict=True):
        expected = KDTree(cloud).query(cloud, 8)[1][:, int(exclude_self) :][:, :7]
        np.testing.assert_array_equal(indices, expected)


@hypothesis.given(st.integers(0, 2**31 - 1))
def test_neighbors_turn_with_the_cloud(seed):
    points = draw(2, 50, 3, seed=seed)
    turned = points @ Rotation.random(random_state=seed).as_matrix().T.astype(np.float32)
    np.testing.assert_array_equal(knn(points, 7).indices, knn(turned, 7).indices)


def test_far_from_the_origin_the_expanded_formula_alone_would_fail():
    """Negative control, and the reason for the second pass."""
    points = draw(1, 50, 40) * 0.01 + 3
    expanded = (points**2).sum(-1)[:, None] - 2 * points @ points.swapaxes(1, 2)
    wrong = np.argsort(expanded, axis=-1, kind="stable")[..., :7]
    found = np.asarray(knn(points, 7).indices)
    exact = KDTree(points[0].astype(float)).query(points[0], 7)[1]
    np.testing.assert_array_equal(found[0], exact)
    assert (wrong[0] != exact).any()


@pytest.mark.parametrize("dim", [3, 40])
def test_a_mask_equals_slicing(dim):
    points = draw(2, 50, dim)
    mask = np.broadcast_to(np.arange(50) < 30, (2, 50))
    points[~mask] = 7e3
    found = knn(points, 7, exclude_self=True, mask=mask)
    sliced = knn(points[:, :30], 7, exclude_self=True)
    np.testing.assert_array_equal(found.indices[:, :30], sliced.indices)
    assert found.mask[:, :30].all()


def test_too_few_points_leave_masked_slots_that_are_safe_to_gather():
    points = draw(1, 10, 3)
    two = np.arange(10)[None] < 2
    found = knn(points, 4, exclude_self=True, mask=two)
    np.testing.assert_array_equal(found.indices[0, :2], [[1] * 4, [0] * 4])
    np.testing.assert_array_equal(found.mask[0, :2], [[True, False, False, False]] * 2)
    one = knn(points, 4, exclude_self=True, mask=np.arange(10)[None] < 1)
    assert not one.mask[0, 0].any()
    assert (one.indices[0, 0] == 0).all()


@pytest.mark.parametrize("dim", [3, 40])
def test_ties_go_to_the_lower_index(dim):
    found = knn(np.ones((1, 12, dim), np.float32), 5)
    np.testing.assert_array_equal(found.indices[0], np.tile(np.arange(5), (12, 1)))


@pytest.mark.parametrize("dim", [3, 40])
def test_blocks_change_nothing(dim, monkeypatch):
    points = draw(2, 50, dim)
    monkeypatch.setattr(graph, "_BLOCK_ELEMENTS", 700)
    found = jax.jit(functools.partial(graph.knn, k=7, exclude_self=True))(points)
    np.testing.assert_array_equal(found.indices, knn(points, 7, exclude_self=True).indices)


@pytest.mark.parametrize("dim", [3, 40])
def test_pieces_change_nothing(dim, monkeypatch):
    points, mask = draw(2, 50, dim), np.broadcast_to(np.arange(50) < 33, (2, 50))
    points[:, 20:30] = points[:, :10]  # ties
    whole = knn(points, 7, exclude_self=True, mask=mask)
    monkeypatch.setattr(graph, "_CPU_PAIRS", 1)
    find = jax.jit(functools.partial(graph.knn, k=7, exclude_self=True))
    lowered = find.lower(points, mask=mask)
    assert lowered.as_text().count("chlo.top_k") > 1 or jax.default_backend() != "cpu"
    found = lowered.compile()(points, mask=mask)
    np.testing.assert_array_equal(found.indices, whole.indices)
    np.testing.assert_array_equal(found.mask, whole.mask)


def test_memory_is_linear_in_the_number_of_points():
    def temporary(num):
        shape = jax.ShapeDtypeStruct((num, 3), jnp.float32)
        lowered = jax.jit(functools.partial(graph.knn, k=16)).lower(shape)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporary(40_000) < 5 * 4 * graph._BLOCK_ELEMENTS  # the square would be 6.4 GB


def test_a_ball_holds_the_points_within_its_radius():
    centers, points = draw(2, 6, 3), draw(2, 40, 3, seed=1)
    mask = np.broadcast_to(np.arange(40) < 33, (2, 40))
    query = jax.jit(functools.partial(graph.ball_query, radius=0.9, k=5))
    found = query(centers, points, mask=mask)
    for batch in range(2):
        distance = np.linalg.norm(centers[batch, :, None] - points[batch, None, :33], axis=-1)
        for row in range(6):
            order = np.argsort(distance[row])[:5]
            expected = order[distance[row][order] <= 0.9]
            exists = np.asarray(found.mask[batch, row])
            np.testing.assert_array_equal(found.indices[batch, row][exists], expected)
            assert (found.indices[batch, row][~exists] == order[0]).all()
    assert not found.mask.all()


def test_neighbors_between_clouds_and_what_they_interpolate():
    queries, points, values = draw(2, 6, 3), draw(2, 40, 3, seed=1), draw(2, 40, 2, seed=2)
    mask = np.broadcast_to(np.arange(40) < 33, (2, 40))
    found = jax.jit(functools.partial(graph.knn_between, k=5))(queries, points, mask=mask)
    value = jax.jit(graph.interpolate)(values, points, queries, mask=mask)
    for batch in range(2):
        distance = np.linalg.norm(
            queries[batch, :, None].astype(float) - points[batch, None, :33], axis=-1
        )
        order = np.argsort(distance, axis=1)[:, :5]
        np.testing.assert_array_equal(found.indices[batch], order)
        weights = 1 / (np.take_along_axis(distance, order[:, :3], 1) ** 2 + 1e-8)
        weights /= weights.sum(1, keepdims=True)
        expected = (weights[..., None] * values[batch, order[:, :3]]).sum(1)
        np.testing.assert_allclose(value[batch], expected, atol=1e-5)
    at_points = jax.jit(graph.interpolate)(values, points, points)
    np.testing.assert_allclose(at_points, values, atol=1e-4)
    nothing = jax.jit(graph.interpolate)(values, points, queries, mask=np.zeros((2, 40), bool))
    assert not nothing.any()


def test_gathering_follows_each_clouds_own_indices():
    values, indices = draw(2, 10, 4, 3), np.random.default_rng(0).integers(0, 10, (2, 6, 5))
    expected = np.stack([cloud[i] for cloud, i in zip(values, indices, strict=True)])
    np.testing.assert_array_equal(graph.gather(jnp.asarray(values), jnp.asarray(indices)), expected)


def test_farthest_points_are_those_of_the_plain_loop():
    points = draw(2, 50, 3)
    found = fps(points, 12)
    for cloud, indices in zip(points.astype(float), found, strict=True):
        chosen = [np.linalg.norm(cloud - cloud.mean(0), axis=1).argmax()]
        while len(chosen) < 12:
            distance = np.linalg.norm(cloud[:, None] - cloud[chosen], axis=-1).min(1)
            chosen.append(distance.argmax())
        np.testing.assert_array_equal(indices, chosen)


@hypothesis.given(st.integers(0, 2**31 - 1))
def test_farthest_points_follow_rotation_and_permutation(seed):
    points = draw(2, 50, 3, seed=seed)
    order = np.random.default_rng(seed).permutation(50)
    moved = points[:, order] @ Rotation.random(random_state=seed).as_matrix().T.astype(np.float32)
    np.testing.assert_array_equal(order[fps(moved, 12)], fps(points, 12))


def test_absent_points_are_never_chosen_and_few_points_repeat():
    points, mask = draw(2, 50, 3), np.broadcast_to(np.arange(50) < 30, (2, 50))
    points[~mask] = 99.0
    np.testing.assert_array_equal(fps(points, 12, mask=mask), fps(points[:, :30], 12))
    few = np.asarray(fps(points, 12, mask=np.broadcast_to(np.arange(50) < 4, (2, 50))))
    assert (few < 4).all()
    assert all(set(row[:4]) == {0, 1, 2, 3} for row in few.tolist())
    assert not fps(points, 12, mask=np.zeros((2, 50), bool)).any()


def test_bad_arguments_are_named(unchecked):
    points = draw(2, 5, 3)
    with pytest.raises(
        ValueError, match=r"k must be between 1 and the 4 possible neighbors, got 5"
    ):
        graph.knn(points, 5, exclude_self=True)
    with pytest.raises(ValueError, match="k must be between 1 and the 5 points, got 6"):
        graph.ball_query(points, points, 1.0, 6)
    with pytest.raises(ValueError, match="k must be between 1 and the 5 points, got 6"):
        graph.knn_between(points, points, 6)
    with pytest.raises(ValueError, match="radius must be positive, got 0"):
        graph.ball_query(points, points, 0.0, 2)
    with pytest.raises(ValueError, match="centers must have 3 coordinates"):
        graph.ball_query(points[..., :2], points, 1.0, 2)
    with pytest.raises(ValueError, match="num must be between 1 and the 5 points, got 9"):
        graph.farthest_point_sampling(points, 9)
    with pytest.raises(ValueError, match=r"values must have the leading axes \(2,\)"):
        graph.gather(jnp.zeros((3, 5)), jnp.zeros((2, 5, 1), jnp.int32))
    with pytest.raises(ValueError, match=r"first in cloud \(0,\)"):
        graph.knn(np.full_like(points, np.nan), 2)
