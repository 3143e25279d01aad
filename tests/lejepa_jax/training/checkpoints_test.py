"""Checkpoints on real disks: odd paths, damage, disks that fail, other models, two processes."""

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from lejepa_jax.training.checkpoints import Checkpoints
from lejepa_jax.training.compatibility import upgrade_config

ROOT = Path(__file__).parents[3]
LINUX = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file of Linux")


class Variables(NamedTuple):
    params: Any
    state: Any


def make_state(value: float = 0.0, width: int = 3, optimizer=None):
    kernel = jnp.full((2, width), value)
    params = {"layer": {"kernel": kernel, "bias": jnp.full(width, value)}}
    return {
        "step": jnp.int32(value),
        "variables": Variables(params, {"mean": jnp.full(width, value)}),
        "opt_state": (optimizer or optax.adamw(1e-3)).init(params),
        "ema": None,
    }


def write(workdir, *steps, warn=print):
    """Leave checkpoints of some steps, each of arrays of the value of its step."""
    checkpoints = Checkpoints(workdir, warn)
    for step in steps:
        assert checkpoints.save(step, make_state(step), {"next": step}, {"seed": 0}, loss=1 / step)
    assert checkpoints.close()


def read(workdir, warn=print, like=None):
    """Read the newest that can be read: the value of its arrays."""
    checkpoints = Checkpoints(workdir, warn)
    try:
        restored = checkpoints.restore(like or make_state())
    finally:
        checkpoints.close()
    assert restored is not None
    state, position = restored
    value = float(state["step"])
    np.testing.assert_array_equal(state["variables"].params["layer"]["kernel"], value)
    assert position == {"next": value}
    return value


def content(folder):
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*")}


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_bit(folder):
    file = largest(folder / "state")
    changed = bytearray(file.read_bytes())
    changed[len(changed) // 2] ^= 1
    file.write_bytes(changed)


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"exp[1]", b"a\\b", b"what?*", b"caf\xe9", b"plain name"])
def test_any_name_of_a_folder_will_do(name, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    workdir = tmp_path / os.fsdecode(name)
    write(workdir, 1, 2)
    assert read(workdir) == 2
    assert sorted(p.name for p in workdir.iterdir()) == ["checkpoints", "checksums"]
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["1", "2"]
    assert not list(temporary.iterdir())


def test_a_name_for_which_no_link_can_be_made_is_refused_before_anything_is_trained(
    tmp_path, monkeypatch
):
    odd = tmp_path / "tmp[1]"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with pytest.raises(ValueError, match="the folder of temporary files must have a path without"):
        Checkpoints(tmp_path / "run[1]")


# --- misfits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"width": 4},
            r"variables/params/layer/bias is \(3,\) there and \(4,\) here; .*; and 4 more",
        ),
        ({"optimizer": optax.sgd(1e-3)}, r"opt_state/0/count of \(\) is only there"),
    ],
)
def test_another_model_or_optimizer_is_refused_and_nothing_moved(
    options, message, recorded, tmp_path
):
    write(tmp_path, 1, 2)
    if not recorded:
        shutil.rmtree(tmp_path / "checksums")
    before = content(tmp_path)
    with pytest.raises(ValueError, match=r"the checkpoint of step 2 does not fit: .*" + message):
        read(tmp_path, like=make_state(**options))
    assert content(tmp_path).keys() == before.keys()
    assert read(tmp_path) == 2


# --- disks that fail ------------------------------------------------------------------------------


@LINUX
@pytest.mark.parametrize("recorded", [True, False])
def test_an_error_of_the_disk_is_no_damage(recorded, tmp_path):
    """Reading the first bytes of /proc/self/mem is a real input/output error."""
    write(tmp_path, 1, 2)
    file = largest(tmp_path / "checkpoints" / "2" / "state")
    kept = file.rename(tmp_path / "kept")
    file.symlink_to("/proc/self/mem")
    if not recorded:
        shutil.rmtree(tmp_path / "checksums")
    before = content(tmp_path).keys()
    with pytest.raises(ValueError, match=r"step 2 .* \(Input/output error\); nothing was moved"):
        read(tmp_path)
    assert content(tmp_path).keys() == before
    kept.replace(file)
    assert read(tmp_path) == 2


@LINUX
@pytest.mark.parametrize("what", ["a file", "a folder that even root cannot write"])
def test_a_folder_that_takes_nothing_is_reported_at_once(what, tmp_path):
    """Orbax, left alone, waits for the folders that it makes in the background for 5 minutes.

    Threads of it would keep the process from ending.
    """
    warnings = []
    write(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path, warnings.append)
    (tmp_path / "checkpoints").rename(tmp_path / "away")
    if what == "a file":
        (tmp_path / "checkpoints").write_text("no folder")
    else:
        (tmp_path / "checkpoints").symlink_to("/proc/self/task")
    began, threads = time.monotonic(), set(threading.enumerate())
    assert checkpoints.failed is None
    assert not checkpoints.save(2, make_state(2), {}, {}, loss=1.0)
    assert checkpoints.failed == 2
    assert not checkpoints.close()
    assert time.monotonic() - began < 20
    assert set(threading.enumerate()) <= threads
    assert re.match(r"the checkpoint of step 2 could not be written \([A-Z].*\); ", warnings[0])


def test_a_disk_that_fills_up_is_known_at_the_end_and_forgotten_after_a_success(tmp_path):
    """No file may grow beyond 4 kB: the weights do not fit, until they may."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(ROOT)!r})
import jax.numpy as jnp
from pathlib import Path
from lejepa_jax.training.checkpoints import Checkpoints
noise = jnp.sin(jnp.arange(1e4) ** 2)
checkpoints = Checkpoints(Path({str(tmp_path)!r}), print)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, hard))
print(checkpoints.save(1, {{"w": noise}}, 0, 0, loss=1.0), checkpoints.failed)
print(checkpoints.save(2, {{"w": noise}}, 0, 0, loss=1.0))
checkpoints._finish()
print(checkpoints.failed, checkpoints.newest())
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(checkpoints.save(3, {{"w": noise}}, 0, 0, loss=1.0), checkpoints.close(), checkpoints.failed)
"""
    process = python(code)
    output, errors = process.communicate(timeout=100)
    lines = output.splitlines()
    assert [line for line in lines if "could not" not in line] == [
        "True None",
        "True",
        "2 None",
        "True True None",
    ], (output, errors)
    assert sum("could not be written (File too large); the run goes on" in l for l in lines) == 2
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["3"]


def python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- checksums ------------------------------------------------------------------------------------


def test_checksums_are_there_as_soon_as_the_checkpoint_is(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, make_state(1), {}, {}, loss=1.0)
    until = time.monotonic() + 30
    while not (tmp_path / "checksums" / "1.json").exists() and time.monotonic() < until:
        time.sleep(0.01)
    recorded = json.loads((tmp_path / "checksums" / "1.json").read_text())
    assert "state/_METADATA" in recorded
    assert checkpoints.close()


@pytest.mark.parametrize("record", ["", "null", "[1]", "{}", '{"state/_METADATA": null}', "{torn"])
def test_a_record_that_cannot_be_read_condemns_nothing(record, tmp_path):
    write(tmp_path, 1, 2)
    (tmp_path / "checksums" / "2.json").write_text(record)
    assert read(tmp_path) == 2
    assert not (tmp_path / "damaged").exists()


def test_a_record_is_whole_or_not_there(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    warnings = []
    monkeypatch.setattr(os, "fsync", fail)
    checkpoints = Checkpoints(tmp_path, warnings.append)
    checkpoints.save(1, make_state(1), {}, {}, loss=1.0)
    assert checkpoints.close()
    assert warnings == ["no checksums of the newest checkpoint: No space left on device"]
    assert not list((tmp_path / "checksums").iterdir())


def test_records_and_half_written_folders_of_killed_runs_are_removed(tmp_path):
    write(tmp_path, 1)
    (tmp_path / "checksums" / "7.json").write_text("{}")
    (tmp_path / "checksums" / "1.json.partial").write_text("{")
    (tmp_path / "checkpoints" / "7.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    write(tmp_path, 2)
    assert sorted(p.name for p in (tmp_path / "checksums").iterdir()) == ["1.json", "2.json"]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["1", "2"]


def test_what_is_fallen_back_on_is_compared_with_its_checksums_too(tmp_path):
    write(tmp_path, 1, 2, 3)
    (tmp_path / "checksums" / "3.json").unlink()
    (tmp_path / "checkpoints" / "3" / "state" / "_METADATA").unlink()
    flip_a_bit(tmp_path / "checkpoints" / "2")
    warnings = []
    assert read(tmp_path, warnings.append) == 1
    assert [w.split(" cannot")[0] for w in warnings] == [
        "the checkpoint of step 3",
        "the checkpoint of step 2",
    ]


# --- setting aside --------------------------------------------------------------------------------


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev,
    reason="needs two file systems",
)
def test_checkpoints_may_be_on_another_file_system(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        (tmp_path / "checkpoints").symlink_to(other)
        write(tmp_path, 1, 2)
        flip_a_bit(tmp_path / "checkpoints" / "2")
        assert read(tmp_path) == 1
        assert (tmp_path / "damaged" / "2-0" / "state").is_dir()
        assert sorted(os.listdir(other)) == ["1"]


def test_names_that_are_taken_and_names_that_are_no_number(tmp_path):
    write(tmp_path, 1, 2)
    flip_a_bit(tmp_path / "checkpoints" / "2")
    for name in ("damaged/2-1", "damaged/2-0", "damaged/x", "checkpoints/²", "checkpoints/007"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "mine").touch()
    assert read(tmp_path) == 1
    assert (tmp_path / "damaged" / "2-2" / "state").is_dir()
    assert (tmp_path / "checkpoints" / "²" / "mine").exists()


@pytest.mark.slow
def test_any_lost_or_emptied_file_of_the_newest_leads_to_the_one_before(tmp_path):
    """Without checksums: what the format itself condemns, or what can do without the file."""
    whole = tmp_path / "whole"
    write(whole, 1, 2)
    shutil.rmtree(whole / "checksums")
    files = [p for p in (whole / "checkpoints" / "2").rglob("*") if p.is_file()]
    assert len(files) > 10
    for number, file in enumerate(files):
        workdir = tmp_path / str(number)
        shutil.copytree(whole, workdir)
        damaged = workdir / file.relative_to(whole)
        if number % 2:
            damaged.unlink()
        else:
            damaged.write_bytes(b"")
        value = read(workdir, lambda _: None)
        assert value == (1 if (workdir / "damaged").exists() else 2), file


# --- the best -------------------------------------------------------------------------------------


def steps(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_is_never_the_best(bad, tmp_path):
    losses = [3.0, 2.0, bad, 4.0, 5.0, bad, 7.0]
    checkpoints = Checkpoints(tmp_path)
    for step, loss in enumerate(losses, 1):
        checkpoints.save(step, make_state(step), {}, {}, loss=loss)
    assert checkpoints.close()
    assert steps(tmp_path) == [2, 5, 6, 7]

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    for step in steps(tmp_path):
        metrics = (tmp_path / "checkpoints" / str(step) / "metrics" / "metrics").read_text()
        json.loads(metrics, parse_constant=refuse)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.manager.best_step() == 2
    checkpoints.save(8, make_state(8), {}, {}, loss=bad)
    checkpoints.close()
    assert steps(tmp_path) == [2, 6, 7, 8]


def test_the_newest_are_kept_if_no_loss_was_finite(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in range(1, 6):
        checkpoints.save(step, make_state(step), {}, {}, loss=math.nan)
    assert checkpoints.close()
    assert steps(tmp_path) == [3, 4, 5]


# --- checkpoints of before ------------------------------------------------------------------------


@pytest.mark.parametrize("ema_name", ["ema", "ema_params"])
def test_a_checkpoint_with_the_names_of_before_is_read(ema_name, tmp_path):
    """It was written by the program before its fields were renamed."""
    with tarfile.open(Path(__file__).parent / "old_checkpoint.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    like = make_state()
    del like["ema"]
    like[ema_name] = jax.tree.map(jnp.zeros_like, like["variables"])
    checkpoints = Checkpoints(tmp_path)
    restored = checkpoints.restore(like)
    assert restored is not None
    state, position = restored
    assert position == {"next_index": 3}
    assert jax.tree.structure(state) == jax.tree.structure(like)
    assert int(state["step"]) == 3
    layer = {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.ones(3)}
    np.testing.assert_array_equal(state["variables"].params["layer"]["kernel"], layer["kernel"])
    np.testing.assert_array_equal(state[ema_name].params["layer"]["kernel"], layer["kernel"] / 2)
    np.testing.assert_allclose(state["opt_state"][0].mu["layer"]["bias"], 0.2)
    config = checkpoints.configuration()
    assert config is not None
    assert upgrade_config(config) == {
        "optimizer": "adamw",
        "global_batch_size": 64,
        "ema_decay": 0.9,
        "task": {
            "eval_batch_size": 500,
            "knn_k": 20,
            "statistic": "epps_pulley",
            "encoder": {"call": "DGCNN"},
        },
    }
    checkpoints.close()


# --- several processes ----------------------------------------------------------------------------

PROCESS = """
import resource
import sys
sys.path.insert(0, {root!r})
import jax
import jax.numpy as jnp
from pathlib import Path
jax.distributed.initialize("localhost:{port}", 2, int(sys.argv[1]))
from lejepa_jax.training.checkpoints import Checkpoints
from lejepa_jax.training.distributed import agree_on_errors
from lejepa_jax.training.lock import lock_workdir
mesh = jax.make_mesh((2,), ("data",))
places = jax.NamedSharding(mesh, jax.P("data"))
make = jax.jit(lambda: jnp.arange(8.0), out_shardings=places)
workdir = Path({workdir!r})
with lock_workdir(workdir):
    checkpoints = Checkpoints(workdir, print)
    checkpoints.save(1, {{"w": make()}}, 1, 1, loss=1.0)
    assert checkpoints.close()
    checkpoints = Checkpoints(workdir, print)
    like = {{"w": jax.jit(lambda: jnp.zeros(8), out_shardings=places)()}}
    state, position = checkpoints.restore(like)
    assert position == 1
    for shard in state["w"].addressable_shards:
        assert (shard.data == jnp.arange(8.0)[shard.index]).all()
    if jax.process_index() == 0:
        (workdir / "checkpoints").rename(workdir / "away")
        (workdir / "checkpoints").write_text("no folder")
    print(checkpoints.save(2, {{"w": make()}}, 1, 1, loss=1.0), checkpoints.close(), flush=True)
noise = jax.jit(lambda: jnp.sin(jnp.arange(1e4) ** 2), out_shardings=places)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for full in (0, 1):  # the disk of one of them
    checkpoints = Checkpoints(workdir / str(full), print)
    if full == jax.process_index():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, hard))
    for step in (1, 2):
        checkpoints.save(step, {{"w": noise()}}, 0, 0, loss=1.0)
    checkpoints._finish()
    print("failed", checkpoints.failed, checkpoints.newest())
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print("saved", checkpoints.save(3, {{"w": noise()}}, 0, 0, loss=1.0), checkpoints.close())
try:
    with agree_on_errors(), lock_workdir(workdir / "held"):
        pass
except ValueError as error:
    print(error)
"""


def test_two_processes_write_and_fail_together(tmp_path):
    from lejepa_jax.training.lock import lock_workdir

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    workdir = tmp_path / "exp[1]"
    (workdir / "held").mkdir(parents=True)
    code = PROCESS.format(root=str(ROOT), port=port, workdir=str(workdir))
    with lock_workdir(workdir / "held"):
        processes = [python(code, str(number)) for number in range(2)]
        outputs = [process.communicate(timeout=200) for process in processes]
    for output, errors in outputs:
        assert "False False" in output, (output, errors)
        assert output.count("failed 2 None\nsaved True True") == 2, (output, errors)
        assert output.count("could not be written (File too large)") == 2, (output, errors)
        assert output.count("could not write its part)") == 2, (output, errors)
        assert "held is in use by process" in output, (output, errors)
    assert [process.returncode for process in processes] == [0, 0], outputs
    for number in "01":
        assert [p.name for p in (workdir / number / "checkpoints").iterdir()] == ["3"]


def test_orbax_reads_what_was_written_without_this_package(tmp_path):
    write(tmp_path, 1)
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        args = ocp.args.Composite(state=ocp.args.StandardRestore(make_state()))
        assert int(manager.restore(1, args=args)["state"]["step"]) == 1
