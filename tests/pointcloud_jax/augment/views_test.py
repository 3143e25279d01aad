"""Views of clouds: what they keep, how they turn, that the seed and the index alone decide."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.augment.draws import example_keys
from pointcloud_jax.augment import views as augment
from pointcloud_jax.augment.view_sets import CLOUD_VIEW_SETS, cloud_views_by_name
from pointcloud_jax.augment.views import PointViewSpec

SPECS = (
    PointViewSpec(count=2, num_points=20),
    PointViewSpec(
        count=2,
        num_points=12,
        crop=(0.4, 0.6),
        dropout=(0.1, 0.3),
        rotation="so3",
        tilt=0.1,
        scale=(0.5, 0.5),
        shift=0.1,
    ),
    PointViewSpec(count=1, num_points=30, rotation="axis", up=(0.0, 1.0, 0.0), jitter=0.01),
    PointViewSpec(count=1, num_points=30, occlusion=1.0, cut=(0.2, 0.2)),
)
make = jax.jit(augment.make_point_views, static_argnums=2)


def cloud(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 3)).astype(np.float32)


def views(points, mask, seed=0, first=0):
    keys = example_keys(jax.random.key(seed), jnp.arange(first, first + len(points)))
    return make(keys, points, SPECS, normals=points, mask=mask)


def test_a_plain_view_is_a_random_subset():
    points, mask = cloud(3, 24), np.ones((3, 24), bool)
    plain = views(points, mask)[0]
    assert plain.points.shape == (2, 3, 20, 3)
    assert plain.mask.all()
    for view in range(2):
        for index in range(3):
            chosen = {tuple(row) for row in np.asarray(plain.points[view, index]).tolist()}
            assert len(chosen) == 20
            assert chosen <= {tuple(row) for row in points[index].tolist()}
    assert abs(plain.points[0] - plain.points[1]).max() > 0.1
    np.testing.assert_array_equal(plain.points, plain.normals)
    for view in range(2):
        found = np.take_along_axis(points, np.asarray(plain.index[view])[..., None], 1)
        np.testing.assert_array_equal(found, plain.points[view])


def test_a_rotated_view_keeps_distances_and_turns_normals_alike():
    points, mask = cloud(3, 24), np.ones((3, 24), bool)
    view = views(points, mask)[1]
    assert abs(view.mask.sum(-1) - 9).max() <= 4
    for one in range(2):
        for index in range(3):
            exists = np.asarray(view.mask[one, index])
            turned = np.asarray(view.points[one, index])[exists]
            normals = np.asarray(view.normals[one, index])[exists]
            gaps = np.linalg.norm(turned[:, None] - turned, axis=-1)
            np.testing.assert_allclose(
                gaps, 0.5 * np.linalg.norm(normals[:, None] - normals, axis=-1), atol=1e-5
            )
            lengths = np.linalg.norm(points[index], axis=-1)
            nearest = abs(np.linalg.norm(normals, axis=-1)[:, None] - lengths).min(1)
            assert nearest.max() < 1e-5


def test_a_view_turned_about_an_axis_keeps_heights_up_to_its_noise():
    points, mask = cloud(3, 24), np.ones((3, 24), bool)
    view = views(points, mask)[2]
    assert (view.mask.sum(-1) == 24).all()  # 30 asked for, 24 there
    for index in range(3):
        heights = np.sort(view.points[0, index, :24, 1])
        np.testing.assert_allclose(heights, np.sort(points[index, :, 1]), atol=0.0601)
    assert not view.points[:, :, 24:].any()


def test_absent_points_never_enter_a_view():
    points, mask = cloud(3, 24), np.broadcast_to(np.arange(24) < 15, (3, 24))
    points[~mask] = 1e4
    for view in views(points, mask):
        assert abs(view.points).max() < 50
        assert (view.mask.sum(-1) <= 15).all()
        assert (view.mask.sum(-1) >= 1).all()
    for view in views(points, np.zeros((3, 24), bool)):
        assert not view.mask.any()
        assert not view.points.any()


def test_the_seed_and_the_global_index_alone_decide():
    points, mask = cloud(3, 24), np.ones((3, 24), bool)
    whole = views(points, mask)
    for before, after in zip(whole, views(points, mask), strict=True):
        np.testing.assert_array_equal(before.points, after.points)
    shifted = views(np.roll(points, -1, axis=0), mask, first=1)
    for before, after in zip(whole, shifted, strict=True):
        np.testing.assert_allclose(after.points[:, :2], before.points[:, 1:], atol=1e-6)
    assert abs(views(points, mask, seed=1)[1].points - whole[1].points).max() > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointViewSpec(1, 0), "num_points must be positive, got 0"),
        (lambda: PointViewSpec(1, 4, rotation="y"), "rotation must be one of none, axis, so3"),
        (lambda: PointViewSpec(1, 4, crop=(0.9, 0.5)), r"crop must be a range .* got \(0.9, 0.5\)"),
        (lambda: PointViewSpec(1, 4, dropout=(0.0, 1.0)), "dropout must be a range"),
        (lambda: PointViewSpec(1, 4, occlusion=2), r"occlusion must be in \[0, 1\], got 2"),
        (
            lambda: make(jax.random.split(jax.random.key(0), 2), cloud(3, 5), SPECS),
            "one key a cloud",
        ),
        (lambda: make(jax.random.split(jax.random.key(0), 3), cloud(3, 5), ()), "specs must hold"),
    ],
)
def test_bad_arguments_are_named(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_density_gradient_prefers_one_end_and_changes_no_other_draw(key):
    points = jax.random.uniform(key, (1, 400, 3), minval=-1.0, maxval=1.0)
    keys = jax.random.split(key, 1)

    def chosen(gradient):
        spec = PointViewSpec(8, 50, density_gradient=gradient, rotation="so3")
        (views,) = augment.make_point_views(keys, points, (spec,))
        return views

    even, uneven = chosen(0.0), chosen(20.0)
    assert all(len(set(row.tolist())) == 50 for row in np.asarray(uneven.index[:, 0]))
    # One end has most points: the mean of what is chosen leaves the center.
    off = [
        np.linalg.norm(points[0][np.asarray(v.index[:, 0])].mean(1), axis=-1)
        for v in (even, uneven)
    ]
    assert off[1].mean() > 2 * off[0].mean()
    # The pose is that of before.
    lengths = np.linalg.norm(np.asarray(uneven.points[:, 0]), axis=-1)
    own = np.linalg.norm(np.asarray(points[0])[np.asarray(uneven.index[:, 0])], axis=-1)
    np.testing.assert_allclose(lengths, own, atol=1e-5)


@pytest.mark.parametrize("name", CLOUD_VIEW_SETS)
def test_sets_of_views_have_global_views_first(name):
    specs = cloud_views_by_name(f"{name}(num_points=12)")
    assert specs[0].num_points == 12
    assert all(spec.num_points >= 12 and spec.crop[1] <= 1 for spec in specs)
    with pytest.raises(ValueError, match="views must be one of whole, parts, scans"):
        cloud_views_by_name("holes")
