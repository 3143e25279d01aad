"""Meshes by name, and which parameters are divided over them."""

import re
from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

#: Axes a mesh may have: both divide the batch, the second divides large parameters too.
AXES = ("data", "fsdp")

#: Which arrays are divided over `fsdp`, by their path (`params/encoder/blocks/0/mlp/kernel`): the
#: first rule that fits decides. Anything that a rule divides is cut along its longest axis that the
#: devices divide, once it has as many numbers as the rule says: small arrays cost more to gather
#: than they take.
RULES = (
    (r"/(kernel|embedding)$", 2**14),
    (r"", None),  # biases, norms, positions, tokens, statistics, counters: a copy on each device
)


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


def make_mesh(sizes: Mapping[str, int], devices: list[jax.Device]) -> jax.sharding.Mesh:
    """Lay devices out, those of one process next to each other.

    Args:
        sizes: Size of each axis.
        devices: As many devices.

    Returns:
        A mesh with Auto axes, as `jax.shard_map` of parts of it and the compiler both want.

    Examples:
        >>> dict(make_mesh({"data": 1, "fsdp": 2}, jax.devices()[:2]).shape)
        {'data': 1, 'fsdp': 2}
    """
    grid = np.array(devices).reshape(tuple(sizes.values()))
    return jax.sharding.Mesh(grid, tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def shardings(tree: PyTree, mesh: jax.sharding.Mesh) -> PyTree:
    """Choose where each array of a state lives, by `RULES`.

    The optimizer's moments have the paths of the parameters they belong to within their own, and so
    their places.

    Args:
        tree: Arrays or their shapes, as from `jax.eval_shape`.
        mesh: The mesh; without an axis `fsdp` everything is on every device.

    Returns:
        A sharding for each array.

    Examples:
        >>> mesh = make_mesh({"data": 1, "fsdp": 2}, jax.devices()[:2])
        >>> layer = {"kernel": jax.ShapeDtypeStruct((64, 256), "float32")}
        >>> tuple(shardings({"params": layer}, mesh)["params"]["kernel"].spec)
        (None, 'fsdp')
    """
    parts = mesh.shape.get("fsdp", 1)

    def place(path: tuple, leaf: jax.Array | jax.ShapeDtypeStruct) -> NamedSharding:
        name = "/" + jax.tree_util.keystr(path, simple=True, separator="/")
        smallest = next(size for pattern, size in RULES if re.search(pattern, name))
        axes = [i for i, size in enumerate(leaf.shape) if size % parts == 0]
        if parts == 1 or smallest is None or leaf.size < smallest or not axes:
            return NamedSharding(mesh, P())
        longest = max(axes, key=lambda i: leaf.shape[i])
        return NamedSharding(mesh, P(*("fsdp" if i == longest else None for i in range(leaf.ndim))))

    return jax.tree_util.tree_map_with_path(place, tree)


def gather(tree: PyTree, specs: PyTree) -> PyTree:
    """Put arrays together that are divided over `fsdp`, inside `jax.shard_map`.

    What the whole arrays get back is added up in parts: every device of a group receives the sum
    for its own part (a reduce-scatter), and only that crosses to other groups. What is not divided
    gets back one sum over all devices.

    Args:
        tree: The part of each array that this device has.
        specs: How each is divided, as given to `jax.shard_map`.

    Returns:
        The whole arrays.

    Examples:
        >>> mesh = make_mesh({"data": 1, "fsdp": 2}, jax.devices()[:2])
        >>> mapped = jax.shard_map(lambda w: gather(w, P("fsdp")).sum(), mesh=mesh,
        ...                        in_specs=P("fsdp"), out_specs=P(), check_vma=False)
        >>> float(mapped(np.arange(4.0)))
        6.0

    References:
        S. Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter
        Models", arXiv 1910.02054, 2019, Section 5.
    """

    def whole(part: jax.Array, spec: P) -> jax.Array:
        # Marked as each device's own, so that what it gets back is added up here, in its own shape:
        # left alone, it would be where it first meets data, after it was repeated for every sample.
        divided = [axis for axis, name in enumerate(spec) if name == "fsdp"]
        if not divided:
            return jax.lax.pcast(part, AXES, to="varying")
        part = jax.lax.pcast(part, "data", to="varying")
        return jax.lax.all_gather(part, "fsdp", axis=divided[0], tiled=True)

    return jax.tree.map(whole, tree, specs)
