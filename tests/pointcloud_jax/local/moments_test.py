"""Moments of neighborhoods against float64, on planes and lines, under rotation, at zero."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from pointcloud_jax.local.moments import (
    local_moments,
    moment_invariants,
    surface_tensor,
    tensor_invariants,
)

MASK = jnp.arange(6)[None] < jnp.array([[6], [4], [1], [0]])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@jax.jit
def describe(points, offsets):
    moments = local_moments(offsets, mask=MASK)
    tensor = surface_tensor(moments.covariance)
    edges = tensor_invariants(offsets, tensor[:, None], jnp.roll(tensor, 1, 0)[:, None])
    return moment_invariants(points, moments), edges


def test_moments_are_those_of_float64():
    offsets = draw(4, 6, 3)
    found = local_moments(jnp.asarray(offsets), mask=MASK)
    for row, exists, size, mean, covariance in zip(offsets, MASK, *found, strict=True):
        own = row[np.asarray(exists)].astype(float)
        if not len(own):
            assert not mean.any()
            continue
        scale = np.sqrt(np.square(own).sum(1).mean())
        own = own / scale
        weights = np.exp(-0.5 * np.square(own).sum(1))
        weights /= weights.sum()
        np.testing.assert_allclose(size, scale, rtol=1e-5)
        np.testing.assert_allclose(mean, weights @ own, atol=1e-5)
        second = np.einsum("k,ka,kb->ab", weights, own, own)
        np.testing.assert_allclose(covariance, second - np.outer(mean, mean), atol=1e-5)


def test_rotation_and_reflection_change_nothing_and_a_part_turning_alone_does():
    points, offsets = draw(4, 3), draw(4, 6, 3, seed=1)
    turn = Rotation.random(random_state=0).as_matrix().astype(np.float32)
    before = describe(points, offsets)
    for change in (turn, -turn):
        for one, other in zip(before, describe(points @ change, offsets @ change), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    alone = describe(points @ turn, offsets)[0]
    assert np.abs(alone[0] - before[0][0]).max() > 1e-2


def test_edges_of_planes_tell_the_angles_of_their_normals():
    flat = np.diag([1.0, 1.0, 0.0]).astype(np.float32)
    for angle in (0.0, 0.4, 1.5):
        turn = Rotation.from_rotvec([angle, 0, 0]).as_matrix().astype(np.float32)
        edge = np.array([0.0, 1.0, 0.0], np.float32)
        tilted = surface_tensor(jnp.asarray(turn @ flat @ turn.T))
        here, there, both = tensor_invariants(
            jnp.asarray(edge), surface_tensor(jnp.asarray(flat)), tilted
        )
        # Normals are at the angle to each other, and pi/2 and pi/2 + angle to the edge.
        expected = [0.5, 0.5 * np.cos(angle) ** 2, 0.25 * (1 + np.cos(angle) ** 2)]
        np.testing.assert_allclose([here, there, both], expected, atol=1e-2)


def test_gradients_are_finite_where_points_coincide():
    def total(points, offsets):
        return sum(jnp.square(x).sum() for x in describe(points, offsets))

    for scale in (0.0, 1.0):
        gradient = jax.grad(total, argnums=(0, 1))(scale * draw(4, 3), scale * draw(4, 6, 3))
        assert all(np.isfinite(leaf).all() for leaf in gradient)
