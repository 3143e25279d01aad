"""Archives of clouds: what is kept, what is said, what is refused."""

import numpy as np
import pytest

from pointcloud_jax.data import loading


def clouds(n, p=8, seed=0):
    return np.random.default_rng(seed).normal(2, 3, (n, p, 3)).astype(np.float32)


def load(tmp_path, num_points=8, **options):
    return loading.load(f"npz:{tmp_path}/a.npz", num_points=num_points, **options)


def test_of_larger_clouds_random_points_are_kept(tmp_path):
    """Of a sorted scan the first points are one side."""
    points = np.zeros((5, 2000, 3), np.float32)
    points[:, :1000, 0] = points[:, 1000:, 1] = np.arange(1000)
    np.savez(tmp_path / "a.npz", points=points)
    splits = load(tmp_path, 100)
    x, y, _ = np.moveaxis(splits.train.gather(np.arange(4))["points"], -1, 0)
    for side in (x, y):
        on = side > side.min(1, keepdims=True) + 1e-3
        np.testing.assert_allclose(on.mean(1), 0.5, atol=0.2)
    assert len({row.tobytes() for row in x}) == 4  # each cloud its own points
    np.testing.assert_array_equal(load(tmp_path, 100).train[2]["points"][:, 0], x[2])


def test_points_that_do_not_exist_are_not_seen(tmp_path):
    points = clouds(5)
    exists = np.ones((5, 8), bool)
    exists[:, 5:] = False
    points[~exists] = 1e6
    np.savez(tmp_path / "a.npz", points=points, exists=exists)
    batch = load(tmp_path).train.gather(np.arange(4))
    np.testing.assert_array_equal(batch["exists"], exists[:4])
    assert not batch["points"][:, 5:].any()
    np.testing.assert_allclose(batch["points"].sum(1), 0, atol=1e-5)
    # Of those that exist a subset is chosen, and no others.
    few = load(tmp_path, 4).train[0]
    assert "exists" not in few
    assert abs(few["points"]).max() <= 1.01
    assert np.ptp(few["points"]) > 0.5
    # Where fewer exist than are asked for, the rest stays absent.
    assert load(tmp_path, 7).train[0]["exists"].sum() == 5


def test_arrays_that_are_not_used_are_said(tmp_path):
    np.savez(tmp_path / "a.npz", points=clouds(5), colors=clouds(5), intensity=clouds(5))
    assert load(tmp_path).info["ignored"] == "array colors, array intensity"


def test_an_archive_that_unpacks_to_more_than_the_limit_is_not_read(tmp_path):
    """Zeros: three megabytes of file are three gigabytes in memory."""
    np.savez_compressed(tmp_path / "a.npz", points=np.zeros((1000, 1000, 3), np.int8))
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"memory_limit=1000000 is less than a\.npz needs: 3000"):
        load(tmp_path, 1000, memory_limit=10**6)
    # Three bytes a point unpacked, and fifteen as they are kept.
    with pytest.raises(ValueError, match=r"memory_limit=10000000 is less than .* as float32"):
        load(tmp_path, 1000, memory_limit=10**7)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"label": np.full(5, 2**40)}, "labels must number the classes from 0"),
        ({"label": np.full(5, 0.5)}, "label must be integers, got float64"),
        ({"label": np.zeros(4, int)}, r"label must have the shape \(5,\), got \(4,\)"),
        ({"exists": np.ones((5, 7))}, r"exists must have the shape \(5, 8\), got \(5, 7\)"),
        ({"label1": np.zeros(5, int), "label2": np.zeros(5, int)}, "both mean label"),
        ({"is_test": np.zeros(4)}, "is_test must have 5 entries"),
        ({"part": np.zeros((5, 8), int)}, "part_class must say which class"),
        ({"points": np.zeros((5, 8, 6))}, r"points must be numbers \(clouds, points, 3\)"),
        ({"points": np.zeros((5, 8, 3), "U1")}, r"points must be numbers \(clouds, points, 3\)"),
    ],
)
def test_what_does_not_fit_together_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **{"points": clouds(5), **arrays})
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_large_coordinates_keep_their_digits(tmp_path):
    points = np.zeros((5, 8, 3))
    points[..., 0] = 5e8 + np.arange(8)
    np.savez(tmp_path / "a.npz", points=points)
    x = load(tmp_path).train[0]["points"][:, 0]
    np.testing.assert_allclose(np.diff(x), 2 / 7, rtol=1e-5)
