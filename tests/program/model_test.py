"""What a run leaves behind: a model whose features are those that the run itself evaluated."""

import json
import shutil

import jax
import numpy as np
import pytest

import lejepa_jax
import train
from lejepa_jax.data import load as load_data
from lejepa_jax.evaluation.suite import ProbeResults
from lejepa_jax.models.tensors import name_arrays
from lejepa_jax.tasks import probing
from tests.program import tiny_run
from tests.program.helpers import run


@pytest.fixture
def probed(monkeypatch):
    """Features that the run's own evaluation hands to its probes: those of the encoder first."""
    seen = []

    def record(key, train, train_labels, test, test_labels, **options):
        seen.append((np.asarray(train), np.asarray(test)))
        return ProbeResults({"knn": 0.5}, np.zeros(len(test_labels), int))

    monkeypatch.setattr(probing, "run_probes", record)
    return seen


def digits(part):
    source = getattr(load_data("digits", image_size=8), part)
    return source.gather(np.arange(len(source)))["image"]


@pytest.mark.parametrize(
    "flags",
    [
        ("--devices", "1"),
        pytest.param(("--devices", "8", "--ema-decay", "0.9"), marks=pytest.mark.slow),
        pytest.param(("--precision", "bfloat16"), marks=pytest.mark.slow),
        pytest.param(
            ("--devices", "4", "--mesh", "data=2,fsdp=2", "--task.hidden-features", "2048"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_leaves_the_features_that_it_evaluated_bit_for_bit(flags, probed, tmp_path):
    assert run(tmp_path, "--steps", "3", "--evaluate", *flags) == 0
    model = lejepa_jax.load(tmp_path)
    train, test = probed[0]
    np.testing.assert_array_equal(model(digits("test")), test)
    np.testing.assert_array_equal(model(digits("train")), train)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["precision"] == ("bfloat16" if "bfloat16" in flags else "float32")
    averaged = "--ema-decay" in flags
    assert config["provenance"]["weights"].startswith("exponential" if averaged else "those")
    assert config["provenance"]["step"] == 3
    assert config["provenance"]["results"]["knn"]["encoder"] == 0.5
    assert all(a.dtype == np.float32 for a in jax.tree.leaves(model.variables))


def test_a_run_that_was_stopped_loads_from_its_newest_checkpoint(reference_run, tmp_path):
    workdir = shutil.copytree(reference_run, tmp_path / "run")
    whole = lejepa_jax.load(workdir)
    assert whole.provenance["step"] == 20
    shutil.rmtree(workdir / "model")
    before = sorted(path for path in workdir.rglob("*"))
    stopped = lejepa_jax.load(workdir)
    assert stopped.provenance["step"] == 20
    assert stopped.digest() == whole.digest()
    # A newest checkpoint that is damaged is passed over, and nothing is moved.
    damaged = next(p for p in (workdir / "checkpoints" / "20").rglob("*") if p.stat().st_size > 500)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert lejepa_jax.load(workdir).provenance["step"] == 15
    assert sorted(path for path in workdir.rglob("*")) == before


def test_a_model_older_than_the_newest_checkpoint_is_not_the_one_that_is_loaded(
    reference_run, tmp_path
):
    workdir = shutil.copytree(reference_run, tmp_path / "run")
    config = json.loads((workdir / "model" / "config.json").read_text())
    config["provenance"]["step"] = 10
    (workdir / "model" / "config.json").write_text(json.dumps(config))
    assert lejepa_jax.load(workdir).provenance["step"] == 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classes", "lejepa-clouds", "clouds", "parts"])
def test_every_family_leaves_a_model(name, tmp_path):
    flags = ["--steps", "1", "--workdir", str(tmp_path), "--devices", "1"]
    assert train.main([name, *flags]) == 0
    model = lejepa_jax.load(tmp_path)
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (2, 8, 8, 1), np.uint8)
    if name != "classes":
        inputs = rng.normal(size=(2, 24, 3))
    assert model(inputs).shape == (2, model.features)
    task = tiny_run.recipes()[name][1].task
    assert model.preprocessing.batch_size == task.eval_batch_size
    assert name_arrays(model.variables.params)


def test_a_run_whose_model_cannot_be_written_says_so(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lejepa_jax.models.saving.write_tensors", full)
    assert run(tmp_path, "--steps", "1") == 1
    assert "no model was written: No space left on device" in capsys.readouterr().out


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    """A labeled data set that is not the one trained on: 80 digits."""
    splits = load_data("digits", image_size=8)
    train, test = splits.train.gather(np.arange(50)), splits.test.gather(np.arange(30))
    path = tmp_path_factory.mktemp("data") / "few.npz"
    arrays = {"x_train": train["image"], "y_train": train["label"]}
    np.savez(path, **arrays, x_test=test["image"], y_test=test["label"])
    return path


@pytest.mark.slow
def test_a_model_is_probed_on_another_data_set(reference_run, few_digits, probed, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--data", f"npz:{few_digits}", "--out", str(out)]
    assert train.main(["evaluate", str(reference_run), *flags]) == 0
    with np.load(few_digits) as arrays:
        model = lejepa_jax.load(reference_run)
        np.testing.assert_allclose(probed[0][0], model(arrays["x_train"]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(probed[0][1], model(arrays["x_test"]), rtol=1e-5, atol=1e-6)
    # The encoder, an untrained one, and the pixels.
    assert len(probed) == 3
    assert not np.allclose(probed[0][0], probed[1][0])
    results = json.loads((out / "results.json").read_text())
    assert set(results["knn"]) == {"encoder", "untrained", "pixels"}
    assert "Results on held-out data" in (out / "report.html").read_text()
    assert train.main(["evaluate", str(reference_run), "--num-layers", "2", *flags]) == 2
    assert "num_layers must be 1 with this encoder" in capsys.readouterr().err


@pytest.mark.slow
def test_probes_on_the_data_of_the_run_find_what_the_run_found(tmp_path):
    assert run(tmp_path / "run", "--steps", "5", "--evaluate") == 0
    flags = ["--data", "digits", "--out", str(tmp_path / "out")]
    assert train.main(["evaluate", str(tmp_path / "run"), *flags]) == 0
    own = json.loads((tmp_path / "run" / "results.json").read_text())
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    # Both read the same features; k-NN draws nothing.
    assert again["knn"]["encoder"] == own["knn"]["encoder"]
    assert again["knn"]["pixels"] == own["knn"]["pixels"]
    assert abs(again["linear"]["encoder"] - own["linear"]["encoder"]) < 0.05


def test_a_run_begins_with_a_model(reference_run, tmp_path, capsys):
    given = lejepa_jax.load(reference_run)
    # With a learning rate of almost nothing, what it ends with is what it began with.
    flags = ["--init-from", str(reference_run), "--steps", "1", "--learning-rate", "1e-30"]
    assert run(tmp_path / "same", *flags, "--ema-decay", "0.5") == 0
    said = capsys.readouterr().out
    assert "init from" in said
    assert "arrays used" in said
    ended = lejepa_jax.load(tmp_path / "same")
    for part, own in zip(
        given.variables.params.values(), ended.variables.params.values(), strict=True
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), part, own)
    assert ended.provenance["init_from"] == str(reference_run)
    # Resumed, it goes on from its checkpoint, and not from another model.
    assert run(tmp_path / "same", *flags, "--ema-decay", "0.5") == 0
    assert "init from" not in capsys.readouterr().out
    assert (
        run(tmp_path / "same", "--steps", "1", "--learning-rate", "1e-30", "--ema-decay", "0.5")
        == 2
    )
    assert f"init_from was {reference_run}, is None" in capsys.readouterr().err
    # Of another architecture: one line.
    assert (
        train.main(["classes", "--workdir", str(tmp_path / "x"), *flags[:4], "--devices", "1"]) == 2
    )
    assert "the encoder of init_from does not fit" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_is_sharded_where_the_run_shards_its_weights(reference_run, tmp_path):
    flags = ["--init-from", str(reference_run), "--steps", "1", "--learning-rate", "1e-30"]
    flags += ["--devices", "4", "--mesh", "data=2,fsdp=2", "--task.hidden-features", "4096"]
    assert run(tmp_path, *flags) == 0
    given, ended = lejepa_jax.load(reference_run), lejepa_jax.load(tmp_path)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7),
        given.variables.params["encoder"],
        ended.variables.params["encoder"],
    )


@pytest.mark.slow
def test_a_model_is_fine_tuned_and_the_report_compares(reference_run, few_digits, tmp_path):
    flags = [
        "--data",
        f"npz:{few_digits}",
        "--workdir",
        str(tmp_path),
        "--min-steps",
        "2",
        "--epochs",
        "2",
        "--devices",
        "1",
    ]
    assert train.main(["finetune", str(reference_run), *flags]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["accuracy"]) >= {"encoder", "untrained", "linear probe", "from scratch"}
    assert "from scratch" in (tmp_path / "report.html").read_text()
    assert lejepa_jax.load(tmp_path).provenance["init_from"] == str(reference_run)
    # Again: it is resumed, and ends at once.
    assert train.main(["finetune", str(reference_run), *flags]) == 0
