"""What happens to runs: processes are killed, files damaged, disks full. All of it really done."""

import contextlib
import io
import json
import shutil
import signal
import tempfile
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

import train
from lejepa_jax.training.optimizer import learning_rates
from lejepa_jax.training.runs import list_runs, read_run
from tests.program import tiny_run
from tests.program.helpers import launch, losses, modified, rows, run, start, wait_for_steps

# --- damaged checkpoints --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory, lenient):
    """A run with checkpoints of steps 5, 10 and 12, and the losses it would end with."""
    whole, stopped = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("stopped")
    before, train.recipes = train.recipes, tiny_run.recipes
    asked, train.Stop.asked = train.Stop.asked, _stop_at_12
    try:
        assert run(stopped) == 0
        train.Stop.asked = asked
        assert run(whole) == 0
    finally:
        train.recipes, train.Stop.asked = before, asked
    return stopped, losses(whole)


def _stop_at_12(stop, step):
    if step == 12:
        stop.signal = signal.SIGTERM
    return step == 12


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_bit(folder):
    file = largest(folder / "state")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut_short(folder):
    file = largest(folder / "state")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty_metrics(folder):
    (folder / "metrics" / "metrics").write_bytes(b"")


def lose_a_file(folder):
    (folder / "config" / "metadata").unlink()


def lose_the_state(folder):
    shutil.rmtree(folder / "state")


@pytest.mark.parametrize(
    ("damage", "summed"),
    [
        (flip_a_bit, True),
        (cut_short, False),
        (empty_metrics, False),
        (lose_a_file, True),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                (cut_short, True),
                (empty_metrics, True),
                (lose_a_file, False),
                (lose_the_state, True),
                (lose_the_state, False),
            )
        ),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(
    damage, summed, stopped_run, tmp_path, capsys
):
    stopped, expected = stopped_run
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "checkpoints" / "12")
    if not summed:  # as after a kill between the write and the sum
        shutil.rmtree(tmp_path / "checksums")
    assert run(tmp_path) == 0
    said = capsys.readouterr().out
    assert "the checkpoint of step 12 cannot be read" in said
    assert "resuming at step 10" in said
    assert losses(tmp_path) == expected
    (aside,) = (tmp_path / "damaged").iterdir()
    assert aside.name.startswith("12-")
    assert any(aside.iterdir())


def test_the_newest_checkpoint_may_be_missing(stopped_run, tmp_path, capsys):
    stopped, expected = stopped_run
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints" / "12")
    assert run(tmp_path) == 0
    assert "resuming at step 10" in capsys.readouterr().out
    assert losses(tmp_path) == expected


def test_if_no_checkpoint_can_be_read_nothing_is_touched(stopped_run, tmp_path, capsys):
    stopped, _ = stopped_run
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    for step in (5, 10, 12):
        flip_a_bit(tmp_path / "checkpoints" / str(step))
    before = modified(tmp_path)
    assert run(tmp_path) == 2
    message = capsys.readouterr().err
    assert "can be read (step 12: state/" in message
    assert message.count("\n") == 1
    assert modified(tmp_path) == before


# --- disks ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_disk_that_is_full_is_reported_and_ends_no_run(tmp_path):
    """No file may grow beyond 12 kB: the log fits, the weights do not."""
    limited = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000)); "
        "runpy.run_module('tests.program.tiny_run', run_name='__main__')"
    )
    # The cache of compiled programs is a disk, too.
    cache = str(tmp_path / "cache")
    process = launch(
        "-c", limited, "--workdir", str(tmp_path / "full"), JAX_COMPILATION_CACHE_DIR=cache
    )
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "could not be written (File too large); the run goes on, there is none yet" in output
    assert "Traceback" not in output, output
    assert rows(tmp_path / "full")[-1]["step"] == 20


def test_a_workdir_that_cannot_be_one_gets_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("something of mine")
    assert run(tmp_path / "file") == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert (tmp_path / "file").read_text() == "something of mine"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that even root cannot write")
def test_a_workdir_that_may_not_be_written_gets_one_line(capsys):
    assert run("/proc/self/run") == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "/proc/self/run" in message
    assert message.count("\n") == 1


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once(tmp_path):
    """The step after the first signal takes a minute here; nobody who asks twice waits for it."""
    slow = (
        "import runpy, time, train\n"
        "asked = train.Stop.asked\n"
        "def late(stop, step):\n"
        "    if stop.signal is not None: time.sleep(60)\n"
        "    return asked(stop, step)\n"
        "train.Stop.asked = late\n"
        "runpy.run_module('tests.program.tiny_run', run_name='__main__')"
    )
    process = launch("-c", slow, "--workdir", str(tmp_path), "--steps", "20000")
    wait_for_steps(tmp_path, 5, process)
    process.send_signal(signal.SIGTERM)
    time.sleep(2)
    assert process.poll() is None  # it is in that step
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    assert time.monotonic() - began < 10
    assert "stopping after this step" in output


@pytest.mark.slow
def test_a_run_killed_20_times_ends_with_the_losses_of_the_undisturbed_one(
    undisturbed,
    tmp_path,
):
    """Checkpoints at every step, so that kills fall into writes."""
    generator = np.random.default_rng(0)
    killed = 0
    while killed < 20:
        process = start(tmp_path, "--checkpoint-every", "1")
        # The first steps come after some seconds of imports; a kill at any time from then on.
        done = len(rows(tmp_path)) if (tmp_path / "metrics.jsonl").exists() else 0
        with contextlib.suppress(AssertionError):
            wait_for_steps(tmp_path, min(done + int(generator.integers(0, 2)), 19), process)
        time.sleep(float(generator.uniform(0, 0.3)))
        process.kill()
        output, _ = process.communicate()
        assert "Traceback" not in output, output
        killed += 1
    process = start(tmp_path, "--checkpoint-every", "1")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert losses(tmp_path) == undisturbed


# --- numbers --------------------------------------------------------------------------------------


def test_one_bad_gradient_is_skipped_and_counted(tmp_path, monkeypatch, capsys):
    """A cloud of NaN comes out of the encoder at step 7, and at no other."""
    build = type(train.recipes()["digits"][1].task).build

    def poisoned(config, splits, **options):
        task = build(config, splits, **options)

        def encode(params, state, key, batch):
            outputs, changed = task.encode(params, state, key, batch)
            # All keys but that of step 7 leave this 0.
            bad = jax.random.key_data(key) == jax.random.key_data(seventh())
            return jax.numpy.where(bad.all(), jax.numpy.nan, outputs), changed

        return task._replace(encode=encode)

    def seventh():
        _, step_key, _ = jax.random.split(jax.random.key(0), 3)
        return jax.random.fold_in(step_key, 6)

    monkeypatch.setattr(type(train.recipes()["digits"][1].task), "build", poisoned)
    with jax.debug_nans(False):
        assert run(tmp_path) == 0
    assert "step 7 is skipped: loss is nan" in capsys.readouterr().out
    counts = {row["step"]: row["skipped_steps"] for row in rows(tmp_path)}
    assert counts[6] == 0
    assert counts[7] == counts[20] == 1
    # The row of a skipped step has no losses: those of another step would be lies.
    assert [row["step"] for row in rows(tmp_path) if "loss" not in row] == [7]
    assert np.isfinite([row["loss"] for row in rows(tmp_path) if "loss" in row]).all()
    # Of 19 updates the last one had the rate of the 18 before it, not that of its step.
    recipe = train.recipes()["digits"][1]
    used = float(learning_rates(recipe)(18))
    assert rows(tmp_path)[-1]["learning_rate"] == pytest.approx(used, rel=1e-6)


# --- flags ----------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-3, 300).map(str), st.sampled_from(["nan", "inf", "1e9", "-0.5", "0.5", "x", ""])
)
FLAGS = st.dictionaries(
    st.sampled_from(
        [
            *("--steps", "--global-batch-size", "--devices", "--microbatch", "--learning-rate"),
            *("--warmup-steps", "--weight-decay", "--seed", "--log-every", "--checkpoint-every"),
            *("--ema-decay", "--clip-norm", "--max-bad-records", "--task.num-global"),
            *("--task.num-slices", "--task.trade-off", "--task.embedding-features", "--mesh"),
            *("--task.projector-layers", "--task.eval-size", "--strategy", "--holdout", "--data"),
        ]
    ),
    NUMBERS,
    min_size=1,
    max_size=3,
)


@pytest.mark.slow
@hypothesis.given(FLAGS)
@hypothesis.settings(max_examples=40)
def test_any_flags_either_run_or_end_with_one_line(flags):
    folder = Path(tempfile.mkdtemp())
    small = {"--steps": "2", "--warmup-steps": "1"} | flags
    arguments = [part for pair in small.items() for part in pair]
    errors = io.StringIO()
    with jax.debug_nans(False), contextlib.redirect_stderr(errors):
        code = train.main(["digits", "--workdir", str(folder / "run"), *arguments])
    text = errors.getvalue()
    if code == 2:
        assert text.startswith("error: ")
        assert text.count("\n") == 1, text
        assert not (folder / "run").exists()
    else:
        assert code in (0, 1)
    shutil.rmtree(folder)


# --- lists ----------------------------------------------------------------------------------------


def test_runs_are_listed_and_shown(stopped_run, tmp_path, capsys):
    stopped, _ = stopped_run
    shutil.copytree(stopped, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run.json").write_text("{torn")
    (summary,) = list_runs(tmp_path)
    assert (summary.state, summary.step, summary.steps) == ("stopped", 12, 20)
    assert train.main(["ls", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert "digits" in listed
    assert "12/20" in listed
    assert train.main(["show", str(tmp_path / "a")]) == 0
    shown = capsys.readouterr().out
    assert '"command": "python train.py' in shown
    assert '"machine"' in shown
    assert read_run(tmp_path / "a").metadata["config"]["data"] == "digits"
    assert train.main(["show", str(tmp_path / "b")]) == 2
    assert train.main(["ls", str(tmp_path / "nowhere")]) == 2


def test_errors_are_a_line_and_with_debug_a_traceback(tmp_path, monkeypatch, capsys):
    flags = ("--data", "folder:/nowhere")
    assert run(tmp_path / "run", *flags) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ValueError, match="/nowhere"):
        run(tmp_path / "run", *flags, "--debug")
    monkeypatch.setenv("LEJEPA_DEBUG", "1")
    with pytest.raises(ValueError, match="/nowhere"):
        run(tmp_path / "run", *flags)


@pytest.mark.parametrize("ends", ["at its last step", "by a signal"])
def test_a_trace_is_stopped_when_a_run_ends_before_it(ends, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    if ends == "by a signal":
        begin = train.Stop.asked

        def asked(stop, step):
            if step == 12:
                stop.signal = signal.SIGTERM
            return begin(stop, step)

        monkeypatch.setattr(train.Stop, "asked", asked)
    assert run(tmp_path, "--steps", "14", "--profile", "50") == 0
    assert calls == ["start", "stop"]


@pytest.mark.slow
def test_a_trace_of_some_steps_is_written(tmp_path):
    assert run(tmp_path, "--steps", "16", "--profile", "2") == 0
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert json.loads((tmp_path / "run.json").read_text())["config"]["profile"] == 2
