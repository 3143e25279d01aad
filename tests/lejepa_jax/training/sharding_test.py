"""The order of devices in a mesh, on pods that are made up."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from lejepa_jax.training.sharding import arrange_devices, make_mesh


@dataclasses.dataclass(frozen=True)
class Chip:
    """What JAX asks of a device to arrange it."""

    id: int
    process_index: int
    coords: tuple[int, ...]
    slice_index: int = 0
    core_on_chip: int = 0
    platform: str = "tpu"
    device_kind: str = "TPU v4"


def pod(bounds, host=(2, 2, 1), num_slices=1, **fields):
    """Chips of a pod in the order of JAX: host after host."""
    chips = []
    hosts = [range(0, bound, step) for bound, step in zip(bounds, host, strict=True)]
    for slice_index in range(num_slices):
        for corner in itertools.product(*reversed(hosts)):
            for inner in itertools.product(*(range(step) for step in reversed(host))):
                coords = tuple(c + i for c, i in zip(corner, inner, strict=True))[::-1]
                number = len(chips)
                process = number // int(np.prod(host))
                chips.append(Chip(number, process, coords, slice_index, **fields))
    return chips


def steps(group, bounds):
    """Links of the torus between each chip of a group and the next one."""
    for one, other in itertools.pairwise(group):
        apart = [abs(a - b) for a, b in zip(one.coords, other.coords, strict=True)]
        yield sum(min(d, size - d) for d, size in zip(apart, bounds, strict=True))


@pytest.mark.parametrize(
    ("bounds", "kind", "shape"),
    [
        ((4, 4, 1), "TPU v5 lite", (4, 4)),
        ((4, 4, 4), "TPU v4", (16, 4)),
        ((4, 4, 8), "TPU v4", (16, 8)),
    ],
)
def test_neighbors_along_the_last_axis_are_neighbors_on_the_torus(bounds, kind, shape):
    chips = pod(bounds, device_kind=kind)
    grid = arrange_devices(shape, chips)
    assert sorted(chip.id for chip in grid.flat) == list(range(len(chips)))
    assert {step for row in grid for step in steps(row, bounds)} == {1}


def test_slices_of_a_pod_are_apart_along_the_first_axis_only():
    chips = pod((4, 4, 1), num_slices=2)
    grid = arrange_devices((8, 4), chips[::-1])
    assert sorted(chip.id for chip in grid.flat) == list(range(32))
    assert [[chip.slice_index for chip in row] for row in grid] == [[0] * 4] * 4 + [[1] * 4] * 4
    assert {step for row in grid for step in steps(row, (4, 4, 1))} == {1}


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 32)])
def test_any_number_of_chips_of_a_pod_can_be_used(shape):
    chips = pod((4, 4, 1), num_slices=2)[: shape[0] * shape[1]]
    grid = arrange_devices(shape, chips)
    assert grid.shape == shape
    assert len({chip.id for chip in grid.flat}) == len(chips)


def test_devices_of_a_process_and_processes_of_a_slice_are_together_elsewhere():
    fields = {"platform": "gpu", "device_kind": "a GPU", "coords": ()}
    chips = [
        Chip(8 * process + local, process, slice_index=process % 2, **fields)
        for local in range(8)
        for process in range(4)
    ]
    grid = arrange_devices((4, 8), chips)
    assert [{chip.process_index for chip in row} for row in grid] == [{0}, {2}, {1}, {3}]


def test_a_mesh_has_the_order_of_the_devices():
    mesh = make_mesh({"data": 2, "fsdp": 4}, jax.devices()[::-1])
    assert mesh.devices.shape == (2, 4)
    assert list(mesh.devices.flat) == jax.devices()
