"""The hierarchical encoder: invariance with its controls, masks, densities, gradients."""

import dataclasses
import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pointcloud_jax.nn.hierarchy import HierarchicalEncoder, HierarchyConfig
from pointcloud_jax.testing import assert_invariant, random_clouds

CONFIG = HierarchyConfig((12, 6), (1 / 4, 1 / 3), (8, 8), 4, (1 / 3,), embedding=8)
HANDED = dataclasses.replace(CONFIG, chirality=True, normals=True)


def described(config):
    """Description in evaluation, as a compiled function."""

    @functools.cache
    def ready():
        graph, state = nnx.split(HierarchicalEncoder(config, rngs=nnx.Rngs(0)))

        @jax.jit
        def call(points, normals, mask):
            encoder = nnx.merge(graph, state, copy=True)
            return tuple(encoder.describe(points, normals=normals, mask=mask))

        return call

    return lambda points, normals=None, mask=None: ready()(points, normals, mask)


plain, handed = described(CONFIG), described(HANDED)


@hypothesis.settings(max_examples=5)
@hypothesis.given(st.integers(0, 2**31 - 1))
def test_features_are_invariant(seed):
    key = jax.random.key(seed)
    points = random_clouds(key, 2, 24)
    assert_invariant(
        lambda x: plain(x)[1],
        key,
        points=points,
        under=("rotation", "reflection", "translation", "permutation"),
        draws=1,
    )
    assert_invariant(
        lambda x: plain(x)[0],
        key,
        points=points,
        under=("rotation", "permutation"),
        per_point=True,
        draws=1,
    )


def test_mirror_images_differ_if_asked_to_and_only_then(key):
    points, normals = random_clouds(key, 2, 24), random_clouds(jax.random.key(1), 2, 24)
    check = functools.partial(
        assert_invariant, lambda x, n: handed(x, n)[1], key, points=points, normals=normals
    )
    check(under=("rotation", "translation", "permutation"))
    with pytest.raises(AssertionError, match="under reflection"):
        check(under=("reflection",), tolerance=1e-3)


def test_an_encoder_of_coordinates_fails_the_same_comparison(key):
    """Negative control: the same features of one coordinate in place of a length."""
    with pytest.raises(AssertionError, match="under rotation"):
        assert_invariant(lambda x: plain(x)[1] + 1e-2 * x[:, :1, 0], key)


def test_padding_changes_nothing(key):
    points = random_clouds(key, 2, 32)
    mask = jnp.arange(32)[None] < jnp.array([[24], [24]])
    spoiled = jnp.where(mask[..., None], points, 1e3)
    padded, sliced = plain(spoiled, None, mask), plain(points[:, :24])
    np.testing.assert_allclose(padded[1], sliced[1], atol=1e-4)
    np.testing.assert_allclose(padded[0][:, :24], sliced[0], atol=1e-4)


def test_more_points_of_one_shape_change_less_than_another_shape():
    """Spheres with a hole, in the mean of eight; the control is a smaller cap."""

    def spheres(num, seed, low):
        points = np.random.default_rng(seed).normal(size=(8, 8 * num, 3)).astype(np.float32)
        points /= np.linalg.norm(points, axis=-1, keepdims=True)
        return np.stack([cloud[cloud[:, 2] > low][:num] for cloud in points])

    few, many, other = (
        np.mean(plain(jnp.asarray(spheres(*args)))[1], 0)
        for args in ((128, 0, -0.5), (512, 1, -0.5), (128, 2, 0.0))
    )
    assert np.linalg.norm(few - many) < 0.5 * np.linalg.norm(few - other)


@pytest.mark.parametrize("kind", ["plain", "equal", "few", "none"])
def test_training_has_finite_gradients_and_every_parameter_learns(kind, key):
    graph, params, rest = nnx.split(HierarchicalEncoder(CONFIG, rngs=nnx.Rngs(0)), nnx.Param, ...)

    @jax.jit
    def step(params, points, mask):
        def loss(params, points):
            encoder = nnx.merge(graph, params, rest, copy=True)
            point, cloud = encoder.describe(points, mask=mask, train=True)
            return jnp.square(cloud).mean() + jnp.square(point[:, ::3]).mean()

        return jax.value_and_grad(loss, argnums=(0, 1))(params, points)

    points = random_clouds(key, 2, 24)
    if kind == "equal":
        points = jnp.full_like(points, 0.3)
    mask = jnp.arange(24)[None] < jnp.full((2, 1), {"few": 3, "none": 0}.get(kind, 24))
    value, (by_parameter, by_point) = step(params, points, mask)
    for leaf in jax.tree.leaves((value, by_parameter, by_point)):
        assert np.isfinite(leaf).all()
    if kind == "plain":
        assert by_point.any()
        for path, leaf in jax.tree_util.tree_leaves_with_path(by_parameter):
            assert abs(leaf).max() > 1e-6, jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": (8,)}, "one entry a level"),
        ({"shares": (0.5, 0.0)}, r"shares must be in \(0, 1\]"),
        ({"surfaces": (2.0,)}, r"surfaces must be in \(0, 1\]"),
        ({"edges": 0}, "must be positive"),
    ],
)
def test_bad_configurations_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)
