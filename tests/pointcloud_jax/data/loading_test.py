"""Cloud sources: procedural solids, arrays, and the files of the benchmarks, well or ill formed."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from lejepa_jax.data.batching import batches, eval_batches
from lejepa_jax.data.inspection import fingerprint, fingerprint_changes
from pointcloud_jax.data import loading as data
from pointcloud_jax.data import shapes
from pointcloud_jax.data.readers import solids
from pointcloud_jax.data.reading import CloudSets
from recipes import recipes


def clouds(n, p=8, seed=0):
    return np.random.default_rng(seed).normal(2, 3, (n, p, 3)).astype(np.float32)


@pytest.fixture
def few_families(monkeypatch):
    """Solids of another generator, which takes no time to compile."""

    def draw(key, per_family, num_points):
        total = len(shapes.FAMILIES) * per_family
        label = jax.numpy.arange(total) // per_family
        points = jax.random.normal(key, (total, num_points, 3))
        part = jax.numpy.zeros((total, num_points), jax.numpy.int32)
        return shapes.Shapes(points, points, part, label)

    monkeypatch.setattr(solids, "shape_dataset", draw)


def test_solids_are_fixed_and_the_three_splits_share_nothing(few_families):
    splits = data.load("shapes:4", num_points=6, normals=True, parts=True)
    again = data.load("shapes:4", num_points=6)
    tuned = data.load("shapes:4", num_points=6, holdout="validation")
    assert (len(splits.train), len(splits.test)) == (72, 36)
    np.testing.assert_array_equal(np.bincount(splits.test.labels), np.full(18, 2))
    first, other = splits.train.gather(np.arange(5)), again.train.gather(np.arange(5))
    assert set(first) == {"points", "normals", "part", "label", "index"}
    assert set(other) == {"points", "label", "index"}
    np.testing.assert_array_equal(first["points"], other["points"])
    sets = [s.gather(np.arange(36))["points"] for s in (splits.train, splits.test, tuned.test)]
    for i in range(3):
        for j in range(i):
            assert not np.isin(sets[i], sets[j]).any()
    mug = shapes.FAMILIES.index("mug")
    assert splits.train.part_names[splits.train[4 * mug]["part"][0]] == "mug/0"
    assert len(splits.train.part_names) == 28
    assert splits.train.part_class[-1] == 17


def test_clouds_are_moved_to_their_centroid_and_scaled_to_radius_one(tmp_path):
    np.savez(tmp_path / "a.npz", points=clouds(5), normals=clouds(5), label=np.arange(5) % 2)
    source = data.load(f"npz:{tmp_path}/a.npz", num_points=8, normals=True).train
    batch = source.gather(np.arange(len(source)))
    np.testing.assert_allclose(batch["points"].mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(batch["points"], axis=-1).max(1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(batch["normals"], axis=-1), 1, atol=1e-6)


def test_arrays_may_say_everything_about_themselves(tmp_path):
    points, part = clouds(6), np.arange(48).reshape(6, 8) % 3
    np.savez(
        tmp_path / "a.npz",
        points=points.astype(np.float16),
        label69=np.int8([0, 1, -1, 1, 0, 1]),
        class_names69=["a", "b"],
        is_test69=[0, 0, -1, 0, 1, 1],
        part=part,
        part_names=["a/x", "b/x", "b/y"],
        part_class=np.array([0, 1, 1]),
    )
    splits = data.load(str(tmp_path / "a.npz"), num_points=4, parts=True)
    assert splits.class_names == ("a", "b")
    np.testing.assert_array_equal(splits.train.labels, [0, 1, -1, 1])
    kept = splits.test.gather(np.array([1]))
    assert kept["part"].shape == (1, 4)
    # Which four of the points they are is random; parts are those of the same points.
    distances = np.linalg.norm(points[5][:, None] - points[5][None], axis=-1)
    seen = np.linalg.norm(kept["points"][0][:, None] - kept["points"][0][None], axis=-1)
    (rows,) = [
        r
        for r in itertools.combinations(range(8), 4)
        if np.allclose(distances[np.ix_(r, r)] / distances[r[0], r[1]], seen / seen[0, 1], 1e-2)
    ]
    np.testing.assert_array_equal(kept["part"][0], part[5, list(rows)])
    small = splits.train.subset(np.array([3, 0]))
    np.testing.assert_array_equal(small.labels, [1, 0])
    assert small.part_names == ("a/x", "b/x", "b/y")
    (batch,) = eval_batches(splits.test, batch_size=3)
    np.testing.assert_array_equal(batch["mask"], [True, True, False])
    batch = next(batches(splits.train, batch_size=2, seed=0))
    assert batch["points"].shape == (2, 4, 3)


def write_text(path, table, delimiter):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, table, delimiter=delimiter)


def modelnet_text(folder):
    folder.mkdir(parents=True)
    (folder / "modelnet40_shape_names.txt").write_text("chair\nnight_stand\n")
    names = [f"{kind}_000{i}" for kind in ("chair", "night_stand") for i in range(3)]
    (folder / "modelnet40_train.txt").write_text("\n".join(n for n in names if n[-1] != "2"))
    (folder / "modelnet40_test.txt").write_text("\n".join(n for n in names if n[-1] == "2"))
    for i, name in enumerate(names):
        write_text(folder / name[:-5] / f"{name}.txt", np.tile(clouds(1, 9, i)[0], 2), ",")
    return folder


def test_modelnet_is_read_from_its_text_files(tmp_path):
    modelnet_text(tmp_path / "modelnet40_normal_resampled")
    splits = data.load("modelnet40", num_points=7, normals=True, data_dir=str(tmp_path))
    assert splits.class_names == ("chair", "night_stand")
    np.testing.assert_array_equal(splits.train.labels, [0, 0, 1, 1])
    np.testing.assert_array_equal(splits.test.labels, [0, 1])
    seen, told = splits.test[1]["points"], clouds(1, 9, 5)[0][:7]
    told = told - told.mean(0)
    np.testing.assert_allclose(seen, told / np.linalg.norm(told, axis=1).max(), atol=1e-5)
    tuned = data.load("modelnet40", num_points=7, data_dir=str(tmp_path), holdout="validation")
    assert len(tuned.train) + len(tuned.test) == 4


def test_bad_clouds_are_named_and_up_to_a_limit_left_out(tmp_path):
    folder = modelnet_text(tmp_path / "set")
    (folder / "chair" / "chair_0001.txt").write_text("1,2\n")
    write_text(folder / "chair" / "chair_0000.txt", np.full((9, 6), np.nan), ",")
    with pytest.raises(ValueError, match=r"2 so far, .* allows 1: chair_0001 .*; train\[0\]"):
        data.load("modelnet40", num_points=7, data_dir=str(folder), max_bad_records=1)
    splits = data.load("modelnet40", num_points=7, data_dir=str(folder), max_bad_records=2)
    assert len(splits.train) == 2
    assert [record.name for record in splits.train.bad_records] == ["chair_0001", "train[0]"]
    (folder / "modelnet40_train.txt").write_text("../../secret_0001\nchair_0002")
    with pytest.raises(ValueError, match=r"\.\./\.\./secret_0001 \(it belongs to no class"):
        data.load("modelnet40", num_points=7, data_dir=str(folder))


def test_shapenet_parts_are_read_from_text_with_masks_and_trained_on_with_val(tmp_path):
    folder = tmp_path / "shapenetcore_partanno_segmentation_benchmark_v0_normal"
    (folder / "train_test_split").mkdir(parents=True)
    (folder / "synsetoffset2category.txt").write_text("Mug\t03797390\nBag\t02773838\n")
    for split, names in {"train": ["a", "b"], "val": ["c"], "test": ["d"]}.items():
        listed = [f"shape_data/03797390/{name}" for name in names]
        (folder / f"train_test_split/shuffled_{split}_file_list.json").write_text(
            json.dumps(listed)
        )
        for i, name in enumerate(names):
            part = np.full((12 if name != "b" else 3, 1), 36 + i)
            table = np.concatenate([np.tile(clouds(1, len(part))[0], 2), part], 1)
            write_text(folder / "03797390" / f"{name}.txt", table, " ")
    load = dict(num_points=6, normals=True, parts=True, data_dir=str(tmp_path))
    splits = data.load("shapenetpart", **load)
    assert (len(splits.train), len(splits.test)) == (3, 1)
    second = splits.train[1]
    np.testing.assert_array_equal(second["exists"], np.arange(6) < 3)
    np.testing.assert_array_equal(second["part"], [37, 37, 37, -1, -1, -1])
    assert not second["points"][3:].any()
    np.testing.assert_allclose(second["points"].sum(0), 0, atol=1e-5)
    assert second["label"] == splits.class_names.index("Mug") == 11
    assert splits.train.part_names[36] == "Mug/0"
    tuned = data.load("shapenetpart", **load, holdout="validation")
    assert (len(tuned.train), len(tuned.test)) == (2, 1)


def test_hdf5_files_are_read_by_their_arrays(tmp_path):
    h5py = pytest.importorskip("h5py")

    def write(file, **arrays):
        file.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(file, "w") as opened:
            for name, array in arrays.items():
                opened[name] = array

    points, label = clouds(4), np.uint8([[0], [1], [1], [0]])
    modelnet = tmp_path / "modelnet40_ply_hdf5_2048"
    for name in ("train0", "train1", "test0"):
        write(modelnet / f"ply_data_{name}.h5", data=points, label=label, normal=points)
    (modelnet / "shape_names.txt").write_text("airplane\nbathtub\n")
    splits = data.load("modelnet40", num_points=5, normals=True, data_dir=str(tmp_path))
    assert (len(splits.train), len(splits.test)) == (8, 4)
    np.testing.assert_array_equal(splits.train.labels, [0, 1, 1, 0] * 2)
    with pytest.raises(
        ValueError, match=r"num_points must be at most the 8 of ply_data_train0\.h5"
    ):
        data.load("modelnet40", num_points=9, data_dir=str(tmp_path))

    for split in ("training", "test"):
        write(
            tmp_path / f"h5_files/main_split/{split}_objectdataset_augmentedrot_scale75.h5",
            data=points,
            label=label[:, 0],
        )
    splits = data.load("scanobjectnn", num_points=5, data_dir=str(tmp_path))
    assert len(splits.class_names) == 15
    with pytest.raises(ValueError, match="must hold the files of scanobjectnn"):
        data.load("scanobjectnn:obj_only", num_points=5, data_dir=str(tmp_path))

    part = np.full((4, 8), 3)
    for name in ("train0", "val0", "test0"):
        file = tmp_path / f"hdf5_data/ply_data_{name}.h5"
        write(file, data=points, label=label, pid=part)
    splits = data.load("shapenetpart", num_points=5, parts=True, data_dir=str(tmp_path))
    assert (len(splits.train), len(splits.test)) == (8, 4)
    with pytest.raises(ValueError, match="data must have normals here"):
        data.load("shapenetpart", num_points=5, normals=True, data_dir=str(tmp_path))

    elsewhere = h5py.ExternalLink(str(modelnet / "ply_data_test0.h5"), "data")
    for link in (elsewhere, h5py.SoftLink("/label")):
        with h5py.File(tmp_path / "hdf5_data/ply_data_test0.h5", "w") as opened:
            opened["data"] = link
            opened["label"] = label
        with pytest.raises(ValueError, match=r"ply_data_test0\.h5: data is a link"):
            data.load("shapenetpart", num_points=5, data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("teapots", "data must be one of shapes, modelnet40, .* got 'teapots'"),
        ("modelnet40", "data_dir must be the folder .*modelnet40_ply_hdf5_2048.zip.* got None"),
        ("scanobjectnn", "data_dir must be .* on request"),
        ("npz:nowhere.npz", r"nowhere\.npz is not a file"),
    ],
)
def test_what_is_missing_is_said_in_one_line_with_how_to_get_it(name, message):
    with pytest.raises(ValueError, match=message) as error:
        data.load(name, num_points=8)
    assert "\n" not in str(error.value)


def test_files_that_are_no_clouds_are_refused(tmp_path):
    for folder in ("modelnet40", "shapenetpart"):
        with pytest.raises(ValueError, match=f"data_dir must hold the files of {folder}"):
            data.load(folder, num_points=8, data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="data must be scanobjectnn:VARIANT"):
        data.load("scanobjectnn:all", num_points=8, data_dir=str(tmp_path))
    np.savez(tmp_path / "a.npz", points=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz is not an \.npz of clouds: .*pickle"):
        data.load(f"npz:{tmp_path}/a.npz", num_points=8)
    np.savez(tmp_path / "b.npz", cloud=clouds(2))
    with pytest.raises(ValueError, match=r"b\.npz must hold an array points, got cloud"):
        data.load(f"npz:{tmp_path}/b.npz", num_points=8)
    np.savez(tmp_path / "c.npz", points=clouds(5), label=np.arange(5), class_names=["a"])
    with pytest.raises(ValueError, match=r"labels must lie in \[-1, 1\), got 0 to 4"):
        data.load(f"npz:{tmp_path}/c.npz", num_points=8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": clouds(2)[0]}, r"points must be \(clouds, points, 3\)"),
        ({"normals": clouds(3)}, r"normals must have the shape \(2, 8, 3\), got \(3, 8, 3\)"),
        ({"part": np.zeros((2, 8), int), "part_names": ["x"]}, "part_class must give the class"),
        ({"labels": np.array([0, 5])}, r"labels must lie in \[-1, 2\), got 0 to 5"),
    ],
)
def test_what_does_not_fit_together_is_named(change, message, unchecked):
    arguments = {"points": clouds(2), "labels": np.array([0, 1]), "class_names": ("a", "b")}
    with pytest.raises(ValueError, match=message):
        data.CloudSource(**(arguments | change))


@pytest.mark.parametrize("name", ["shapes:1e3", "shapes:", "shapes:0", "shapes:-3", "shapes:²"])
def test_a_number_of_solids_is_a_number(name):
    with pytest.raises(ValueError, match=f"data must be shapes:N .* got '{name}'"):
        data.load(name, num_points=8)


@pytest.mark.parametrize("name", ["modelnet40:obj_bg", "shapenetpart:airplane"])
def test_a_suffix_that_means_nothing_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"which has no variants, got '{name}'"):
        data.load(name, num_points=8, data_dir=str(tmp_path))


def test_more_solids_than_memory_are_refused():
    with pytest.raises(ValueError, match="memory_limit=2147483648 is less than shapes:1000000000"):
        data.load("shapes:1000000000", num_points=8)


def test_a_reader_of_ones_own(tmp_path):
    def read(request):
        points = clouds(10, request.num_points)
        return CloudSets({"train": {"points": points, "label": np.arange(10) % 2}}, ("a", "b"), "")

    splits = data.load("anything", num_points=6, reader=read)
    assert (len(splits.train), len(splits.test), splits.train.num_points) == (8, 2, 6)


def test_a_run_finds_other_clouds_under_the_same_name(tmp_path):
    def identify(points):
        np.savez(tmp_path / "a.npz", points=points, label=np.arange(10) % 2)
        return fingerprint(data.load(f"npz:{tmp_path}/a.npz", num_points=8))

    points = clouds(10)
    assert identify(points) == identify(points)
    other = points.copy()
    other[3, 2, 1] += 1
    assert fingerprint_changes(identify(points), identify(other))


@pytest.mark.parametrize("name", ["shapes", "lejepa-shapes"])
def test_a_task_on_clouds_has_the_limit_too(name):
    task = dataclasses.replace(recipes()[name][1].task, memory_limit=1000)
    with pytest.raises(ValueError, match="memory_limit=1000 is less than shapes:9"):
        task.load("shapes:9")
