"""Models of fields in use: every command takes files of series as it takes images."""

import functools
import json
import re

import jax
import numpy as np
import pytest

import lejepa_jax
import train
from lejepa_jax.models import FieldPreprocessing, random_model, save
from lejepa_jax.models.feature_files import read_rows
from lejepa_jax.models.reuse import load_for
from lejepa_jax.nn import ViT
from lejepa_jax.nn.fields import Field


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    make = functools.partial(
        ViT,
        num_axes=1,
        width=8,
        depth=1,
        num_heads=2,
        patch_size=4,
        image_size=16,
        pooling="mean",
        position="axial",
        in_channels=2,
    )
    own = FieldPreprocessing(
        stored_size=(24,),
        eval_size=(16,),
        mean=(1.0, 0.0),
        std=(2.0, 1.0),
        low=(-9.0, -9.0),
        high=(9.0, 9.0),
        fit="pad",
        batch_size=8,
    )
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save(random_model(jax.random.key(0), {"encoder": make}, own), folder)
    return folder


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """12 series of 2 classes that differ in their speed, and one file that is broken."""
    folder, rng = tmp_path_factory.mktemp("data") / "waves", np.random.default_rng(0)
    for name, speed in (("fast", 1.2), ("slow", 0.3)):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            time = np.arange(12 + 2 * i)[:, None] * speed + rng.uniform(0, 6)
            values = np.concatenate([np.sin(time), np.cos(time)], 1).astype(np.float32)
            np.save(folder / name / f"{i}.npy", values)
    (folder / "slow" / "torn.npy").write_bytes(b"\x93NUMPY not an array")
    return folder


def run(*arguments):
    return train.main([*map(str, arguments)])


def test_embed_writes_what_a_call_gives(model, series, tmp_path):
    out = tmp_path / "features.npz"
    assert run("embed", model, "--data-dir", series, "--out", out) == 0
    rows = [row for piece in read_rows(out) for row in zip(*piece, strict=True)]
    assert len(rows) == 12
    expected = lejepa_jax.load(model)([np.load(series / path) for path, _, _ in rows])
    assert {(path.split("/")[0], label) for path, label, _ in rows} == {
        ("fast", "fast"),
        ("slow", "slow"),
    }
    np.testing.assert_allclose([row[2] for row in rows], expected, rtol=1e-5, atol=1e-6)
    unreadable = json.loads((tmp_path / "features.npz.json").read_text())["unreadable"]
    assert [record["path"] for record in unreadable] == ["slow/torn.npy"]


def test_explore_draws_every_field(model, series, tmp_path):
    out = tmp_path / "page.html"
    flags = ("--clusters", "2", "--scored", "4", "--map", "pca", "--out", out)
    assert run("explore", model, "--data-dir", series, *flags) == 0
    text = re.search(r"application/json\">(.*?)</script>", out.read_text(), re.DOTALL).group(1)
    data = json.loads(text)
    assert len(data["paths"]) == 12
    assert len(data["sheets"]) == 1
    scores = [score for score in data["score"] if score is not None]
    assert len(scores) == 4
    assert np.isfinite(scores).all()


@pytest.mark.slow
def test_evaluate_probes_against_the_values(model, series, tmp_path):
    flags = ("--data-dir", series, "--out", tmp_path, "--max-bad-records", "1", "--knn-k", "1")
    assert run("evaluate", model, "--data", "folder", *flags) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["knn"]) == {"encoder", "untrained", "values"}


@pytest.mark.slow
def test_finetune_learns_and_its_model_is_one_of_fields(model, series, tmp_path):
    flags = ("--data-dir", series, "--workdir", tmp_path / "run", "--max-bad-records", "1")
    flags += ("--epochs", "1", "--min-steps", "20", "--no-scratch", "--devices", "1")
    # Optax promotes types by itself.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert run("finetune", model, *flags, "--layer-decay", "1") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results["accuracy"]) >= {"encoder", "linear probe"}
    tuned, before = lejepa_jax.load(tmp_path / "run"), lejepa_jax.load(model)
    assert tuned.preprocessing.normalization == before.preprocessing.normalization
    few = [np.load(series / "fast" / "0.npy")]
    assert np.abs(tuned(few) - before(few)).max() > 1e-3


def test_export_is_a_function_of_values_and_measure(model, tmp_path, unchecked):
    pytest.importorskip("flatbuffers")
    out = tmp_path / "program.bin"
    assert run("export", model, "--out", out, "--format", "stablehlo") == 0
    loaded = lejepa_jax.load(model)
    values = np.random.default_rng(0).normal(size=(3, 16, 2)).astype(np.float32)
    measure = np.ones((3, 16), np.float32)
    measure[0, 9:] = 0
    found = jax.export.deserialize(bytearray(out.read_bytes())).call(values, measure)
    expected = loaded.apply(loaded.params, Field(values, measure))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def bands():
    """A model of five bands, a token each."""
    sizes = {"width": 8, "depth": 1, "num_heads": 2, "patch_size": 4, "image_size": 8}
    make = functools.partial(ViT, **sizes, pooling="mean", in_channels=5, isolated_channels=True)
    own = FieldPreprocessing(
        stored_size=(8, 8),
        eval_size=(8, 8),
        mean=(4000.0, 4500.0, 5000.0, 4000.0, 4200.0),
        std=(2000.0, 2600.0, 3000.0, 2500.0, 2000.0),
        low=(0.0,) * 5,
        high=(9000.0,) * 5,
        dtype="uint16",
        channel_names=("b", "g", "r", "nir", "swir"),
        batch_size=4,
    )
    return random_model(jax.random.key(0), {"encoder": make}, own)


@pytest.mark.slow
def test_a_run_with_isolated_channels_leaves_a_model_that_knows_their_names(tmp_path):
    flags = ("--data", "digits-bands", "--steps", "1", "--global-batch-size", "8", "--devices", "1")
    flags += ("--task.weigh", "--task.num-slices", "8", "--no-evaluate", "--workdir", tmp_path)
    text = "vit(width=16, depth=1, num_heads=2, patch_size=6, pooling='mean', position='axial', "
    flags += ("--task.encoder", text + "isolated_channels=True)")
    flags += ("--task.data-options.channel-names", "b", "g", "r", "nir", "swir")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert run("multiband", *flags) == 0
        values = np.zeros((1, 8, 8, 2), np.uint16)
        assert lejepa_jax.load(tmp_path)(values, channels=("nir", "b")).shape == (1, 16)


def test_a_model_takes_a_part_of_its_bands_in_any_order_by_name_or_number(bands, unchecked):
    values = np.random.default_rng(0).integers(0, 9000, (2, 8, 8, 5)).astype(np.uint16)
    whole = bands(values)
    order = (4, 2, 0, 3, 1)
    np.testing.assert_allclose(bands(values[..., order], channels=order), whole, atol=1e-5)
    few = bands(values[..., (3, 0)], channels=("nir", "b"))
    assert np.abs(few - whole).max() > 1e-3
    unknown = bands(values[..., (3, 1, 0)], channels=("nir", None, 0))
    np.testing.assert_allclose(unknown, few, atol=1e-6)
    for wrong in ("radar", 5):
        with pytest.raises(ValueError, match=r"must be of this model .*the model was not trained"):
            bands(values[..., :2], channels=("b", wrong))
    with pytest.raises(ValueError, match="must be different ones"):
        bands(values[..., :2], channels=("b", 0))
    with pytest.raises(ValueError, match=r"must be \(height, width, 2\)"):
        bands(values, channels=("b", "g"))


def test_data_of_other_channels_get_one_line(model, tmp_path, capsys):
    np.savez(tmp_path / "other.npz", values=np.zeros((8, 9, 3), np.float32), label=np.arange(8) % 2)
    assert run("evaluate", model, "--data", f"npz:{tmp_path / 'other.npz'}") == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "data must have fields of 2 channels for this model, got 3" in message


def test_data_with_the_channels_in_another_order_are_refused(bands, tmp_path, unchecked):
    values, names = np.zeros((8, 8, 8, 5), np.uint16), ["g", "b", "r", "nir", "swir"]
    file = tmp_path / "other.npz"
    np.savez(file, values=values, label=np.arange(8) % 2, channel_names=np.array(names))
    with pytest.raises(ValueError, match=r"the channels b, g, r, nir, swir .* got g, b, r, nir"):
        load_for(bands, f"npz:{file}")
