"""The program as a person uses it: real runs, real files, real signals."""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import numpy as np
import optax
import pytest

import train
from lejepa_jax.nn import ViT
from lejepa_jax.tasks.images import ImageConfig
from lejepa_jax.training.networks import Variables
from lejepa_jax.training.optimizer import learning_rates
from lejepa_jax.training.recipe import describe
from lejepa_jax.training.step import make_gradient, make_step
from recipes import recipes
from tests.program import tiny_run
from tests.program.helpers import (
    losses,
    modified,
    rows,
    run,
    run_to_the_end,
    start,
    wait_for_steps,
)

# --- one curve, however it is run -----------------------------------------------------------------


# Every pair of them. Of jit, there is a quick test on a mesh of 8 devices in distributed_test.py.
QUICK = {("shard_map", 4), ("pmap", 2)}


@pytest.mark.parametrize(
    ("strategy", "devices"),
    [
        pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow)
        for pair in itertools.product(["shard_map", "pmap", "jit"], [1, 2, 4, 8])
    ],
)
def test_every_strategy_and_number_of_devices_gives_the_same_20_steps(
    strategy, devices, reference_curve, tmp_path
):
    flags = ("--strategy", strategy, "--devices", str(devices), "--checkpoint-every", "20")
    assert run(tmp_path, *flags) == 0
    curve = np.array(losses(tmp_path))
    assert curve.shape == (20, 6)
    # loss, prediction and sigreg; the others are no part of the promise
    np.testing.assert_allclose(curve[:, :4], reference_curve[:, :4], rtol=1e-4)


@pytest.mark.slow
def test_another_seed_gives_another_curve(reference_curve, tmp_path):
    assert run(tmp_path, "--seed", "1", "--steps", "11") == 0
    assert not np.allclose(np.array(losses(tmp_path))[:, 1], reference_curve[:11, 1], rtol=1e-2)


# --- stopped and resumed --------------------------------------------------------------------------


def test_a_run_that_was_killed_ends_with_the_same_losses_bit_for_bit(undisturbed, tmp_path):
    process = start(tmp_path)
    wait_for_steps(tmp_path, 12, process)
    process.kill()
    process.communicate()
    process = start(tmp_path)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "resuming at step" in output
    assert losses(tmp_path) == undisturbed


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_resume(undisturbed, tmp_path):
    process = start(tmp_path)
    wait_for_steps(tmp_path, 7, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    stopped = re.search(r"stopped and saved at step (\d+); resume with: (.*)", output)
    assert stopped, output
    assert f"--workdir {tmp_path}" in stopped.group(2)
    assert train.Checkpoints(tmp_path).newest() == int(stopped.group(1)) >= 7
    assert run_to_the_end(tmp_path) == undisturbed


def test_the_newest_three_and_the_best_checkpoint_are_kept(tmp_path):
    checkpoints = train.Checkpoints(tmp_path)
    for step, loss in enumerate([5.0, 4.0, 1.0, 3.0, 2.0, 6.0, 7.0]):
        weights = Variables({"w": jax.numpy.full(2, float(step))}, {})
        state = train.TrainState(jax.numpy.int32(step), weights, (), None)
        checkpoints.save(step, state._asdict(), {"next_index": step}, {}, loss=loss)
    checkpoints.close()
    assert set(train.Checkpoints(tmp_path).manager.all_steps()) == {2, 4, 5, 6}


def test_a_checkpoint_is_rated_by_the_mean_loss_since_the_one_before(tmp_path):
    assert run(tmp_path, "--checkpoint-every", "6") == 0
    manager = train.Checkpoints(tmp_path).manager
    mean = np.mean([row["loss"] for row in rows(tmp_path) if 12 < row["step"] <= 18])
    assert manager.metrics(18)["loss"] == pytest.approx(mean)


def test_another_configuration_does_not_touch_the_run(reference_run, tmp_path, capsys):
    shutil.copytree(reference_run, tmp_path, dirs_exist_ok=True)
    before = modified(tmp_path)
    assert run(tmp_path, "--learning-rate", "0.5") == 2
    message = capsys.readouterr().err
    assert "learning_rate was 0.001, is 0.5" in message
    assert message.count("\n") == 1
    assert modified(tmp_path) == before
    # with --force it goes on
    assert run(tmp_path, "--steps", "22", "--learning-rate", "0.5", "--force") == 0
    assert rows(tmp_path)[-1]["step"] == 22
    # what changes the log or the evaluation alone is no other configuration
    flags = ("--learning-rate", "0.5", "--log-every", "5", "--task.eval-batch-size", "50")
    assert run(tmp_path, "--steps", "22", *flags) == 0


def test_a_run_gets_more_steps_at_the_last_rate_and_as_if_it_always_had_them(
    reference_run, tmp_path, capsys
):
    shutil.copytree(reference_run, tmp_path, dirs_exist_ok=True)
    assert run(tmp_path, "--steps", "24") == 0
    assert "resuming at step 20" in capsys.readouterr().out
    rates = [row["learning_rate"] for row in rows(tmp_path)]
    assert len(rates) == 24
    # The schedule ends at a thousandth of the peak, and stays there.
    np.testing.assert_allclose(rates[20:], 1e-6, rtol=1e-5)
    before = modified(tmp_path / "checkpoints")
    assert run(tmp_path, "--steps", "24") == 0
    assert modified(tmp_path / "checkpoints") == before
    # Fewer steps would be another run.
    assert run(tmp_path, "--steps", "10") == 2
    assert "steps was 24, is 10" in capsys.readouterr().err


def test_a_run_too_short_for_its_warm_up_warms_up_for_a_tenth_and_says_so(tmp_path, capsys):
    assert run(tmp_path, "--steps", "10", "--warmup-steps", "50") == 0
    assert "10 steps, 1 of them warm-up" in capsys.readouterr().out
    rates = [row["learning_rate"] for row in rows(tmp_path)]
    assert rates[0] == 0
    assert max(rates) == rates[1] == pytest.approx(1e-3)


# --- what can go wrong ----------------------------------------------------------------------------


def test_losses_that_are_no_numbers_stop_the_run_and_overwrite_nothing(tmp_path, capsys):
    flags = ("--learning-rate", "1e30", "--warmup-steps", "8", "--max-skipped-steps", "2")
    with jax.debug_nans(False):
        code = run(tmp_path, *flags)
    assert code == 1
    captured = capsys.readouterr()
    assert "is skipped: loss is" in captured.out
    found = re.search(
        r"loss is (nan|inf); .*no finite gradient in \d+ of \d+ arrays \(encoder/.* at step (\d+), "
        r"the last of 3 steps without a finite gradient and update; last finite metrics: (\{.*\})",
        captured.err,
    )
    assert found, captured.err
    last = json.loads(found.group(3))
    assert last["step"] == int(found.group(2)) - 3
    newest = train.Checkpoints(tmp_path).newest()
    assert newest is None or newest < int(found.group(2))
    assert all(np.isfinite(row["loss"]) for row in rows(tmp_path) if "loss" in row)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["moon"], "unknown recipe 'moon'; there are digits"),
        (
            ["digits", "--devices", "3"],
            "global_batch_size must be divisible by the 3 devices, got 64",
        ),
        (["digits", "--devices", "99"], "devices must be at most 8 here, got 99"),
        (["digits", "--data", "nowhere"], "nowhere"),
        (["digits", "--data", "folder"], "data_dir must name a folder of images"),
        (["digits", "--data", "folder:/nowhere"], "/nowhere"),
        (
            ["digits", "--global-batch-size", "4096"],
            "global_batch_size must not exceed the 1297 training",
        ),
        (["digits", "--microbatch", "24"], "microbatch must divide the 8 examples of a device"),
        (["digits", "--steps", "0"], "steps must be at least 1, got 0"),
        (["digits", "--task.num-slices", "0"], "num_slices must be positive, got 0"),
        (["digits", "--task.trade-off", "2"], "trade_off must be between 0 and 1"),
        (["digits", "--strategy", "magic"], "invalid choice 'magic' for argument '--strategy'"),
        (["digits", "--learning-rat", "1"], "--learning-rat"),
    ],
)
def test_a_mistake_gets_one_line_and_code_2_before_anything_is_written(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["dogs", "one.png"])
def test_an_empty_class_and_an_unreadable_image_get_one_line(wrong, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "cats").mkdir(parents=True)
    if wrong == "dogs":
        (tmp_path / "data" / "dogs").mkdir()
    (tmp_path / "data" / "cats" / "one.png").write_bytes(b"not a picture")
    assert train.main(["digits", "--data", "folder", "--data-dir", "data"]) == 2
    error = capsys.readouterr().err
    assert wrong in error
    assert error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


# --- the end --------------------------------------------------------------------------------------


def test_a_run_ends_with_results_a_table_and_a_report(tmp_path, capsys):
    watched = ("--evaluate-every", "10", "--task.quick-examples", "60")
    assert run(tmp_path, "--evaluate", "--ema-decay", "0.9", *watched) == 0
    output = capsys.readouterr().out
    assert "step 10/20  held out: knn 0." in output
    assert "1-shot" in output
    assert str(tmp_path / "report.html") in output.replace("\n", "")
    results = json.loads((tmp_path / "results.json").read_text())
    for probe in ("knn", "linear", "few_shot_1", "few_shot_5", "few_shot_10"):
        assert set(results[probe]) == {"encoder", "untrained", "pixels"}
        assert all(0 <= value <= 1 for value in results[probe].values())
    # 500 held-out digits: better than chance by far, even here.
    assert results["linear"]["encoder"] > 0.4
    assert results["diagnostics"]["sigreg_null"] == pytest.approx(1.0525, abs=1e-3)
    # The mean over the last tenth of the rows.
    scores = [row["label_free_score"] for row in rows(tmp_path) if "label_free_score" in row]
    score = results["diagnostics"]["encoder"]["label_free_score"]
    assert score == pytest.approx(np.mean(scores[-2:]))
    page = (tmp_path / "report.html").read_text()
    assert "after step 20: loss" in page
    assert "eval/knn 0." in page
    assert "<h2>Views</h2>" in page
    assert "<img" in page
    assert "://" not in re.sub(r"data:image/[^\"]*|xmlns=\"[^\"]*\"", "", page)
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["config"]["ema_decay"] == 0.9
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_the_same_command_after_the_end_evaluates_again_and_trains_no_more(reference_run, tmp_path):
    shutil.copytree(reference_run, tmp_path, dirs_exist_ok=True)
    before = losses(tmp_path)
    assert run(tmp_path) == 0
    assert losses(tmp_path) == before


@pytest.mark.slow
def test_bfloat16_follows_float32(reference_curve, tmp_path):
    assert run(tmp_path, "--precision", "bfloat16") == 0
    curve = np.array(losses(tmp_path))
    np.testing.assert_allclose(curve[:, 1], reference_curve[:, 1], rtol=0.05)


def test_a_checkpoint_holds_no_pickle(reference_run):
    assert train.Checkpoints(reference_run).newest() == 20
    for path in reference_run.rglob("*"):
        # a pickle of protocol 2 or newer begins so
        assert path.is_dir() or not path.read_bytes().startswith((b"\x80\x02", b"\x80\x04"))


# --- the other recipes ----------------------------------------------------------------------------

RECIPES = recipes()


def test_there_are_the_promised_recipes_and_each_says_its_command():
    promised = {"digits", "cifar10-resnet18", "cifar10-vit", "imagenette-vit-s8"}
    assert promised | {"imagenet-vit-l14", "folder"} <= set(RECIPES)
    for name, (text, recipe) in RECIPES.items():
        assert f"python train.py {name}" in text
        json.dumps(describe(recipe))


ON_IMAGES = [n for n, (_, recipe) in RECIPES.items() if isinstance(recipe.task, ImageConfig)]


# The rest are of the same parts, and larger.
TRACED = {"folder"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in TRACED else pytest.mark.slow)
        for name in ON_IMAGES
        if name != "digits"
    ],
)
def test_the_step_of_every_recipe_fits_together(name, tmp_path):
    """Trace what a run would do, on a tiny data set, without compiling it."""
    recipe = RECIPES[name][1]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 40, 48, 3), dtype=np.uint8)
    np.savez(tmp_path / "tiny.npz", images=images, labels=np.arange(30) % 3)
    recipe = dataclasses.replace(recipe, data=f"npz:{tmp_path / 'tiny.npz'}", global_batch_size=8)
    splits = train.load_data(recipe)
    task = recipe.task.build(splits, dtype=jax.numpy.bfloat16, axis_name=None)
    optimizer = train.make_optimizer(recipe, task.kinds)
    key = jax.random.key(0)
    state = jax.eval_shape(functools.partial(train.initial_state, recipe, task, optimizer), key)
    step = make_step(recipe, optimizer, make_gradient(recipe, task, key))
    batch = splits.train.gather(np.arange(8))
    after, metrics = jax.eval_shape(step, state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    chex_shapes = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), after, state)
    assert all(jax.tree.leaves(chex_shapes))
    assert {"loss", "gradient_norm", "learning_rate"} <= set(metrics)


@pytest.mark.skipif(sys.platform != "linux", reason="tells glibc")
def test_the_program_begins_anew_with_huge_pages_and_keeps_what_it_was_told():
    told = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}
    command = [sys.executable, "train.py", "nonsense"]
    with subprocess.Popen(command, env=told, stderr=subprocess.PIPE, text=True) as process:
        seen = b""
        while process.poll() is None and b"hugetlb" not in seen:
            with contextlib.suppress(OSError):
                seen = Path(f"/proc/{process.pid}/environ").read_bytes()
            time.sleep(0.01)
        message = process.communicate()[1]
    assert b"GLIBC_TUNABLES=glibc.malloc.perturb=0" in seen
    assert b"glibc.malloc.hugetlb=1" in seen  # glibc may have cut the two apart in place
    assert process.returncode == 2
    assert "unknown recipe 'nonsense'" in message


def test_sgd_adds_decay_to_the_gradient_of_kernels_and_then_momentum():
    recipe = dataclasses.replace(
        tiny_run.RECIPE, optimizer="sgd", learning_rate=0.5, weight_decay=0.1, momentum=0.8
    )
    kinds = {"layer": {"kernel": "weight", "bias": "other"}}
    optimizer = train.make_optimizer(recipe, kinds)
    params = {"layer": {"kernel": jax.numpy.full(2, 3.0), "bias": jax.numpy.full(2, 4.0)}}
    state, gradient = optimizer.init(params), jax.tree.map(jax.numpy.ones_like, params)
    expected = {"kernel": 3.0, "bias": 4.0}
    moved = dict.fromkeys(expected, 0.0)
    for step in range(3):
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        for name, decay in {"kernel": 0.1, "bias": 0.0}.items():
            moved[name] = 0.8 * moved[name] + 1 + decay * expected[name]
            expected[name] -= float(learning_rates(recipe)(step)) * moved[name]
            np.testing.assert_allclose(params["layer"][name], expected[name], rtol=1e-6)


@pytest.mark.slow
def test_micro_batches_give_the_gradient_of_the_whole_batch_in_less_memory():
    """With an encoder that does not normalize over the batch; the projector's BatchNorm may."""
    small = functools.partial(ViT, width=32, depth=2, num_heads=2, patch_size=2, image_size=8)
    task = dataclasses.replace(tiny_run.RECIPE.task, encoder=small)
    recipe = dataclasses.replace(tiny_run.RECIPE, task=task, global_batch_size=128)
    splits = train.load_data(recipe)
    built = task.build(splits, axis_name=train.axis_name_of(recipe))
    optimizer = optax.sgd(lambda count: 1.0)  # what changes is the gradient
    key = jax.random.key(0)
    state = train.initial_state(recipe, built, optimizer, key)
    batch = {k: jax.numpy.asarray(v) for k, v in splits.train.gather(np.arange(128)).items()}
    mesh = train.choose_devices(dataclasses.replace(recipe, devices=2))
    ends, bytes_ = [], []
    for parts in (1, 4):
        like = jax.eval_shape(lambda: state)
        parallel = train.parallelize(recipe, mesh, built, optimizer, key, like, parts)
        compiled = jax.jit(parallel.step.__wrapped__).lower(state, batch).compile()
        ends.append(compiled(state, batch))
        bytes_.append(compiled.memory_analysis().temp_size_in_bytes)
    (whole, metrics), (parted, parted_metrics) = ends
    np.testing.assert_allclose(metrics["loss"], parted_metrics["loss"], rtol=1e-5)
    gradient = jax.tree.map(np.subtract, whole.variables.params, state.variables.params)
    largest = max(np.abs(g).max() for g in jax.tree.leaves(gradient))
    chex.assert_trees_all_close(parted.variables, whole.variables, atol=1e-5 * largest, rtol=1e-5)
    assert bytes_[1] < 0.5 * bytes_[0], bytes_


@pytest.mark.slow
def test_a_collapse_is_reported_once(tmp_path, capsys):
    flags = ("--task.trade-off", "0", "--learning-rate", "0.01", "--steps", "40")
    assert run(tmp_path, *flags) == 0
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert "collapse" in warning
    assert "--task.trade-off" in warning


def test_only_weights_decay():
    recipe = dataclasses.replace(tiny_run.RECIPE, learning_rate=1.0, warmup_steps=0)
    kinds = {"block": {"kernel": "weight", "bias": "other"}, "position_table": "other"}
    optimizer = train.make_optimizer(recipe, kinds)
    params = {"block": {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}}
    params["position_table"] = np.ones((3, 2), np.float32)
    params = jax.tree.map(jax.numpy.asarray, params)
    still = jax.tree.map(jax.numpy.zeros_like, params)
    updates, _ = optimizer.update(still, optimizer.init(params), params)
    assert (updates["block"]["kernel"] < 0).all()
    assert (updates["block"]["bias"] == 0).all()
    assert (updates["position_table"] == 0).all()


def test_help_lists_the_recipes(monkeypatch, capsys):
    monkeypatch.setattr(train, "recipes", recipes)
    with pytest.raises(SystemExit) as exit_:
        train.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for name in RECIPES:
        assert name in text
