"""The checks find what they are for, and let pass what is as it should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointcloud_jax import testing

KEY = jax.random.key(0)


def distances(points):
    """All pairs: invariant under all of O(3), translation, and in the mean under permutation."""
    return jnp.sqrt(jnp.square(points[:, :, None] - points[:, None]).sum(-1) + 1e-12)


def radii(points):
    return jnp.linalg.norm(points - points.mean(1, keepdims=True), axis=-1)


def handed(points):
    """Changes its sign in a mirror."""
    return jnp.linalg.det(points[:, :3]) + jnp.linalg.det(points[:, 3:6])


EVERYTHING = ("rotation", "reflection", "translation", "permutation")


def test_what_is_invariant_passes():
    testing.assert_invariant(lambda x: distances(x).mean((1, 2)), KEY, under=EVERYTHING)
    testing.assert_invariant(radii, KEY, under=EVERYTHING, per_point=True)
    testing.assert_invariant(handed, KEY)
    shape = lambda x: {"shape": radii(x) / radii(x).max(1, keepdims=True)}  # noqa: E731
    testing.assert_invariant(shape, KEY, under=("scale", "rotation"))
    testing.assert_equivariant(lambda x: x.mean(1), KEY)
    testing.assert_equivariant(lambda x: jnp.cross(x[:, 0], x[:, 1]), KEY, reflections=False)


@pytest.mark.parametrize(
    ("function", "change"),
    [
        (lambda x: jnp.abs(x).sum((1, 2)), "rotation"),
        (handed, "reflection"),
        (lambda x: jnp.linalg.norm(x, axis=-1), "translation"),
        (radii, "permutation"),
        (lambda x: distances(x).mean((1, 2)), "scale"),
    ],
)
def test_what_is_not_is_found(function, change):
    """Negative controls: one for each change, which passes no other way."""
    with pytest.raises(AssertionError, match=rf"under {change} the result changes by"):
        testing.assert_invariant(function, KEY, under=(change,))


def test_what_is_invariant_to_some_digits_is_found():
    def leaks(points):
        return radii(points).max(1) + 1e-3 * points[:, 0, 0]

    with pytest.raises(AssertionError, match="under rotation"):
        testing.assert_invariant(leaks, KEY)
    testing.assert_invariant(leaks, KEY, tolerance=0.1)


def test_vectors_that_do_not_rotate_along_are_found():
    with pytest.raises(AssertionError, match="under rotation the result is off from its rotation"):
        testing.assert_equivariant(lambda x: jnp.maximum(x, 0), KEY)
    with pytest.raises(AssertionError, match="under reflection"):
        testing.assert_equivariant(lambda x: jnp.cross(x[:, 0], x[:, 1]), KEY)


def test_constants_and_nan_do_not_pass():
    with pytest.raises(AssertionError, match="does not depend on the cloud"):
        testing.assert_invariant(lambda x: jnp.ones(3), KEY)
    with pytest.raises(AssertionError, match="not finite"):
        testing.assert_invariant(lambda x: np.asarray(x) * np.nan, KEY)


def test_normals_rotate_with_the_points():
    points = testing.random_clouds(KEY)

    def angles(points, normals):
        return (points * normals).sum(-1)

    testing.assert_invariant(angles, KEY, points=points, normals=points[:, ::-1])
    with pytest.raises(AssertionError, match="under translation"):
        testing.assert_invariant(
            angles, KEY, points=points, normals=points[:, ::-1], under=("translation",)
        )


def test_unknown_changes_are_named():
    with pytest.raises(ValueError, match=r"under must be one of rotation, .* got 'turn'"):
        testing.assert_invariant(radii, KEY, under=("turn",))
