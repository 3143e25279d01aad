"""What a person types: recipes of their own, names in place of code, commands beside training."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

import train
from lejepa_jax.objectives.regularizers import ksd, visreg
from lejepa_jax.statistics.edf import watson
from lejepa_jax.training.command_line import ALIASES, parse
from tests.program import tiny_run
from tests.program.helpers import losses, rows, run

MINE = '''"""Digits with a network of my own."""

import dataclasses

from flax import nnx

from tests.program.tiny_run import RECIPE as TINY


class Flat(nnx.Module):
    def __init__(self, *, in_channels, dtype, axis_name, rngs):
        self.features = 6
        self.map = nnx.Linear(64 * in_channels, 6, rngs=rngs)

    def __call__(self, images, *, train=False, keys=None):
        return self.map(images.reshape(len(images), -1))


task = dataclasses.replace(TINY.task, encoder=Flat, projector_layers=1)
RECIPE = dataclasses.replace(TINY, task=task, steps=3, warmup_steps=1)
'''


def test_a_recipe_may_be_a_file_of_ones_own(tmp_path, capsys):
    (tmp_path / "my_net.py").write_text(MINE)
    arguments = [str(tmp_path / "my_net.py"), "--workdir", str(tmp_path / "run"), "--devices", "1"]
    assert train.main([*arguments, "--seed", "3"]) == 0
    assert "my_net: 1,297 examples" in capsys.readouterr().out
    assert len(losses(tmp_path / "run")) == 3
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert described["config"]["seed"] == 3
    assert described["config"]["task"]["encoder"] == "Flat"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "must have a constant RECIPE, a Recipe"),
        ("import nowhere_at_all", "raises ModuleNotFoundError: No module named 'nowhere_at_all'"),
        (None, "is not a file"),
    ],
)
def test_a_file_that_is_no_recipe_gets_one_line(text, message, tmp_path, capsys):
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text)
    assert train.main([str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_encoders_statistics_and_views_are_chosen_by_name(tmp_path):
    _, recipe = parse(
        [
            "digits",
            *("--task.encoder", "vit-Ti(patch_size=4, depth=1)"),
            "--task.views=digits(count=3, size=8)",
            *("--task.statistic", "epps_pulley(t_max=5, num_knots=9)"),
            *("--task.directions", "orthogonal"),
        ],
        tiny_run.recipes(),
        default="digits",
    )
    splits = train.load_data(recipe)
    task = recipe.task.build(splits)
    params = jax.eval_shape(task.init, jax.random.key(0)).params
    assert params["encoder"]["patch_embedding"]["kernel"].shape == (16, 192)
    batch = splits.train.gather(np.arange(4))
    variables = jax.eval_shape(task.init, jax.random.key(0))
    features, _ = jax.eval_shape(task.encode, *variables, jax.random.key(1), batch)
    assert features.shape == (4, 3, 192)
    # Null mean of 9 knots on [0, 5], as Algorithm 1 of the paper has them.
    assert task.metrics["sigreg"].reference == pytest.approx(1.0599, abs=1e-3)


def test_a_regularizer_is_chosen_by_name(tmp_path):
    flags = ["--task.regularizer", "visreg(shape='watson', epsilon=0.1)", "--task.num-slices", "7"]
    _, recipe = parse(["digits", *flags], tiny_run.recipes(), default="digits")
    regularizer = recipe.task.make_regularizer()
    assert regularizer.func is visreg
    assert regularizer.keywords["shape"] is watson
    assert (regularizer.keywords["epsilon"], regularizer.keywords["num_slices"]) == (0.1, 7)
    task = recipe.task.build(train.load_data(recipe))
    assert "sigreg" not in task.metrics
    assert task.metrics["regularizer_ratio"].reference == 1
    # A name in place of a name, which the parser takes for fixed.
    _, recipe = parse(["digits", "--task.regularizer=ksd"], tiny_run.recipes(), default="digits")
    assert recipe.task.make_regularizer() is ksd


def test_a_list_of_texts_takes_each_of_its_values():
    flags = ["lejepa-clouds", "--task.eval-rotations", "axis", "none"]
    _, recipe = parse(flags, tiny_run.recipes(), default="digits")
    assert recipe.task.eval_rotations == ("axis", "none")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task.regularizer", "vicreg"], "regularizer must be one of sigreg, visreg"),
        (["--task.encoder", "resnet19"], "encoder must be one of"),
        (["--task.views", "moon"], "views must be one of digits, small"),
        (["--task.statistic", "moon"], "statistic must be one of epps_pulley"),
        (["--task.directions", "north"], "directions must be one of unit"),
        (["--lerning-rate", "1"], "did you mean --learning-rate?"),
        (["--clip-norm", "-1"], "clip_norm must be positive and finite, got -1"),
        (["--adam-b2", "2"], "adam_b2 must be in [0, 1), got 2"),
        (["--learning-rate", "nan"], "learning_rate must be positive and finite, got nan"),
        (["--final-learning-rate", "-5"], "final_learning_rate must not be negative"),
        (["--task.max-probe-examples", "-3"], "max_probe_examples must be positive, got -3"),
    ],
)
def test_a_mistake_in_a_flag_gets_one_line(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["digits", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_flags_that_people_know_from_elsewhere_work():
    flags = ["digits", "--lr", "0.5", "--batch-size=32", "--task.neighbours", "7"]
    _, recipe = parse(flags, tiny_run.recipes(), default="digits")
    assert (recipe.learning_rate, recipe.global_batch_size, recipe.task.knn_k) == (0.5, 32, 7)
    text = "".join(str(parse(["digits"], tiny_run.recipes(), default="digits")))
    for flag in ALIASES.values():  # each points to a field that there is
        assert re.sub(r"^--(task\.)?", "", flag).replace("-", "_") + "=" in text


def test_the_help_shows_usual_flags_first_and_all_of_them_once(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["digits", "--help"], tiny_run.recipes(), default="digits")
    assert end.value.code == 0
    usual, expert = capsys.readouterr().out.split("expert flags:")
    assert "Takes seconds." in usual
    flags = {
        group: re.findall(r"^  (?:-h, )?(--[\w.-]+)", group, re.M) for group in (usual, expert)
    }
    assert flags[usual][:2] == ["--help", "--data"]
    assert {"--steps", "--seed", "--task.trade-off", "--evaluate-every"} <= set(flags[usual])
    assert {"--adam-b2", "--coordinator", "--heartbeat-seconds"} <= set(flags[expert])
    every = flags[usual] + flags[expert]
    assert len(every) == len(set(every)) > 50
    assert "Number of steps." in usual


def test_the_views_of_a_recipe_are_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["preview", "digits", "--task.views", "digits(count=2, size=8)"]) == 0
    assert "views of digits: views.png" in capsys.readouterr().out
    assert np.asarray(Image.open(tmp_path / "views.png")).std() > 10


# --- the data -------------------------------------------------------------------------------------


def write_images(folder, count, low=0):
    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / "ab"[index % 2] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(low, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


FLAGS = ("--data", "folder", "--global-batch-size", "8", "--steps", "6", "--warmup-steps", "2")


def test_a_run_does_not_go_on_with_other_data_unless_forced(tmp_path, capsys):
    data = write_images(tmp_path / "data", 40)
    flags = (*FLAGS, "--data-dir", str(data))
    assert run(tmp_path / "run", *flags) == 0
    shutil.copytree(data, tmp_path / "moved")
    moved = (*FLAGS, "--data-dir", str(tmp_path / "moved"))
    assert run(tmp_path / "run", *moved) == 0  # the same data elsewhere
    (tmp_path / "moved" / "a" / "000.png").rename(tmp_path / "moved" / "b" / "000.png")
    capsys.readouterr()
    assert run(tmp_path / "run", *moved) == 2
    error = capsys.readouterr().err
    assert "holds a run with other data (" in error
    assert error.count("\n") == 1
    assert run(tmp_path / "run", *moved, "--force") == 0


def test_images_that_turn_unreadable_end_the_run_with_what_was_trained_saved(
    tmp_path, monkeypatch, capsys
):
    data = write_images(tmp_path / "data", 64)
    flags = (*FLAGS, "--data-dir", str(data), "--task.data-options.no-decode-at-once")
    begin = train.Stop.asked

    def asked(stop, step):
        """After the third step, a disk fails."""
        if step == 3:
            for path in data.rglob("*.png"):
                path.write_bytes(b"no image any more")
        return begin(stop, step)

    monkeypatch.setattr(train.Stop, "asked", asked)
    assert run(tmp_path / "run", *flags, "--steps", "40", "--checkpoint-every", "100") == 1
    error = capsys.readouterr().err
    found = re.search(r"unreadable images, .*; step (\d+) is saved", error)
    assert found, error
    assert error.count("\n") == 1
    assert train.Checkpoints(tmp_path / "run").newest() == int(found[1]) >= 3


@pytest.mark.slow
def test_what_was_noticed_about_the_data_is_kept_with_the_run(tmp_path):
    data = write_images(tmp_path / "data", 40)
    assert run(tmp_path / "run", *FLAGS, "--data-dir", str(data), "--evaluate") == 0
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "held out of train" in described["data"]["test"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "held out of train" in page


# --- what is never saved --------------------------------------------------------------------------


def test_weights_that_overflow_are_never_saved(tmp_path, capsys):
    """Moments overflow while gradients are still finite: such an update is skipped."""
    flags = ("--learning-rate", "1e6", "--warmup-steps", "0", "--checkpoint-every", "1")
    with jax.debug_nans(False):
        code = run(tmp_path, *flags)
    capsys.readouterr()
    checkpoints = train.Checkpoints(tmp_path)
    for step in checkpoints.manager.all_steps():
        state = checkpoints.manager.restore(step)["state"]
        for leaf in jax.tree.leaves(state):
            assert np.isfinite(np.asarray(leaf)).all(), step
    checkpoints.close()
    assert code in (0, 1)
    assert all(np.isfinite(row["loss"]) for row in rows(tmp_path) if "loss" in row)
