"""What arrays of trajectories are called in files, and how they are put into one form."""

import dataclasses
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from lejepa_jax.worldmodels.trajectories.episodes import Trajectories, digest_of

#: Spellings of each array, the usual one first.
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "frames": ("frames", "pixels", "img", "image", "images", "data/img"),
    "actions": ("actions", "action", "data/action"),
    "states": ("states", "state", "data/state"),
    "state_names": ("state_names",),
    "episode_ends": ("episode_ends", "meta/episode_ends"),
    "episode_lengths": ("episode_lengths", "ep_len"),
    "episode_index": ("episode_index", "ep_idx"),
    "episode_groups": ("episode_groups",),
}
_NEEDED = ("frames", "actions")
_ENDS = ("episode_ends", "episode_lengths", "episode_index")


def find_arrays(there: Container[str]) -> dict[str, str]:
    """Find what the arrays of a file are called.

    Args:
        there: Names in the file.

    Returns:
        The name in the file of each array that is there.

    Raises:
        ValueError: If frames, actions, or all that says where episodes end are missing.

    Examples:
        >>> find_arrays(["img", "action", "episode_ends", "keypoint"])
        {'frames': 'img', 'actions': 'action', 'episode_ends': 'episode_ends'}
    """
    found = {}
    for name, spellings in SPELLINGS.items():
        own = next((spelling for spelling in spellings if spelling in there), None)
        if own is not None:
            found[name] = own
    missing = [name for name in _NEEDED if name not in found]
    if not any(name in found for name in _ENDS):
        missing.append("episode_ends")
    if missing:
        wanted = "; ".join(f"{name} ({', '.join(SPELLINGS[name])})" for name in missing)
        raise ValueError(f"it lacks {wanted}")
    return found


def make_trajectories(frames: Any, arrays: Mapping[str, np.ndarray]) -> Trajectories:
    """Make trajectories of arrays under their usual names.

    Args:
        frames: The frames, an array or what reads them.
        arrays: `actions`, one of `episode_ends`, `episode_lengths` and `episode_index` (ascending),
            and maybe `states`, `state_names` and `episode_groups`.

    Returns:
        The trajectories, with a digest for their version.

    Raises:
        ValueError: If the arrays are not numeric, or do not fit together.
    """
    actions = _numbers("actions", arrays["actions"])
    states = _numbers("states", arrays["states"]) if "states" in arrays else None
    names = [str(name) for name in np.asarray(arrays.get("state_names", ())).ravel()]
    groups = arrays.get("episode_groups")
    found = Trajectories(
        frames=frames,
        actions=actions,
        episode_ends=_ends(arrays),
        states=states,
        state_names=tuple(names),
        groups=None if groups is None else groups.ravel().astype(np.int64),
    )
    return dataclasses.replace(found, version=digest_of(found))


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiub" or array.ndim < 1:
        raise ValueError(f"{name} must be an array of numbers, got {array.dtype}")
    return array.reshape(len(array), -1).astype(np.float32)


def _ends(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    name = next(name for name in _ENDS if name in arrays)
    numbers = arrays[name].ravel()
    if numbers.dtype.kind not in "iu":
        raise ValueError(f"{name} must be whole numbers, got {numbers.dtype}")
    numbers = numbers.astype(np.int64)
    if name == "episode_lengths":
        return np.cumsum(numbers)
    if name == "episode_index":
        if (np.diff(numbers) < 0).any():
            raise ValueError("episode_index must ascend, one episode after the other")
        return np.append(np.flatnonzero(np.diff(numbers)) + 1, len(numbers))
    return numbers
