"""What a run leaves behind: a model whose features are those that the run itself evaluated."""

import json
import shutil

import jax
import numpy as np
import pytest

import lejepa_jax
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


@pytest.mark.parametrize(
    "name",
    [
        "classes",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("lejepa-clouds", "clouds", "parts")),
    ],
)
def test_every_family_leaves_a_model(name, tmp_path):
    import train

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
