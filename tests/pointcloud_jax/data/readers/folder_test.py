"""Folders of clouds: classes, splits, subsets of points, and files that cannot be read."""

import numpy as np
import pytest

from pointcloud_jax.data import loading


def angle(n, start=0.0):
    """Points in the order of a scan: the first half is one side, along x, the second along y."""
    points = np.zeros((n, 3))
    points[: n // 2, 0] = np.arange(n // 2)
    points[n // 2 :, 1] = np.arange(n - n // 2)
    return points + start


def write(folder, names, n=20, **options):
    for i, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".npy"):
            np.save(file, angle(n + i, **options))
        else:
            np.savetxt(file, angle(n + i, **options))


def test_sub_folders_are_classes_and_splits(tmp_path):
    write(tmp_path, [f"train/{c}/{i}.xyz" for c in ("cup", "jug") for i in range(3)])
    write(tmp_path, ["test/jug/a.npy", "notes/x.txt"])
    splits = loading.load(f"folder:{tmp_path}", num_points=8)
    assert splits.class_names == ("cup", "jug")
    np.testing.assert_array_equal(splits.train.labels, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(splits.test.labels, [1])
    assert splits.info["ignored"] == "folder notes"
    assert set(splits.train[0]) == {"points", "label", "index"}
    again = loading.load("folder", num_points=8, data_dir=str(tmp_path))
    np.testing.assert_array_equal(again.train[4]["points"], splits.train[4]["points"])


def test_without_splits_a_part_is_held_out_of_every_class(tmp_path):
    write(tmp_path, [f"{c}/{i}.xyz" for c in ("cup", "jug") for i in range(5)])
    splits = loading.load(f"folder:{tmp_path}", num_points=8)
    np.testing.assert_array_equal(np.bincount(splits.test.labels), [1, 1])
    assert "2 clouds held out of train" in splits.info["test"]


def test_of_larger_clouds_random_points_are_kept_and_smaller_ones_are_padded(tmp_path):
    """Of a sorted scan the first points are one side."""
    write(tmp_path, ["a.npy", "b.npy", "c.npy", "d.npy", "e.npy"], n=2000)
    write(tmp_path, ["f.npy"], n=50)
    splits = loading.load(f"folder:{tmp_path}", num_points=100)
    sources = (splits.train, splits.test)
    counts = [s[i]["exists"].sum() for s in sources for i in range(len(s))]
    assert sorted(counts) == [50, 100, 100, 100, 100, 100]
    for source in (splits.train, splits.test):
        for i in range(len(source)):
            x, y, _ = source[i]["points"][source[i]["exists"]].T
            # Both sides in equal shares but for chance.
            assert 0.3 < (x > x.min() + 1e-3).mean() < 0.7
            assert 0.3 < (y > y.min() + 1e-3).mean() < 0.7


def test_another_file_changes_no_choice_of_points(tmp_path):
    write(tmp_path, ["b/1.npy", "b/2.npy", "c/1.npy", "c/2.npy"], n=500)
    before = loading.load(f"folder:{tmp_path}", num_points=30)
    write(tmp_path, ["a/1.npy", "a/2.npy"], n=500)
    after = loading.load(f"folder:{tmp_path}", num_points=30)

    def clouds(splits):
        sources = (splits.train, splits.test)
        return {s[i]["points"].tobytes() for s in sources for i in range(len(s))}

    assert clouds(before) < clouds(after)


def test_coordinates_on_a_map_keep_their_digits(tmp_path):
    write(tmp_path, ["a.npy", "b.npy", "c.xyz"], n=40, start=5e8)
    splits = loading.load(f"folder:{tmp_path}", num_points=50)
    for source in (splits.train, splits.test):
        x = source[0]["points"][:20, 0]
        np.testing.assert_allclose(np.diff(x), np.diff(x).mean(), rtol=1e-4)


def test_what_cannot_be_read_is_left_out_up_to_a_limit(tmp_path):
    write(tmp_path, [f"cup/{i}.xyz" for i in range(4)])
    (tmp_path / "cup/broken.ply").write_text("no")
    (tmp_path / "cup/out.txt").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match=r"out\.txt.* \(a link out of the folder"):
        loading.load(f"folder:{tmp_path}", num_points=8)
    splits = loading.load(f"folder:{tmp_path}", num_points=8, max_bad_records=2)
    assert len(splits.train) + len(splits.test) == 4
    assert [r.name for r in splits.train.bad_records] == ["'cup/broken.ply'", "'cup/out.txt'"]


def test_features_that_are_not_used_are_said(tmp_path):
    table = np.concatenate([angle(20), np.full((20, 1), 255.0)], axis=1)
    for i in range(5):
        np.savetxt(tmp_path / f"{i}.csv", table, delimiter=",", header="x,y,z,red", comments="")
    assert loading.load(f"folder:{tmp_path}", num_points=8).info["ignored"] == "red"


def test_normals_are_used_if_all_files_have_them(tmp_path):
    normals = np.tile([0.0, 0.0, 1.0], (20, 1))
    for i in range(5):
        np.savetxt(tmp_path / f"{i}.xyz", np.concatenate([angle(20), normals], 1))
    splits = loading.load(f"folder:{tmp_path}", num_points=8, normals=True)
    np.testing.assert_array_equal(splits.train[0]["normals"], normals[:8])
    write(tmp_path, ["none.xyz"])
    with pytest.raises(ValueError, match="data must have normals here"):
        loading.load(f"folder:{tmp_path}", num_points=8, normals=True)
    assert "normals" in loading.load(f"folder:{tmp_path}", num_points=8).info["ignored"]


def test_the_memory_limit_counts_files_and_clouds(tmp_path):
    write(tmp_path, [f"{i}.npy" for i in range(5)], n=1000)
    loading.load(f"folder:{tmp_path}", num_points=10)
    with pytest.raises(ValueError, match="memory_limit=1000 is less than a file of"):
        loading.load(f"folder:{tmp_path}", num_points=10, memory_limit=1000)
    with pytest.raises(ValueError, match="memory_limit=1000000 is less than"):
        loading.load(f"folder:{tmp_path}", num_points=10**5, memory_limit=10**6)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        loading.load(f"folder:{tmp_path}/none", num_points=8)
    with pytest.raises(ValueError, match="data_dir must name a folder of clouds"):
        loading.load("folder", num_points=8)
    with pytest.raises(ValueError, match="has no clouds"):
        loading.load(f"folder:{tmp_path}", num_points=8)
