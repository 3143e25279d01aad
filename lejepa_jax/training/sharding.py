"""Meshes by name, and which parameters are sharded over them."""

import collections
import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

#: Axes a mesh may have: both shard the batch, the second shards large weights too.
AXES = ("data", "fsdp")

#: From how many numbers on a parameter of a kind is sharded over `fsdp`, along its longest axis
#: that the devices divide; None for never. Small arrays cost more to gather than they take.
MIN_SHARDED_SIZE = {"weight": 2**14, "block_weight": 2**14, "other": None}


def parse_mesh(text: str) -> dict[str, int]:
    """Read a mesh such as `data=2,fsdp=4`.

    Args:
        text: Sizes by axis; an axis that is left out has size 1.

    Returns:
        The size of each axis of `AXES`, in that order.

    Raises:
        ValueError: For an unknown axis, one that comes twice, or a size below 1.

    Examples:
        >>> parse_mesh("fsdp=4,data=2")
        {'data': 2, 'fsdp': 4}
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w+)\s*=\s*(\d+)\s*", part)
        if not found or found[1] not in AXES or found[1] in sizes or int(found[2]) < 1:
            raise ValueError(
                f"mesh must read like data=2,fsdp=4, with axes {' and '.join(AXES)}, got {text!r}"
            )
        sizes[found[1]] = int(found[2])
    return {axis: sizes.get(axis, 1) for axis in AXES}


def make_mesh(sizes: Mapping[str, int], devices: Sequence[jax.Device]) -> jax.sharding.Mesh:
    """Make a mesh in the order of the hardware, see `arrange_devices`.

    Args:
        sizes: Size of each axis, the one with the most communication last.
        devices: As many devices.

    Returns:
        A mesh with Auto axes, as `jax.shard_map` of parts of it and the compiler both want.

    Examples:
        >>> dict(make_mesh({"data": 1, "fsdp": 2}, jax.devices()[:2]).shape)
        {'data': 1, 'fsdp': 2}
    """
    grid = arrange_devices(tuple(sizes.values()), devices)
    return jax.sharding.Mesh(grid, tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def arrange_devices(shape: tuple[int, ...], devices: Sequence[Any]) -> np.ndarray:
    """Arrange devices so that neighbors along the last axis are neighbors in the hardware.

    On a TPU these are neighbors on its torus; slices of a pod are apart along the first axis, where
    the least is sent. Elsewhere the devices of a process are next to each other, and the processes
    of a slice (machines that share a fast network).

    Args:
        shape: Size of each axis.
        devices: As many devices, in any order.

    Returns:
        An array of the devices, of that shape.

    Examples:
        >>> arrange_devices((2, 2), jax.devices()[:4][::-1])[0, 1] == jax.devices()[1]
        True
    """
    by_slice = collections.defaultdict(list)
    for device in sorted(devices, key=lambda device: (device.process_index, device.id)):
        by_slice[getattr(device, "slice_index", 0)].append(device)
    ordered = [device for index in sorted(by_slice) for device in by_slice[index]]
    arrange = functools.partial(mesh_utils.create_device_mesh, allow_split_physical_axes=True)
    if ordered[0].platform == "tpu" and shape[0] % len(by_slice) == 0:
        rest = (shape[0] // len(by_slice), *shape[1:])
        # Devices that are a part of a torus have no such order.
        with contextlib.suppress(ValueError, NotImplementedError, AssertionError):
            return np.concatenate([arrange(rest, by_slice[index]) for index in sorted(by_slice)])
    return np.array(ordered).reshape(shape)


def shard_rows(batch: Mapping[str, np.ndarray], mesh: jax.sharding.Mesh) -> dict[str, jax.Array]:
    """Put a batch that every process holds on the devices, rows sharded over all of them.

    Args:
        batch: Arrays by name, examples first.
        mesh: The devices. Rows that they do not divide, such as the last of a data set, go to each.

    Returns:
        The same on the devices.

    Examples:
        >>> mesh = make_mesh({"data": 2, "fsdp": 1}, jax.devices()[:2])
        >>> shard_rows({"x": np.zeros((4, 3))}, mesh)["x"].sharding.shard_shape((4, 3))
        (2, 3)
    """
    whole = len(next(iter(batch.values()))) % mesh.size == 0
    where = NamedSharding(mesh, P(AXES) if whole else P())
    return {
        name: jax.make_array_from_callback(np.shape(array), where, np.asarray(array).__getitem__)
        for name, array in batch.items()
    }


def parameter_shardings(params: PyTree, kinds: PyTree, mesh: jax.sharding.Mesh) -> PyTree:
    """Choose where each parameter is, by `MIN_SHARDED_SIZE`.

    Args:
        params: Parameters or their shapes, as from `jax.eval_shape`.
        kinds: What each is, see `lejepa_jax.training.networks.Network`.
        mesh: The mesh; without an axis `fsdp` everything is on every device.

    Returns:
        A sharding for each parameter.

    Examples:
        >>> mesh = make_mesh({"data": 1, "fsdp": 2}, jax.devices()[:2])
        >>> layer = {"kernel": jax.ShapeDtypeStruct((64, 256), "float32")}
        >>> found = parameter_shardings(layer, {"kernel": "weight"}, mesh)
        >>> tuple(found["kernel"].spec)
        (None, 'fsdp')
    """
    parts = mesh.shape.get("fsdp", 1)

    def place(leaf: jax.Array | jax.ShapeDtypeStruct, kind: str) -> NamedSharding:
        smallest = MIN_SHARDED_SIZE[kind]
        axes = [i for i, size in enumerate(leaf.shape) if size % parts == 0]
        if parts == 1 or smallest is None or leaf.size < smallest or not axes:
            return NamedSharding(mesh, P())
        longest = max(axes, key=lambda i: leaf.shape[i])
        return NamedSharding(mesh, P(*("fsdp" if i == longest else None for i in range(leaf.ndim))))

    return jax.tree.map(place, params, kinds)


def optimizer_shardings(
    optimizer: optax.GradientTransformation, opt_state: PyTree, params: PyTree
) -> PyTree:
    """Place the moments of each parameter where the parameter is, and all else everywhere.

    Args:
        optimizer: The optimizer.
        opt_state: Its state, or the shapes of it.
        params: A sharding for each parameter.

    Returns:
        A sharding for each array of the state.
    """
    mesh = jax.tree.leaves(params)[0].mesh
    return optax.tree.map_params(
        optimizer,
        lambda _, sharding: sharding,
        opt_state,
        params,
        transform_non_params=lambda _: NamedSharding(mesh, P()),
    )


def all_gather_params(params: PyTree, specs: PyTree, kinds: PyTree | None = None) -> PyTree:
    """All-gather parameters that are sharded over `fsdp`, inside `jax.shard_map`.

    The cotangents of the whole arrays are reduce-scattered: every device of a group receives the
    sum for its own part, and only that crosses to other groups. The cotangents of what is not
    sharded are one sum over all devices.

    Args:
        params: The part of each array that this device has.
        specs: How each is sharded, as given to `jax.shard_map`.
        kinds: What each is; of a `block_weight` the part is left, for its network gathers it.

    Returns:
        The whole arrays.

    Examples:
        >>> mesh = make_mesh({"data": 1, "fsdp": 2}, jax.devices()[:2])
        >>> mapped = jax.shard_map(lambda w: all_gather_params(w, P("fsdp")).sum(), mesh=mesh,
        ...                        in_specs=P("fsdp"), out_specs=P(), check_vma=False)
        >>> float(mapped(np.arange(4.0)))
        6.0

    References:
        S. Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter
        Models", arXiv 1910.02054, 2019, Section 5.
    """

    def whole(part: jax.Array, spec: P, kind: str = "weight") -> jax.Array:
        # Marked as each device's own, so that its cotangents are summed here, in its own shape:
        # left alone, they would be where it first meets data, after it was repeated for every
        # sample.
        sharded = [axis for axis, name in enumerate(spec) if name == "fsdp"]
        if not sharded:
            return jax.lax.pcast(part, AXES, to="varying")
        part = jax.lax.pcast(part, "data", to="varying")
        if kind == "block_weight":
            return part
        return jax.lax.all_gather(part, "fsdp", axis=sharded[0], tiled=True)

    return jax.tree.map(whole, params, specs, *(() if kinds is None else (kinds,)))
