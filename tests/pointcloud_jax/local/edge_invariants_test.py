"""Lengths and angles at an edge against float64, under rotation, reflection and at zero."""

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pointcloud_jax.local.edge_invariants import edge_angles


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


describe = jax.jit(lambda v: edge_angles(v, chirality=True))


def test_lengths_and_angles_are_those_of_float64():
    vectors = draw(5, 4, 3)
    length = np.linalg.norm(vectors.astype(float), axis=-1)
    unit = vectors / np.sqrt(length**2 + 0.05**2)[..., None]
    rows, columns = np.triu_indices(4, 1)
    angles = np.einsum("bic,bjc->bij", unit, unit)[:, rows, columns]
    triple = np.linalg.det(unit[:, :3])[:, None]
    expected = np.concatenate([length, angles, triple], 1)
    np.testing.assert_allclose(describe(vectors), expected, atol=1e-5)


def test_rotations_change_nothing_and_reflections_the_sign_of_the_last():
    vectors = draw(5, 4, 3)
    turn = Rotation.random(random_state=0).as_matrix().astype(np.float32)
    before = np.asarray(describe(vectors))
    np.testing.assert_allclose(describe(vectors @ turn), before, atol=1e-5)
    mirrored = np.asarray(describe(vectors * np.float32([1, 1, -1])))
    np.testing.assert_allclose(mirrored[:, :-1], before[:, :-1], atol=1e-6)
    np.testing.assert_allclose(mirrored[:, -1], -before[:, -1], atol=1e-6)


def test_one_of_them_rotating_alone_is_seen():
    """Negative control."""
    vectors = draw(5, 4, 3)
    turned = vectors.copy()
    turned[:, 0] = turned[:, 0] @ Rotation.random(random_state=0).as_matrix()
    assert abs(describe(turned) - describe(vectors)).max() > 0.1


def test_zero_vectors_have_finite_gradients_and_short_ones_no_direction():
    gradient = jax.jit(jax.grad(lambda v: describe(v).sum()))
    assert np.isfinite(gradient(np.zeros((1, 3, 3), np.float32))).all()
    short = draw(1, 3, 3)
    short[:, 0] *= 1e-4
    assert abs(describe(short)[0, 3:5]).max() < 0.01


def test_a_triple_product_needs_three_vectors(unchecked):
    with pytest.raises(ValueError, match="vectors must be at least 3 with chirality, got 2"):
        edge_angles(jax.numpy.asarray(draw(1, 2, 3)), chirality=True)
