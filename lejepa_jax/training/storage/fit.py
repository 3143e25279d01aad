"""Whether a checkpoint holds the arrays that are wanted, seen before any of them is read."""

from collections.abc import Mapping
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree

_NAMED = 3


class MisfitError(ValueError):
    """A checkpoint is whole and holds other arrays than the ones that are wanted."""


def array_shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    """Name the arrays of a tree as a checkpoint names them.

    Args:
        tree: Arrays, or what has their shapes.

    Returns:
        Shapes by path.

    Examples:
        >>> array_shapes({"a": [jax.ShapeDtypeStruct((2, 3), "float32"), None]})
        {'a/0': (2, 3)}
    """
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if hasattr(leaf, "shape")
    }


def saved_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read which arrays a checkpoint holds, and none of their values.

    Args:
        folder: Where the arrays of a step are.

    Returns:
        Shapes by path.
    """
    metadata = ocp.PyTreeCheckpointHandler().metadata(epath.Path(folder))
    return array_shapes(getattr(metadata, "tree", metadata))


def misfits(
    saved: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> str | None:
    """Say how two sets of arrays differ.

    Args:
        saved: Shapes by path in a checkpoint.
        wanted: Shapes by path of the run.

    Returns:
        A line with the first few; None if they are the same.

    Examples:
        >>> misfits({"a": (2,), "b": ()}, {"a": (3,), "b": (), "c": (4, 5)})
        'a is (2,) there and (3,) here; c of (4, 5) is only here'
        >>> misfits({"a": (2,)}, {"a": (2,)})
    """
    lines = []
    # Arrays of other shapes and those of the network first: the other lines follow from them.
    for name in sorted(saved.keys() & wanted.keys(), key=_network_first):
        if saved[name] != wanted[name]:
            lines.append(f"{name} is {saved[name]} there and {wanted[name]} here")
    for name in sorted(saved.keys() ^ wanted.keys(), key=_network_first):
        there = name in saved
        shape = saved[name] if there else wanted[name]
        lines.append(f"{name} of {shape} is only {'there' if there else 'here'}")
    if not lines:
        return None
    more = len(lines) - _NAMED
    return "; ".join(lines[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _network_first(name: str) -> tuple[bool, str]:
    return not name.startswith("variables/"), name
