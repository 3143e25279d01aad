import numpy as np
import pytest

from lejepa_jax.data.fields import FieldOptions, load_fields

RNG = np.random.default_rng(0)


def load(path, num_axes=1, **options):
    return load_fields(str(path), num_axes=num_axes, **options)


def all_of(source):
    return source.gather(np.arange(len(source)))


@pytest.mark.parametrize("kind", ["int16", "uint8", "uint16", "float32", "int32"])
def test_values_bands_and_sign_are_those_of_the_array(tmp_path, kind):
    values = (RNG.normal(size=(10, 4, 5, 6)) * 100).astype(kind)
    np.savez(tmp_path / "a.npz", values=values, label=np.arange(10) % 2)
    splits = load(tmp_path / "a.npz", 2)
    assert splits.train.layout.dtype == kind
    assert splits.train.channels == 6
    found = np.concatenate([all_of(s)["values"] for s in (splits.train, splits.test)])
    labels = np.concatenate([s.labels for s in (splits.train, splits.test)])
    order = np.concatenate([s.records for s in (splits.train, splits.test)])
    np.testing.assert_array_equal(found, values[order])
    np.testing.assert_array_equal(labels, order % 2)


def test_float64_becomes_float32_and_says_so(tmp_path):
    np.savez(tmp_path / "a.npz", values=RNG.normal(size=(6, 5)))
    splits = load(tmp_path / "a.npz")
    assert splits.train.layout.dtype == np.float32
    assert splits.info["narrowed"] == "float64 became float32, in which devices compute"


def test_series_of_any_lengths_are_padded_and_know_how_long_they_are(tmp_path):
    lengths = np.array([3, 1, 4, 2, 6, 2])
    samples = np.arange(lengths.sum(), dtype=np.int16)
    flags = np.array([0, 0, 0, 0, 1, 1])
    np.savez(tmp_path / "a.npz", samples=samples, lengths=lengths, is_test=flags)
    splits = load(tmp_path / "a.npz", size=(5,))
    batch = all_of(splits.train)
    np.testing.assert_array_equal(batch["extent"][:, 0], [3, 1, 4, 2])
    np.testing.assert_array_equal(batch["values"][2, :, 0], [4, 5, 6, 7, 0])
    # The middle of what is longer.
    held = all_of(splits.test)
    np.testing.assert_array_equal(held["values"][0, :, 0], [10, 11, 12, 13, 14])
    assert held["extent"].tolist() == [[5], [2]]


def test_splits_by_name_and_names_of_classes(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        x_train=np.zeros((3, 4), np.float32),
        y_train=np.array([1, 0, -1]),
        x_test=np.ones((2, 4), np.float32),
        y_test=np.array([1, 1]),
        class_names=np.array(["low", "high"]),
    )
    splits = load(tmp_path / "a.npz")
    assert splits.class_names == ("low", "high")
    assert splits.train.labels.tolist() == [1, 0, -1]
    assert splits.test.labels.tolist() == [1, 1]


def test_hdf5_is_the_array_and_only_what_is_cut_out_is_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    values = RNG.integers(-9, 9, (6, 8, 8, 8)).astype(np.int16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["values"], file["label"] = values, np.arange(6) % 2
    splits = load(tmp_path / "a.h5", 3, size=(4, 4, 4), options=FieldOptions(memory_limit=1024))
    for source in (splits.train, splits.test):
        batch = all_of(source)
        expected = values[source.records][:, 2:6, 2:6, 2:6, None]
        np.testing.assert_array_equal(batch["values"], expected)


def test_an_array_file_is_memory_mapped_with_its_labels_beside_it(tmp_path):
    values = RNG.normal(size=(8, 6, 2)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "a_labels.npy", np.array(["b", "a"] * 4))
    splits = load(tmp_path / "a.npy", options=FieldOptions(memory_limit=64))
    assert splits.class_names == ("a", "b")
    np.testing.assert_array_equal(all_of(splits.train)["values"], values[splits.train.records])


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        ({"other": np.zeros(3)}, "it needs values .*; got other"),
        ({"values": np.zeros((3, 4, 5, 6))}, r"values must be \(n, a\) or have channels behind"),
        ({"values": np.zeros((3, 4)), "label": np.zeros(2)}, "labels must have one entry a field"),
        ({"samples": np.zeros(3), "lengths": np.array([1, 1])}, "sum to the 3 samples, got 2"),
        ({"values": np.zeros((3, 4)), "is_test": np.ones(3)}, "leaves nothing to train on"),
        ({"values": np.zeros((3, 4), np.int64)}, "save them as int32 or float32"),
        ({"values": np.zeros((3, 4), np.complex64)}, "has no fields of 1 axes, the first: "),
        ({"values": np.array([{}], dtype=object)}, "is not an .npz of fields"),
    ],
)
def test_what_is_wrong_with_an_archive_is_one_line(tmp_path, arrays, error):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=error) as caught:
        load(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_a_truncated_archive_and_a_bomb_are_refused(tmp_path):
    file = tmp_path / "a.npz"
    np.savez_compressed(file, values=np.zeros((100, 1000), np.float32))
    with pytest.raises(ValueError, match="more than memory_limit=1000"):
        load(file, options=FieldOptions(memory_limit=1000))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"is not an .npz of fields"):
        load(file)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"data must be one of npz:PATH, .*, got 'nothing'"):
        load("nothing")


def test_digits_in_bands_are_the_digits_from_each_band_alone():
    from lejepa_jax.data.fields.readers.made import from_bands

    bands, gray = load("digits-bands", 2), load("digits-gray", 2)
    assert bands.train.layout.dtype == np.uint16
    assert gray.train.layout.dtype == np.uint8
    found, expected = all_of(bands.test), all_of(gray.test)
    np.testing.assert_array_equal(found["label"], expected["label"])
    levels = np.round(from_bands(found["values"]) * 16)
    np.testing.assert_array_equal(levels, np.repeat(np.round(expected["values"] / 255 * 16), 5, -1))


def test_solids_are_volumes_that_nearest_neighbors_tell_apart_a_little():
    splits = load("solids", 3)
    train, test = all_of(splits.train), all_of(splits.test)
    assert train["values"].shape == (1800, 16, 16, 16, 1)
    rows = [x["values"].reshape(len(x["values"]), -1).astype(np.float32) for x in (train, test)]
    product = rows[1] @ rows[0].T
    distances = (rows[0] ** 2).sum(1)[None] - 2 * product
    right = (train["label"][distances.argmin(1)] == test["label"]).mean()
    assert 0.3 < right < 0.95
