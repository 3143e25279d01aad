"""The command compares: the linear probe, then from scratch, then the model; each of them once."""

import json
from pathlib import Path

import numpy as np
import pytest
import rich.console

import lejepa_jax
from lejepa_jax.commands import finetune
from lejepa_jax.commands.table import Program
from lejepa_jax.training.errors import UsageError


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    images = (rng.integers(0, 60, (24, 8, 8, 3)) + 190 * labels[:, None, None, None]).astype(
        np.uint8
    )
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    return f"npz:{tmp_path / 'data.npz'}"


class Trained:
    """Stands in for the training of a recipe."""

    def __init__(self, code=0):
        self.code, self.calls = code, []

    def __call__(self, arguments, given):
        name, recipe = given
        self.calls.append(given)
        workdir = Path(recipe.workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "run.json").write_text(json.dumps({"recipe": name, "steps": recipe.steps}))
        row = {"step": recipe.steps, "loss": 0.5}
        (workdir / "metrics.jsonl").write_text(json.dumps(row) + "\n")
        if self.code == 0:
            (workdir / "results.json").write_text(json.dumps({"accuracy": {"encoder": 0.6}}))
        return self.code


def started(model, data, tmp_path, trained, *flags):
    saved = lejepa_jax.save(model, tmp_path / "model")
    program = Program({}, "digits", rich.console.Console(quiet=True), trained)
    workdir = ["--workdir", str(tmp_path / "run")]
    return finetune.run(["finetune", str(saved), "--data", data, *workdir, *flags], program)


def test_the_model_is_compared_with_its_probe_and_with_random_weights(model, data, tmp_path):
    trained = Trained()
    assert (
        started(
            model,
            data,
            tmp_path,
            trained,
            "--labels-per-class",
            "4",
            "--epochs",
            "3",
            "--min-steps",
            "1",
        )
        == 0
    )
    (first, scratch), (second, tuned) = trained.calls
    assert (first, second) == ("from-scratch", "finetune")
    assert (scratch.init_from, tuned.init_from) == (None, str(tmp_path / "model"))
    assert (scratch.task.layer_decay, tuned.task.layer_decay) == (None, 0.75)
    assert (tuned.global_batch_size, tuned.steps, tuned.task.mixup) == (8, 3, 0.0)
    assert tuned.task.encoder is not None
    found = dict(tuned.task.baselines)
    assert found["from scratch"] == 0.6
    # Dark and bright images are told apart by any features.
    assert found["linear probe"] > 0.9
    # The same command again: only the last training is asked to go on.
    assert (
        started(
            model,
            data,
            tmp_path,
            trained,
            "--labels-per-class",
            "4",
            "--epochs",
            "3",
            "--min-steps",
            "1",
        )
        == 0
    )
    assert [name for name, _ in trained.calls[2:]] == ["finetune"]


def test_a_comparison_that_was_stopped_is_gone_on_with(model, data, tmp_path):
    trained = Trained(code=130)
    assert started(model, data, tmp_path, trained) == 130
    assert [name for name, _ in trained.calls] == ["from-scratch"]
    trained.code = 0
    assert started(model, data, tmp_path, trained) == 0
    assert [name for name, _ in trained.calls] == ["from-scratch", "from-scratch", "finetune"]


def test_a_frozen_encoder_without_the_comparison(model, data, tmp_path):
    trained = Trained()
    assert started(model, data, tmp_path, trained, "--frozen", "--no-scratch") == 0
    ((_, recipe),) = trained.calls
    assert recipe.task.frozen
    assert recipe.task.layer_decay is None
    assert dict(recipe.task.baselines).keys() == {"linear probe"}


def test_wrong_flags_are_one_line(model, data, tmp_path):
    with pytest.raises(UsageError, match="--labels-per"):
        started(model, data, tmp_path, Trained(), "--labels-per-clas", "4")
