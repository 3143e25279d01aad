"""Local dot products against float64, under rotation, reflection, permutation and masks."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pointcloud_jax import local

EVERY = np.ones((2, 5, 4), bool)
FEW = np.arange(4)[None, None] < np.array([[4], [2], [1], [0], [3]])[None]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@jax.jit
def products(centers, offsets, mask):
    return local.l2dp(centers, offsets, chirality=True, mask=mask)


def pools(features, distances, mask):
    return {
        "ordered": local.flatten_ordered(features, mask=mask),
        "statistics": local.edge_statistics(features, mask=mask),
        "radial": local.radial_pool(features, distances, mask=mask),
    }


pool = jax.jit(pools)


def test_products_agree_with_float64():
    centers, offsets = draw(2, 5, 4, 3, 3), draw(2, 5, 4, 3, 3, seed=1)
    value = products(centers, offsets, np.broadcast_to(FEW, (2, 5, 4)))
    c, d = centers.astype(float), offsets.astype(float)
    np.testing.assert_allclose(value[..., :3], (c * d).sum(-1), atol=1e-5)
    np.testing.assert_allclose(value[..., 3:6], (c * c).sum(-1), atol=1e-5)
    mean = (FEW[..., None, None] * d).sum(2, keepdims=True)
    mean /= np.maximum(FEW.sum(-1), 1)[..., None, None, None]
    triple = np.linalg.det(np.stack(np.broadcast_arrays(c, d, mean), -2))
    np.testing.assert_allclose(value[..., 6:], triple, atol=1e-5)


@hypothesis.given(st.integers(0, 2**31 - 1))
def test_products_survive_rotations_and_the_triple_one_sees_reflections(seed):
    centers, offsets = draw(2, 5, 4, 3, 3, seed=seed), draw(2, 5, 4, 3, 3, seed=seed + 1)
    turn = Rotation.random(random_state=seed).as_matrix().astype(np.float32)
    before = products(centers, offsets, EVERY)
    after = products(centers @ turn, offsets @ turn, EVERY)
    np.testing.assert_allclose(after, before, atol=3e-5)
    mirror = np.float32([1, 1, -1])
    mirrored = products(centers * mirror, offsets * mirror, EVERY)
    np.testing.assert_allclose(mirrored[..., :6], before[..., :6], atol=1e-5)
    np.testing.assert_allclose(mirrored[..., 6:], -before[..., 6:], atol=1e-5)


def test_only_one_of_them_turning_is_seen():
    """Negative control."""
    centers, offsets = draw(2, 5, 4, 3, 3), draw(2, 5, 4, 3, 3, seed=1)
    turn = Rotation.random(random_state=0).as_matrix().astype(np.float32)
    change = products(centers, offsets @ turn, EVERY) - products(centers, offsets, EVERY)
    assert abs(change).max() > 0.1


def test_pools_agree_with_float64_and_ignore_absent_neighbors():
    features, distances = draw(2, 5, 4, 3), abs(draw(2, 5, 4, seed=1))
    mask = np.broadcast_to(FEW, (2, 5, 4))
    spoiled = np.where(mask[..., None], features, np.float32(1e4))
    value = pool(spoiled, np.where(mask, distances, np.float32(1e4)), mask)
    for batch in range(2):
        for row, count in enumerate((4, 2, 1, 0, 3)):
            present = features[batch, row, :count].astype(float)
            found = {name: np.asarray(v[batch, row]) for name, v in value.items()}
            if count == 0:
                assert not any(v.any() for v in found.values())
                continue
            statistics = np.concatenate([present.max(0), present.mean(0), present.var(0)])
            np.testing.assert_allclose(found["statistics"], statistics, atol=1e-5)
            ordered = np.pad(present.ravel(), (0, 3 * (4 - count)))
            np.testing.assert_allclose(found["ordered"], ordered, atol=1e-6)
            relative = distances[batch, row, :count] / distances[batch, row, :count].mean()
            shell = np.exp(-0.5 * (relative[:, None] * 1.5 - np.arange(4)) ** 2)
            radial = (shell.T @ present) / shell.sum(0)[:, None]
            np.testing.assert_allclose(found["radial"], radial.ravel(), atol=1e-4)


def test_the_order_of_neighbors_matters_to_the_projection_alone():
    features, distances = draw(2, 5, 4, 3), abs(draw(2, 5, 4, seed=1))
    before = pool(features, distances, EVERY)
    after = pool(features[:, :, ::-1], distances[:, :, ::-1], EVERY)
    np.testing.assert_allclose(after["statistics"], before["statistics"], atol=1e-5)
    np.testing.assert_allclose(after["radial"], before["radial"], atol=1e-5)
    assert abs(after["ordered"] - before["ordered"]).max() > 0.1


def test_shells_of_distance_do_not_depend_on_scale():
    features, distances = draw(2, 5, 4, 3), abs(draw(2, 5, 4, seed=1))
    before = pool(features, distances, EVERY)["radial"]
    np.testing.assert_allclose(pool(features, 7 * distances, EVERY)["radial"], before, atol=1e-5)


def test_bad_arguments_are_named(unchecked):
    good = jnp.zeros((2, 5, 4, 3, 3))
    with pytest.raises(ValueError, match="offsets must have shape"):
        local.l2dp(good, good[..., :2])
    with pytest.raises(ValueError, match="centers must have the axes of the offsets"):
        local.l2dp(good[:, :, 0], good)
    with pytest.raises(ValueError, match="num_bins must be at least 2, got 1"):
        local.radial_pool(good[..., 0], good[..., 0, 0], num_bins=1)
