"""What was saved loads as it was; what is damaged or hostile is refused in one line."""

import json
import os
import shutil
import struct
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lejepa_jax
from lejepa_jax.models import Model
from lejepa_jax.models.architecture import describe_maker, maker_of
from lejepa_jax.nn import ViT

IMAGE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return lejepa_jax.save(model, tmp_path_factory.mktemp("saved") / "model", license="apache-2.0")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(saved, tmp_path / "model")


def changed(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def refused(what, match, **options):
    with pytest.raises(ValueError, match=match) as caught:
        lejepa_jax.load(what, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("which", ["", "model.safetensors"])
def test_a_folder_and_its_file_alone_load_as_they_were(model, saved, which, tmp_path):
    where = shutil.copy(saved / which, tmp_path) if which else saved
    loaded = lejepa_jax.load(where)
    np.testing.assert_array_equal(loaded(IMAGE), model(IMAGE))
    np.testing.assert_array_equal(loaded.embeddings(IMAGE), model.embeddings(IMAGE))
    assert loaded.config == model.config
    assert loaded.digest() == model.digest()
    assert loaded.provenance["license"] == "apache-2.0"


def test_the_card_says_what_it_is_and_how_to_use_it(saved):
    card = (saved / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: lejepa-jax\nlicense: apache-2.0\n")
    for text in (
        "lejepa_jax.load(",
        "SHA-256",
        json.loads((saved / "config.json").read_text())["sha256"],
    ):
        assert text in card


def test_saving_replaces_a_model_and_nothing_else(model, folder, tmp_path):
    before = (folder / "config.json").stat().st_ino
    assert lejepa_jax.save(model, folder) == folder
    assert (folder / "config.json").stat().st_ino != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(
        ValueError, match=r"must be empty or hold a model alone, and has notes\.txt"
    ):
        lejepa_jax.save(model, folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_failed_write_leaves_what_was_there(model, folder, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lejepa_jax.models.saving.write_tensors", full)
    with pytest.raises(OSError, match="No space"):
        lejepa_jax.save(model, folder)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert lejepa_jax.load(folder).digest() == model.digest()


def test_every_wrong_array_is_in_one_error(folder):
    arrays = load_file(folder / "model.safetensors")
    arrays["encoder.renamed"] = arrays.pop("encoder.norm.bias")
    arrays["encoder.cls_token"] = np.ones((2, 8), np.float32)
    del arrays["projector.last.bias"]
    arrays["extra"] = np.ones(1, np.float32)
    save_file(arrays, folder / "model.safetensors")
    said = refused(folder, "5 differences")
    for line in (
        "encoder.renamed is no part",
        "encoder.norm.bias is missing",
        "encoder.cls_token is (2, 8) there and (1, 8) in the network",
        "projector.last.bias is missing",
        "extra is no part",
    ):
        assert line in said


def test_a_flipped_bit_is_seen(folder):
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-3] ^= 1
    (folder / "model.safetensors").write_bytes(raw)
    refused(folder, "was changed: its SHA-256")


def header(folder, entries, data=b""):
    text = json.dumps(entries).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_headers_that_lie_are_refused(folder):
    huge = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
    header(folder, {"encoder.cls_token": huge}, b"1234")
    refused(folder, "no safetensors file that can be read")
    header(folder, {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}, b"1234")
    refused(folder, "no safetensors file that can be read")
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    refused(folder, "no safetensors file that can be read")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(folder, "no safetensors file that can be read")
    with zipfile.ZipFile(folder / "model.safetensors", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.safetensors", bytes(10**7))
    refused(folder, "no safetensors file that can be read")


def test_links_out_of_the_folder_are_not_followed(folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        outside = tmp_path / name
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)
        refused(folder, "is a link out of .*: it is not followed")
        (folder / name).unlink()
        outside.rename(folder / name)
    lejepa_jax.load(folder)


def test_pipes_are_not_waited_for(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    refused(folder, "not a regular file|cannot be read")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("os.system", "'os.system', which is no network"),
        ("builtins.eval", "which is no network"),
        ("lejepa_jax.nn.__loader__.exec_module", "which is no network"),
        ("lejepa_jax.nn.ENCODERS", "which is no network"),
        ("lejepa_jax.nn.check_sizes", "which is no network"),
        ("lejepa_jax.nn.encoder_by_name", "which is no network"),
    ],
)
def test_a_configuration_that_names_code_is_refused(folder, make, message):
    def change(config):
        config["architecture"]["encoder"] = {"make": make, "options": {"command": "touch /tmp/x"}}

    refused(changed(folder, change), message)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("width", 10**12, r"option width must be at most 131072 in this model, got 1000000000000"),
        ("depth", 10**5, "option depth must be at most"),
        ("num_heads", 0, "cannot be made"),
        ("position", "spherical(base=" + 9 * "9" + ")", "short text with sizes up to"),
        ("position", {"make": "os.getcwd", "options": {}}, "which is no network"),
        ("no_such_option", 1, "cannot be made from its description"),
        ("image_size", [8] * 2000, "at most 1000 items"),
        ("width", 4096, "other arrays than the networks"),
        ("width", float("inf"), "must be a literal"),
    ],
)
def test_absurd_options_are_refused_before_anything_is_allocated(folder, option, value, message):
    def change(config):
        config["architecture"]["encoder"]["options"][option] = value

    refused(changed(folder, change), message)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image_size", 10**9, "image_size must be between 1 and 16384"),
        ("batch_size", 65536, "a batch must have at most"),
        ("channels", "3", "of another type"),
        ("mean", [0.0, 1e999], "is no JSON|of another type|finite"),
        ("extra", 1, "has no field 'extra'"),
        ("kind", "pickles", "must be of the kind images or clouds"),
    ],
)
def test_absurd_preprocessing_is_refused(folder, field, value, message):
    def change(config):
        size = {"image_size": 16384} if field == "batch_size" else {}
        config["preprocessing"] |= {field: value} | size

    refused(changed(folder, change), message)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 10**5, '{"format": "lejepa-jax model"}'])
def test_a_configuration_that_is_none_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    refused(folder, r"config\.json")


def test_what_is_no_model_is_named(tmp_path):
    refused("nowhere", "model must be the folder of a run or of a model.*got 'nowhere'")
    refused(tmp_path, "holds neither a run nor a model")
    save_file({"a": np.ones(1, np.float32)}, tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", "does not say which network its arrays are of")


class Mine(ViT):
    """An encoder of the user's own."""


def test_an_encoder_of_ones_own_is_saved_and_asked_for(model, tmp_path):
    import functools

    make = functools.partial(Mine, **model.makers["encoder"].keywords)
    arrays = load_file(lejepa_jax.save(model, tmp_path / "first") / "model.safetensors")
    own = Model({**model.makers, "encoder": make}, arrays, model.preprocessing)
    folder = lejepa_jax.save(own, tmp_path / "own")
    refused(
        folder, r"'tests\.lejepa_jax\.models\.loading_test\.Mine', which is no network.*encoder="
    )
    for given in (Mine, make):
        loaded = lejepa_jax.load(folder, encoder=given)
        np.testing.assert_array_equal(loaded(IMAGE), model(IMAGE))


def test_options_that_are_no_data_cannot_be_saved():
    import functools

    import rope_jax

    make = functools.partial(ViT, width=8, position=rope_jax.sincos(4, 2))
    with pytest.raises(ValueError, match=r"ViT\(position\) must be a literal or a network"):
        describe_maker(make)


def test_configurations_and_nested_networks_are_data():
    import functools

    from pointcloud_jax.nn import VNDGCNN, DiPVNet, WithSpectrum, tiny_config

    make = functools.partial(DiPVNet, config=tiny_config())
    read = maker_of(json.loads(json.dumps(describe_maker(make))), 200)
    assert read.func is DiPVNet
    assert read.keywords == {"config": tiny_config()}
    nested = functools.partial(WithSpectrum, functools.partial(VNDGCNN, (4,), k=4), num_radii=3)
    read = maker_of(json.loads(json.dumps(describe_maker(nested))), 200)
    assert read.func is WithSpectrum
    assert read.keywords["make"].keywords == {"widths": (4,), "k": 4}
