"""Arrays by name in a safetensors file: written whole, read strictly."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

_CHUNK = 2**24


def name_arrays(tree: PyTree) -> dict[str, Any]:
    """Name the leaves of a tree by their path.

    Args:
        tree: Nested dictionaries.

    Returns:
        Leaves by name.

    Examples:
        >>> name_arrays({"blocks": {0: {"bias": 1.0}}})
        {'blocks.0.bias': 1.0}
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def arrange_arrays(arrays: Mapping[str, Any], like: PyTree) -> PyTree:
    """Put named arrays where a tree has them; the other way of `name_arrays`.

    Args:
        arrays: By name.
        like: A tree of the same names.

    Returns:
        The tree, with those arrays.

    Examples:
        >>> arrange_arrays({"blocks.0": 1.0}, {"blocks": {0: None}} | {"blocks": {0: 2.0}})
        {'blocks': {0: 1.0}}
    """

    def pick(path: Any, leaf: Any) -> Any:
        del leaf
        return arrays[jax.tree_util.keystr(path, simple=True, separator=".")]

    return jax.tree_util.tree_map_with_path(pick, like)


def mismatches(
    found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Say how two sets of arrays differ: every shape, every name that one of them lacks.

    Args:
        found: Shapes by name in a file.
        wanted: Shapes by name of the network.

    Returns:
        A line for each difference.

    Examples:
        >>> mismatches({"a": (2,), "c": ()}, {"a": (3,), "b": ()})
        ['a is (2,) there and (3,) in the network', 'b is missing', 'c is no part of the network']
    """
    lines = []
    for name in wanted:
        if name not in found:
            lines.append(f"{name} is missing")
        elif tuple(found[name]) != tuple(wanted[name]):
            shapes = f"{tuple(found[name])} there and {tuple(wanted[name])} in the network"
            lines.append(f"{name} is {shapes}")
    lines += [f"{name[:200]} is no part of the network" for name in found if name not in wanted]
    return lines


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """Write a safetensors file, and wait until it is on disk.

    Args:
        path: The file.
        arrays: By name.
        metadata: Texts by name, for its header.

    Returns:
        The SHA-256 of the file.
    """
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, path, dict(metadata))
    path.chmod(0o666 & ~current_umask())  # the package makes it readable for its owner alone
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return sha256_of(path)


def current_umask() -> int:
    """Permissions that new files of this process lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_of(path: Path) -> str:
    """SHA-256 of a file.

    Examples:
        >>> sha256_of(Path(os.devnull))[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class TensorFile:
    """A safetensors file whose header was read, and nothing else yet.

    Args:
        path: The file.

    Attributes:
        shapes: Shapes by name.
        metadata: Texts of the header by name.

    Raises:
        ValueError: If it is no such file, or its header and its size do not go together.
    """

    def __init__(self, path: Path):
        from safetensors import SafetensorError, safe_open

        self.path = path
        self._errors = (SafetensorError, OSError, ValueError)
        if not path.is_file():
            raise ValueError(f"{path} is not a file")
        try:
            # The header is compared with the size of the file before anything else is read.
            with safe_open(path, framework="numpy") as file:
                self.metadata: dict[str, str] = file.metadata() or {}
                self.shapes = {
                    name: tuple(file.get_slice(name).get_shape())
                    for name in file.keys()  # noqa: SIM118
                }
        except self._errors as error:
            raise self._unreadable(error) from None

    def read(self) -> dict[str, np.ndarray]:
        """Read all arrays, those of floating point as float32."""
        from safetensors import safe_open

        found = {}
        try:
            with safe_open(self.path, framework="numpy") as file:
                for name in self.shapes:
                    array = file.get_tensor(name)
                    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
                    found[name] = array.astype(np.float32) if floating else array
        except (*self._errors, TypeError, KeyError, AttributeError) as error:
            raise self._unreadable(error) from None
        return found

    def _unreadable(self, error: Exception) -> ValueError:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return ValueError(f"{self.path} is no safetensors file that can be read: {reason}")
