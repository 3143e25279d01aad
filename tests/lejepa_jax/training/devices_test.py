"""How many devices a run has where none were asked for."""

import dataclasses
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from lejepa_jax.training import devices
from lejepa_jax.training.devices import describe_devices, devices_of_a_cpu
from tests.program import tiny_run


def recipe(**options):
    return dataclasses.replace(tiny_run.RECIPE, **options)


@pytest.mark.parametrize(
    ("options", "cores", "count"),
    [
        ({"global_batch_size": 128}, 1, 1),
        ({"global_batch_size": 128}, 2, 2),
        ({"global_batch_size": 128}, 3, 2),
        ({"global_batch_size": 128}, 99, 16),
        ({"global_batch_size": 90}, 4, 3),
        ({"global_batch_size": 15}, 4, 1),
        ({"global_batch_size": 4}, 4, 1),
        ({"global_batch_size": 128, "microbatch": 64}, 4, 2),
        ({"global_batch_size": 128, "microbatch": 128}, 4, 1),
        ({"global_batch_size": 128, "strategy": "jit"}, 4, 1),
        ({"global_batch_size": 128, "strategy": "pmap"}, 4, 4),
        ({"global_batch_size": 128, "mesh": "data=2,fsdp=4"}, 4, 8),
    ],
)
def test_a_cpu_is_a_device_a_core_as_far_as_the_batch_allows(options, cores, count):
    assert devices_of_a_cpu(recipe(**options), cores) == count


@pytest.mark.parametrize(("flags", "count"), [({}, None), ({"devices": 3}, 3)])
def test_the_devices_are_made_where_the_environment_names_none(flags, count):
    program = (
        "import jax, os; from lejepa_jax.training.devices import initialize_distributed, _cores;"
        "from lejepa_jax.training.recipe import Recipe;"
        f"initialize_distributed(Recipe('digits', None, global_batch_size=720720, **{flags}));"
        "print(len(jax.devices()), _cores())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    made, cores = map(int, done.stdout.split())
    assert made == (min(cores, 16) if count is None else count)


def test_the_line_says_how_to_have_one_device():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("data",))
    assert describe_devices(mesh, recipe()) == "2 cpu devices (one a core; --devices 1 for one)"
    assert describe_devices(mesh, recipe(devices=2)) == "2 cpu devices"


def test_the_first_process_listens_where_it_is_asked_to(monkeypatch):
    """By default on all interfaces, as JAX does: docs/distributed.md says so."""
    asked, tried = [], []
    monkeypatch.setattr(devices, "_check_port", tried.append)
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *places, **options: asked.append((places, options))
    )
    several = {"distributed": True, "coordinator": "10.0.0.5:1234", "num_processes": 2}
    devices.initialize_distributed(recipe(**several, process_id=0))
    own = {"process_id": 0, "coordinator_bind_address": "127.0.0.1:1234"}
    devices.initialize_distributed(recipe(**several, **own))
    assert tried == ["10.0.0.5:1234", "127.0.0.1:1234"]
    assert [options["coordinator_bind_address"] for _, options in asked] == [None, "127.0.0.1:1234"]
    assert all(places == ("10.0.0.5:1234", 2, 0) for places, _ in asked)
