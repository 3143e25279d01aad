"""Trajectories by name: generated ones, and recordings in the usual layouts of files."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Int64

from lejepa_jax.checks import check_choice
from lejepa_jax.data.records import printable
from lejepa_jax.data.splits import Splits
from lejepa_jax.worldmodels.trajectories.episodes import Trajectories, action_scale
from lejepa_jax.worldmodels.trajectories.readers.hdf5 import read_hdf5
from lejepa_jax.worldmodels.trajectories.readers.lerobot import read_lerobot
from lejepa_jax.worldmodels.trajectories.readers.npz import read_npz
from lejepa_jax.worldmodels.trajectories.windows import TrajectoryWindows

#: Maps what a name says after its colon, and `memory_limit` by name, to trajectories.
TrajectoryReader = Callable[..., Trajectories]

#: Readers by what the name of a data set says before its colon.
READERS: Mapping[str, TrajectoryReader] = MappingProxyType(
    {"npz": read_npz, "hdf5": read_hdf5, "lerobot": read_lerobot}
)
_ENDINGS = {".npz": "npz", ".h5": "hdf5", ".hdf5": "hdf5"}


def read_trajectories(
    name: str, *, data_dir: str | None = None, memory_limit: int = 2**31
) -> Trajectories:
    """Read trajectories by name.

    ================  ==============================================================================
    ``npz:PATH``      Arrays ``frames`` (n h w c, uint8), ``actions`` (n a), ``episode_ends`` (e,
                      exclusive) and, if you like, ``states`` (n s) and ``state_names``. Also
                      ``img``, ``action`` and ``state``, the layout of Diffusion Policy. A path that
                      ends in .npz does too. Episodes of one number in ``episode_groups`` (e) are
                      held out together.
    ``hdf5:PATH``     The same names as data sets of one file, or ``pixels``, ``action``, and
                      ``ep_len`` in place of the ends, the layout of stable-worldmodel. Frames that
                      do not fit into the memory limit are read when they are asked for.
    ``lerobot:PATH``  A folder of LeRobot: ``meta/info.json`` and Parquet below ``data``, with
                      images in it or beside it. Frames kept as videos alone are refused.
    ================  ==============================================================================

    Args:
        name: See the table; with the name of a reader alone, the path is `data_dir`.
        data_dir: Where the data is, if the name does not say it.
        memory_limit: Bytes that frames may take in memory.

    Returns:
        The trajectories.

    Raises:
        ValueError: One line about what is wrong with the name or the data.
    """
    kind, _, path = name.partition(":")
    for ending, own in _ENDINGS.items():
        if name.lower().endswith(ending) and kind not in READERS:
            kind, path = own, name
    if kind == "zarr" or name.rstrip("/").lower().endswith((".zarr", ".zarr.zip")):
        raise ValueError(
            f"{printable(name)}: Zarr is not read; np.savez(PATH, frames=..., actions=..., "
            "episode_ends=...) makes an archive that is"
        )
    if kind not in READERS:
        raise ValueError(
            f"data must be one of {', '.join(READERS)}, with a colon and a path, "
            f"got {printable(name)!r}"
        )
    path = path or data_dir or ""
    if not path:
        raise ValueError(f"data must name a path: {kind}:PATH, got {name!r}")
    return READERS[kind](path, memory_limit=memory_limit)


def split_episodes(
    num_episodes: int, *, holdout: Literal["test", "validation"], fraction: float
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " held"]]:
    """Choose the episodes that are held out: always the same ones.

    Args:
        num_episodes: How many there are.
        holdout: With `validation`, the test episodes are set aside first.
        fraction: Part that is held out, rounded, at least one.

    Returns:
        Episodes to train on, and those held out, ascending.

    Raises:
        ValueError: If the fraction is out of range, or too few episodes are left.

    Examples:
        >>> [part.tolist() for part in split_episodes(5, holdout="test", fraction=0.2)]
        [[0, 1, 2, 3], [4]]
    """
    check_choice("holdout", holdout, ("test", "validation"))
    if not 0 < fraction < 1:
        raise ValueError(f"test_fraction must lie in (0, 1), got {fraction}")
    count = max(1, round(fraction * num_episodes))
    parts = 1 if holdout == "test" else 2
    if num_episodes <= parts * count:
        raise ValueError(f"{num_episodes} episodes are too few to hold some out")
    bits = np.random.PCG64(np.random.SeedSequence(num_episodes)).random_raw(num_episodes)
    order = np.argsort(bits, kind="stable")
    return np.sort(order[parts * count :]), np.sort(order[(parts - 1) * count : parts * count])


def split_windows(
    name: str,
    trajectories: Trajectories,
    *,
    num_frames: int,
    action_block: int = 1,
    window_step: int = 1,
    holdout: Literal["test", "validation"] = "test",
    test_fraction: float = 0.1,
) -> Splits:
    """Make splits of windows: whole episodes are held out, and the actions are z-scored.

    Args:
        name: The name of the data set.
        trajectories: All episodes.
        num_frames: Frames of a window.
        action_block: Steps from one frame to the next.
        window_step: Steps from one window to the next.
        holdout: Which part `Splits.test` holds.
        test_fraction: Part of the episodes that is held out.

    Returns:
        The splits. `info` has the mean and the standard deviation of the training actions, by
        which both parts are scaled: they are kept in `run.json`.

    Raises:
        ValueError: If there are too few episodes, or none is long enough.
    """
    # Replays of what is held out are held out as well.
    names, group = np.unique(trajectories.episode_groups, return_inverse=True)
    train, held = (
        np.flatnonzero(np.isin(group, part))
        for part in split_episodes(len(names), holdout=holdout, fraction=test_fraction)
    )
    scale = action_scale(trajectories, train)

    def windows(episodes: np.ndarray) -> TrajectoryWindows:
        return TrajectoryWindows(
            trajectories,
            episodes,
            num_frames=num_frames,
            action_block=action_block,
            window_step=window_step,
            scale=scale,
        )

    height, width, channels = trajectories.frames.shape[1:]
    info = {
        "episodes": f"{len(train)} to train on, {len(held)} held out",
        "frames": f"{len(trajectories.actions):,} of {height} x {width} pixels, "
        f"{channels} channel{'s' * (channels > 1)}",
        "windows": f"{num_frames} frames, {action_block} steps apart",
        "action_mean": str(scale.mean.tolist()),
        "action_std": str(scale.std.tolist()),
    }
    return Splits(name, windows(train), windows(held), (), info)
