"""`replay RECORDINGS --out PATH`: more trajectories of recorded ones, their actions with noise."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from lejepa_jax.commands.options import parse_options
from lejepa_jax.commands.table import Program
from lejepa_jax.training.errors import UsageError
from lejepa_jax.worldmodels.environments.host import host_environment_by_name
from lejepa_jax.worldmodels.trajectories.loading import read_trajectories
from lejepa_jax.worldmodels.trajectories.replays import replay_with_noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Replay recorded actions with noise in a simulator, as further trajectories to train on.

    Attributes:
        recordings: What to replay, as `--data` of a recipe takes it: a path of an .npz.
        out: The .npz to write: recordings and replays, with `episode_groups`, so that replays of
            what is held out are not trained on.
        environment: The simulator; its actions are those of the recordings.
        copies: Replays of each episode.
        noise: Standard deviation of the noise, in units of the actions.
        seed: Of the noise.
        memory_limit: Bytes that recorded frames may take.
    """

    recordings: Annotated[str, tyro.conf.Positional]
    out: Path
    environment: str = "push-t(relative=False)"
    copies: int = 1
    noise: float = 10.0
    seed: int = 0
    memory_limit: int = 2**31


def run(arguments: list[str], program: Program) -> int:
    """Write an archive of recordings and their replays.

    Args:
        arguments: `replay`, and its options.
        program: What runs the command.

    Returns:
        The exit code.

    Raises:
        UsageError: One line about what is wrong.
    """
    options = parse_options(Options, arguments)
    if options.out.suffix != ".npz":
        raise UsageError(f"--out must end in .npz, got {str(options.out)!r}")
    environment = host_environment_by_name(options.environment)()
    recorded = read_trajectories(options.recordings, memory_limit=options.memory_limit)
    found = replay_with_noise(
        environment, recorded, copies=options.copies, noise=options.noise, seed=options.seed
    )
    np.savez_compressed(
        options.out,
        frames=found.frames,
        actions=found.actions,
        states=np.asarray(found.states),
        state_names=np.array(found.state_names, str),
        episode_ends=found.episode_ends,
        episode_groups=found.episode_groups,
    )
    program.console.print(
        f"{options.out}: {found.num_episodes} episodes, {len(found.actions):,} frames, "
        f"{recorded.num_episodes} of them recorded",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return 0
