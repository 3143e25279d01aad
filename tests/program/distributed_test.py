"""One curve from many processes, any mesh and any change of both; the processes are real."""

import collections
import dataclasses
import functools
import json
import math
import re
import signal
import socket
import time

import jax
import numpy as np
import pytest

import train
from lejepa_jax.training import sharding
from tests.program import tiny_run
from tests.program.helpers import launch, losses, rows, run, wait_for_steps


def start_all(workdir, count, *flags, recipe="digits", own=None, programs=None):
    """Start the processes of one run, two devices each.

    Single processes may have flags of their `own`, or be other `programs`.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    common = ["--workdir", str(workdir), "--devices", str(2 * count), "--distributed"]
    common += ["--coordinator", f"localhost:{port}", "--num-processes", str(count), *flags]
    return [
        launch(
            *(programs or {}).get(number, ("-m", "tests.program.tiny_run")),
            *(recipe, *common, "--process-id", str(number)),
            *(own or {}).get(number, ()),
        )
        for number in range(count)
    ]


def finish(processes, timeout=600):
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:  # the next test wants the cores
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    return [process.returncode for process in processes], outputs


def assert_same_curve(workdir, expected):
    curve = np.array(losses(workdir))
    assert curve.shape == expected.shape
    np.testing.assert_allclose(curve[:, :4], expected[:, :4], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_processes_give_the_curve_of_one(count, reference_curve, tmp_path):
    codes, outputs = finish(start_all(tmp_path, count))
    assert codes == [0] * count, outputs
    assert f"{2 * count} cpu devices of {count} processes" in outputs[0]
    assert all("loss" not in output for output in outputs[1:])  # one of them speaks
    assert_same_curve(tmp_path, reference_curve)


@pytest.mark.slow
def test_processes_evaluate_together_as_one_does(tmp_path):
    flags = ("--evaluate",)
    codes, outputs = finish(start_all(tmp_path / "two", 2, *flags))
    assert codes == [0, 0], outputs
    assert run(tmp_path / "one", *flags) == 0
    two, one = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("two", "one")
    )
    for probe in ("knn", "linear", "few_shot_5"):
        for source, value in one[probe].items():
            assert two[probe][source] == pytest.approx(value, abs=0.02)
    assert (tmp_path / "two" / "report.html").exists()


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_takes_the_others_along(reference_curve, tmp_path):
    processes = start_all(tmp_path, 2)
    wait_for_steps(tmp_path, 5, processes[0])
    processes[1].send_signal(signal.SIGTERM)
    codes, outputs = finish(processes)
    assert codes == [0, 0], outputs
    stopped = re.search(r"stopped and saved at step (\d+); resume with: ", outputs[0])
    assert stopped, outputs
    # one process goes on, on another number of devices
    assert run(tmp_path) == 0
    assert_same_curve(tmp_path, reference_curve)


@pytest.mark.slow
def test_when_one_of_four_dies_the_others_stop_and_name_it(reference_curve, tmp_path):
    processes = start_all(tmp_path, 4, "--heartbeat-seconds", "10")
    wait_for_steps(tmp_path, 7, processes[0])
    processes[2].kill()
    began = time.monotonic()
    codes, outputs = finish(processes, timeout=120)
    assert time.monotonic() - began < 60
    assert all(code != 0 for code in codes), outputs
    assert "lost another one" in "".join(outputs)
    assert re.search(r"[Tt]ask 2|task:2|heartbeats\):\s*2", "".join(outputs)), outputs
    codes, outputs = finish(start_all(tmp_path, 4))
    assert codes == [0] * 4, outputs
    assert "resuming at step" in outputs[0]
    assert_same_curve(tmp_path, reference_curve)


def test_a_cluster_that_is_not_there_gets_one_line(tmp_path, capsys):
    assert run(tmp_path / "run", "--distributed") == 2
    message = capsys.readouterr().err
    assert "--coordinator HOST:PORT" in message
    assert message.count("\n") == 1


# --- every family of recipes, and what goes wrong in one process ----------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize(
    "recipe", ["digits", "classes", "clouds", "parts", "lejepa-clouds", "world"]
)
def test_processes_train_evaluate_and_report_every_family(recipe, count, tmp_path):
    flags = ("--evaluate", "--steps", "6", "--warmup-steps", "2")
    codes, outputs = finish(start_all(tmp_path / "many", count, *flags, recipe=recipe))
    assert codes == [0] * count, outputs
    one = tmp_path / "one"
    assert train.main([recipe, "--workdir", str(one), "--devices", "1", *flags]) == 0
    both = [rows(path) for path in (one, tmp_path / "many")]
    wanted, got = ([row["loss"] for row in found if "loss" in row] for found in both)
    assert len(wanted) == 6
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    # Every process takes part in what is watched.
    wanted, got = ([row["step"] for row in found if "eval/seconds" in row] for found in both)
    assert wanted == got == [1, 2, 3, 4, 5, 6]
    results = [json.loads((p / "results.json").read_text()) for p in (one, tmp_path / "many")]
    assert results[0].keys() == results[1].keys()
    assert (tmp_path / "many" / "report.html").read_text().count("<img") >= 2


@pytest.mark.slow
def test_a_vision_transformer_with_sharded_weights_is_reported_by_two_processes(tmp_path):
    """Its patches are shown: what runs on devices must be launched by both."""
    flags = ("--evaluate", "--mesh", "data=2,fsdp=2")
    codes, outputs = finish(start_all(tmp_path, 2, *flags, recipe="classes"))
    assert codes == [0, 0], outputs
    assert "Patch features" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_and_saves_all(tmp_path):
    processes = start_all(tmp_path, 2, "--steps", "20000")
    wait_for_steps(tmp_path, 5, processes[0])
    processes[1].send_signal(signal.SIGINT)
    codes, outputs = finish(processes, timeout=120)
    assert codes == [0, 0], outputs
    assert "stopped and saved at step" in outputs[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "flags", "message"),
    [
        ({1: ("--learning-rate", "0.5")}, (), "process 1 has others than process 0"),
        ({1: ("--data", "folder:/nowhere")}, (), "'/nowhere' is not a folder"),
        ({}, ("--strategy", "pmap"), "strategy pmap is for one process, got 2"),
    ],
)
def test_what_is_wrong_in_one_process_is_said_in_one_line_by_all(own, flags, message, tmp_path):
    codes, outputs = finish(start_all(tmp_path, 2, *flags, own=own), timeout=120)
    assert codes == [2, 2], outputs
    for output in outputs:
        assert message in output, outputs
        assert "Traceback" not in output


@pytest.mark.slow
def test_a_process_may_compile_a_minute_longer_than_the_other(reference_curve, tmp_path):
    slow = (
        "import jax, runpy, time\n"
        "compile_, sleeps = jax.stages.Lowered.compile, iter([40])\n"
        "def late(*args, **options):\n"
        "    time.sleep(next(sleeps, 0))\n"
        "    return compile_(*args, **options)\n"
        "jax.stages.Lowered.compile = late\n"
        "runpy.run_module('tests.program.tiny_run', run_name='__main__')"
    )
    codes, outputs = finish(start_all(tmp_path, 2, programs={1: ("-c", slow)}))
    assert codes == [0, 0], outputs
    assert_same_curve(tmp_path, reference_curve)


@pytest.mark.slow
def test_a_process_may_read_its_data_a_minute_longer_than_the_other(reference_curve, tmp_path):
    slow = (
        "import runpy, time\n"
        "from lejepa_jax.training import inputs\n"
        "load = inputs.load_data\n"
        "inputs.load_data = lambda recipe: time.sleep(45) or load(recipe)\n"
        "runpy.run_module('tests.program.tiny_run', run_name='__main__')"
    )
    codes, outputs = finish(start_all(tmp_path, 2, programs={1: ("-c", slow)}))
    assert codes == [0, 0], outputs
    assert_same_curve(tmp_path, reference_curve)


@pytest.mark.slow
def test_a_port_in_use_gets_one_line(tmp_path):
    with socket.create_server(("localhost", 0)) as busy:
        port = busy.getsockname()[1]
        where = ("--distributed", "--coordinator", f"localhost:{port}", "--num-processes", "2")
        process = launch(
            *("-m", "tests.program.tiny_run", "--workdir", str(tmp_path / "run")),
            *(*where, "--process-id", "0"),
        )
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert f"coordinator localhost:{port} cannot be listened on: Address already in use" in output
    assert "Traceback" not in output


# --- sharded parameters ---------------------------------------------------------------------------


def test_sharded_parameters_give_the_same_curve(reference_curve, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sharding, "MIN_SHARDED_SIZE", {"weight": 64, "block_weight": 64, "other": None}
    )
    flags = ("--devices", "8", "--mesh", "data=2,fsdp=4")
    assert run(tmp_path, *flags) == 0
    assert_same_curve(tmp_path, reference_curve)


def test_large_kernels_and_their_moments_are_sharded_and_nothing_else():
    mesh = sharding.make_mesh({"data": 2, "fsdp": 4}, jax.devices())
    recipe = tiny_run.RECIPE
    kinds = {"block": {"kernel": "weight", "bias": "other"}}
    kinds |= {"table": "other", "small": {"kernel": "weight"}}
    optimizer = train.make_optimizer(recipe, kinds)
    params = {"block": {"kernel": np.zeros((3, 128, 256)), "bias": np.zeros(2**15)}}
    params["table"] = np.zeros((200, 384))
    params["small"] = {"kernel": np.zeros((16, 16))}
    params = jax.tree.map(jax.numpy.asarray, params)
    where = sharding.parameter_shardings(params, kinds, mesh)
    moments = jax.eval_shape(optimizer.init, params)
    moments = sharding.optimizer_shardings(optimizer, moments, where)
    places = jax.tree_util.tree_leaves_with_path({"params": where, "moments": moments})
    divided = {jax.tree_util.keystr(p): s.spec for p, s in places if not s.is_fully_replicated}
    assert len(divided) == 3  # the kernel, its mean and its square
    assert all("['block']['kernel']" in path for path in divided)
    assert set(map(tuple, divided.values())) == {(None, None, "fsdp")}


@pytest.mark.parametrize("mesh", [pytest.param("data=8", marks=pytest.mark.slow), "data=2,fsdp=4"])
def test_parameters_cross_once_there_and_once_back_and_no_activations_at_all(mesh, monkeypatch):
    monkeypatch.setattr(
        sharding, "MIN_SHARDED_SIZE", {"weight": 64, "block_weight": 64, "other": None}
    )
    recipe = dataclasses.replace(tiny_run.RECIPE, mesh=mesh)
    devices, splits = train.choose_devices(recipe), train.load_data(recipe)
    task = recipe.task.build(splits, axis_name=train.axis_name_of(recipe))
    optimizer, key = train.make_optimizer(recipe, task.kinds), jax.random.key(0)
    like = jax.eval_shape(functools.partial(train.initial_state, recipe, task, optimizer), key)
    parallel = train.parallelize(recipe, devices, task, optimizer, key, like)
    step = parallel.step
    hlo = step.lower(like, splits.train.gather(np.arange(64))).compile().as_text()
    found = collections.Counter()
    for line in hlo.splitlines():
        if instruction := re.search(r" = (.*?) ([a-z-]+?)(?:-start)?\(", line):
            dims = re.findall(r"f32\[([\d,]*)\]", instruction[1])
            found[instruction[2]] += sum(math.prod(map(int, d.split(","))) for d in dims if d)
    sizes = [
        (leaf.size, place.is_fully_replicated)
        for leaf, place in zip(
            jax.tree.leaves(like.variables.params),
            jax.tree.leaves(parallel.shardings.variables.params),
            strict=True,
        )
    ]
    divided = sum(size for size, whole in sizes if not whole)
    assert (divided > 0) == ("fsdp" in mesh)
    assert found["all-gather"] == divided
    assert found["reduce-scatter"] == divided / 4
    assert not found["all-to-all"] + found["collective-permute"]
    # The gradient, that of what is divided in parts; sums of BatchNorm and SIGReg are few.
    few = 2 * recipe.task.num_slices * 17 * 2 + 20 * recipe.task.hidden_features
    gradient = sum(size for size, whole in sizes if whole) + divided / 4
    assert gradient <= found["all-reduce"] <= gradient + few


def stop_at_10(stop, step):
    if step == 10:
        stop.signal = signal.SIGTERM
    return step == 10


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("8", "shard_map", "data=2,fsdp=4"), ("1", "jit", None)),
        pytest.param(("8", "jit", None), ("2", "shard_map", "fsdp=2"), marks=pytest.mark.slow),
        pytest.param(("1", "pmap", None), ("8", "shard_map", "fsdp=8"), marks=pytest.mark.slow),
        pytest.param(("4", "shard_map", "fsdp=4"), ("8", "pmap", None), marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_with_other_devices_strategy_and_mesh(
    first,
    second,
    reference_curve,
    tmp_path,
    monkeypatch,
):
    monkeypatch.setattr(
        sharding, "MIN_SHARDED_SIZE", {"weight": 64, "block_weight": 64, "other": None}
    )

    def flags(devices, strategy, mesh):
        chosen = ["--devices", devices, "--strategy", strategy]
        return chosen + ([] if mesh is None else ["--mesh", mesh])

    # Stopped for good at step 10, as if the machine had died: nothing after it is on disk.
    monkeypatch.setattr(
        train.Stop, "asked", lambda stop, step: setattr(stop, "signal", 15) or step == 10
    )
    assert run(tmp_path, *flags(*first)) == 0
    monkeypatch.undo()
    monkeypatch.setattr(train, "recipes", tiny_run.recipes)
    monkeypatch.setattr(
        sharding, "MIN_SHARDED_SIZE", {"weight": 64, "block_weight": 64, "other": None}
    )
    assert rows(tmp_path)[-1]["step"] == 10
    assert run(tmp_path, *flags(*second)) == 0
    assert_same_curve(tmp_path, reference_curve)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--mesh", "data=2;fsdp=4"), "mesh must read like data=2,fsdp=4"),
        (("--mesh", "data=2,model=4"), "with axes data and fsdp"),
        (("--mesh", "data=2,fsdp=0"), "mesh must read like"),
        (("--mesh", "data=2,fsdp=4", "--devices", "4"), "mesh must have 4 devices"),
        (("--mesh", "fsdp=4", "--strategy", "jit"), "mesh with fsdp needs --strategy shard_map"),
    ],
)
def test_a_mesh_that_cannot_be_made_gets_one_line(flags, message, tmp_path, capsys):
    assert train.main(["digits", "--workdir", str(tmp_path / "run"), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
