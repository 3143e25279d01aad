"""A run that is watched: quick evaluations, the best checkpoint, more steps than it had."""

import shutil

import jax
import numpy as np
import pytest

import train
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.quick import run_quick_evaluators
from lejepa_jax.training.checkpoints import Checkpoints
from lejepa_jax.training.optimizer import learning_rates
from lejepa_jax.training.recipe import Recipe
from tests.program import tiny_run
from tests.program.helpers import losses, rows, run

WATCHED = ("--evaluate-every", "6", "--task.quick-examples", "60", "--task.knn-k", "5")


def trained(workdir):
    return [
        [row[n] for n in ("step", "loss", "gradient_norm")]
        for row in rows(workdir)
        if "loss" in row
    ]


def watched(workdir):
    names = ("eval/knn", "eval/linear", "eval/sigreg", "eval/rankme", "eval/effective_rank")
    found = [row for row in rows(workdir) if "eval/knn" in row]
    return {row["step"]: [row[name] for name in names] for row in found}


@pytest.fixture(scope="module")
def watched_run(tmp_path_factory, request):
    """A run that is watched, with what it printed; rated by the k-NN probe."""
    workdir = tmp_path_factory.mktemp("watched")
    train.recipes, before = tiny_run.recipes, train.recipes
    try:
        assert run(workdir, *WATCHED, "--keep-best", "knn") == 0
    finally:
        train.recipes = before
    return workdir


def test_watching_changes_no_loss(watched_run, reference_run):
    assert trained(watched_run) == trained(reference_run)
    assert list(watched(watched_run)) == [6, 12, 18, 20]
    for row in rows(watched_run):
        if "eval/knn" in row:
            assert row["eval/seconds"] > 0
            assert "loss" not in row


def test_there_is_a_checkpoint_at_each_evaluation_and_the_best_is_kept(watched_run):
    checkpoints = Checkpoints(watched_run, best=("eval/knn", True))
    accuracies = {step: values[0] for step, values in watched(watched_run).items()}
    best = max(accuracies.values())
    step = max(step for step, value in accuracies.items() if value == best)
    assert checkpoints.best() == (step, best)
    kept = set(checkpoints.manager.all_steps())
    # Those of every 5 steps that are not evaluated rate nothing.
    assert kept == {step, 15, 18, 20}
    assert checkpoints.manager.metrics(15)["eval/knn"] is None
    assert checkpoints.manager.metrics(18)["eval/knn"] == accuracies[18]
    checkpoints.close()


@pytest.mark.slow
def test_a_watched_run_that_was_stopped_goes_on_bit_for_bit(watched_run, tmp_path, monkeypatch):
    begin = train.Stop.asked

    def asked(stop, step):
        if step == 13:
            stop.signal = train.signal.SIGTERM
        return begin(stop, step)

    with monkeypatch.context() as patch:
        patch.setattr(train.Stop, "asked", asked)
        assert run(tmp_path, *WATCHED) == 0
    assert rows(tmp_path)[-1]["step"] == 13
    assert run(tmp_path, *WATCHED) == 0
    assert trained(tmp_path) == trained(watched_run)
    assert watched(tmp_path) == watched(watched_run)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--keep-best", "moon"), "keep_best must be one of loss, label_free_score, eval/knn"),
        # nothing is evaluated in a run that is not watched
        (("--keep-best", "knn", "--evaluate-every", "0"), "keep_best must be one of loss, label_"),
        (("--keep-best", "prediction"), "got 'prediction'"),
        (("--evaluate-every", "-1"), "evaluate_every must not be negative, got -1"),
        (("--logger", "paper"), "logger must be none, or some of tensorboard, wandb, trackio"),
    ],
)
def test_a_best_that_cannot_be_chosen_gets_one_line(flags, message, tmp_path, capsys):
    assert run(tmp_path / "run", "--evaluate-every", "6", *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


CLOUDS = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("clouds", "lejepa-clouds", "parts")
]


@pytest.mark.parametrize("name", ["classes", *CLOUDS])
def test_every_family_says_what_is_watched(name):
    recipe: Recipe = tiny_run.recipes()[name][1]
    splits: Splits = train.load_data(recipe)
    task = recipe.task.build(splits, dtype=jax.numpy.float32, axis_name=None)
    variables = jax.jit(task.init)(jax.random.key(0))
    place = lambda batch: jax.tree.map(jax.numpy.asarray, dict(batch))  # noqa: E731
    key = jax.random.key(1)
    found = run_quick_evaluators(task.quick_evaluators, key, variables, splits, place)
    assert set(found) == {name for name in task.metrics if name.startswith("eval/")}
    accuracy = found["eval/knn" if "lejepa" in name else "eval/accuracy"]
    assert 0 <= accuracy <= 1
    assert task.metrics["eval/knn" if "lejepa" in name else "eval/accuracy"].higher_is_better


# --- more steps -----------------------------------------------------------------------------------


def test_a_finished_run_restarts_warm_and_decays_anew(reference_run, tmp_path, capsys):
    shutil.copytree(reference_run, tmp_path, dirs_exist_ok=True)
    flags = ("--steps", "30", "--extend", "warm_restart", "--warmup-steps", "10")
    assert run(tmp_path, *flags) == 0
    assert len(losses(tmp_path)) == 30
    rates = [row["learning_rate"] for row in rows(tmp_path)]
    # Ten steps are too few for ten of warm-up: a tenth of them.
    np.testing.assert_allclose(rates[20:23], [1e-6, 1e-3, 9.7e-4], rtol=0.02)
    assert rates[29] < 5e-5
    # The same command goes on with what there is, and less with another end.
    assert run(tmp_path, *flags) == 0
    assert run(tmp_path, "--steps", "32") == 0
    rates = [row["learning_rate"] for row in rows(tmp_path)]
    np.testing.assert_allclose(rates[30:], 1e-6, rtol=1e-5)
    capsys.readouterr()


def test_a_run_that_has_not_come_to_its_end_does_not_restart(tmp_path, monkeypatch, capsys):
    begin = train.Stop.asked

    def asked(stop, step):
        if step == 3:
            stop.signal = train.signal.SIGTERM
        return begin(stop, step)

    with monkeypatch.context() as patch:
        patch.setattr(train.Stop, "asked", asked)
        assert run(tmp_path) == 0
    capsys.readouterr()
    assert run(tmp_path, "--steps", "40", "--extend", "warm_restart") == 2
    error = capsys.readouterr().err
    assert "has not come to its end (step 3 of 20), got warm_restart" in error


def test_the_rates_of_a_restart_are_those_of_a_run_of_its_length():
    whole = Recipe("digits", tiny_run.RECIPE.task, steps=50, warmup_steps=10, learning_rate=1.0)
    again = Recipe(
        "digits",
        tiny_run.RECIPE.task,
        steps=150,
        warmup_steps=10,
        learning_rate=1.0,
        restart_at=100,
    )
    first, second = learning_rates(whole), learning_rates(again)
    np.testing.assert_allclose(
        [second(100 + k) for k in range(10, 50)], [first(k) for k in range(10, 50)]
    )
    assert float(second(100)) == pytest.approx(1e-3, rel=1e-4)
