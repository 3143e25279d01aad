"""Rotations against scipy, their group laws, and the uniformity of the draws."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pointcloud_jax.geometry import rotations

to_matrix = jax.jit(rotations.quaternion_to_matrix)
to_quaternion = jax.jit(rotations.matrix_to_quaternion)
axis_angle = jax.jit(rotations.matrix_to_axis_angle)
about = jax.jit(rotations.rotation_about)
rotate = jax.jit(rotations.rotate)
small = jax.jit(rotations.random_small_rotation, static_argnums=(1, 2))
around = jax.jit(rotations.random_rotation_about, static_argnums=2)
uniform = jax.jit(rotations.random_rotation, static_argnums=1)


@hypothesis.given(st.integers(0, 2**31 - 1))
def test_quaternions_matrices_axes_and_angles_agree_with_scipy(seed):
    expected = Rotation.random(7, seed)
    matrix = to_matrix(jnp.asarray(expected.as_quat(scalar_first=True), jnp.float32))
    np.testing.assert_allclose(matrix, expected.as_matrix(), atol=1e-6)
    np.testing.assert_allclose(
        to_quaternion(matrix), expected.as_quat(canonical=True, scalar_first=True), atol=1e-5
    )
    axis, angle = axis_angle(matrix)
    np.testing.assert_allclose(angle, expected.magnitude(), atol=1e-5)
    np.testing.assert_allclose(about(axis, angle), matrix, atol=1e-5)


@hypothesis.given(
    st.sampled_from([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -2, 3]]), st.floats(-4, 4)
)
def test_half_turns_and_tiny_angles_survive_the_round_trip(axis, offset):
    for angle in (np.pi - 1e-3 * offset, 1e-4 * offset, 0.0):
        rotation = about(jnp.asarray(axis, jnp.float32), jnp.float32(angle))
        expected = Rotation.from_rotvec(np.asarray(axis) / np.linalg.norm(axis) * angle)
        np.testing.assert_allclose(rotation, expected.as_matrix(), atol=1e-6)
        np.testing.assert_allclose(axis_angle(rotation)[1], expected.magnitude(), atol=1e-6)
        np.testing.assert_allclose(to_matrix(to_quaternion(rotation)), rotation, atol=1e-6)


def test_random_rotations_are_uniform_on_the_group(key):
    drawn = np.asarray(uniform(key, (4000,)))
    np.testing.assert_allclose(np.linalg.det(drawn), 1, atol=1e-5)
    # Irreducible characters average to zero: tr R, and tr R^2 + ... for the next degrees.
    cosine = (np.trace(drawn, axis1=1, axis2=2) - 1) / 2
    angle = np.arccos(np.clip(cosine, -1, 1))
    for degree in (1, 2, 3):
        character = sum(np.cos(m * angle) for m in range(-degree, degree + 1))
        assert abs(character.mean()) < 4 / np.sqrt(4000)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=4 / np.sqrt(3 * 4000))


def test_a_matrix_of_orthogonal_columns_alone_would_mirror(key):
    """Negative control: uniform orthogonal matrices are reflections half of the time."""
    q, r = np.linalg.qr(np.asarray(jax.random.normal(key, (50, 3, 3))))
    reflected = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(np.linalg.det(reflected), 1, atol=1e-5)


def test_rotations_about_an_axis_keep_it_and_spread_over_the_circle(key):
    axis = jnp.array([1.0, 2.0, -2.0])
    drawn = around(key, axis, (2000,))
    np.testing.assert_allclose(
        np.asarray(drawn) @ axis, np.broadcast_to(axis, (2000, 3)), atol=1e-5
    )
    np.testing.assert_allclose(np.mean(drawn, 0), np.outer(axis, axis) / 9, atol=0.07)


def test_small_rotations_stay_small_and_reach_their_limit(key):
    angle = np.asarray(axis_angle(small(key, 0.3, (500,)))[1])
    assert 0.28 < angle.max() <= 0.3001
    np.testing.assert_allclose(angle.mean(), 0.15, atol=0.02)


def test_each_cloud_turns_by_its_own_rotation(key):
    points = jax.random.normal(key, (2, 3, 5, 3))
    drawn = uniform(key, (2, 3))
    expected = np.einsum("abij,abnj->abni", drawn, points)
    np.testing.assert_allclose(rotate(points, drawn), expected, atol=1e-5)
    one = rotate(points, drawn[0, 0])
    np.testing.assert_allclose(one[0, 0], expected[0, 0], atol=1e-5)
    assert rotate(points.astype(jnp.bfloat16), drawn).dtype == jnp.bfloat16


def test_gradients_are_finite_at_the_identity_and_at_a_zero_axis():
    identity = jnp.eye(3)
    assert np.isfinite(jax.jit(jax.grad(rotations.rotation_angle))(identity)).all()
    slope = jax.jit(jax.grad(lambda a: rotations.rotation_about(a, jnp.float32(1.0)).sum()))
    assert np.isfinite(slope(jnp.zeros(3))).all()
    np.testing.assert_array_equal(about(jnp.zeros(3), jnp.float32(0)), identity)


def test_bad_arguments_are_named(key, unchecked):
    with pytest.raises(ValueError, match=r"max_angle must be in \[0, pi\] radians, got 4"):
        rotations.random_small_rotation(key, 4.0)
    with pytest.raises(ValueError, match=r"leading axes \(2,\) of the vectors, got \(5, 3, 3\)"):
        rotations.rotate(jnp.zeros((2, 4, 3)), jnp.zeros((5, 3, 3)))
