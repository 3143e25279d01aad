"""More trajectories of recorded ones: their actions, with noise, replayed in a simulator."""

import dataclasses

import numpy as np
from jaxtyping import Float

from lejepa_jax.checks import check_positive
from lejepa_jax.worldmodels.environments.host import HostEnvironment
from lejepa_jax.worldmodels.trajectories.episodes import Trajectories, digest_of


def replay_with_noise(
    environment: HostEnvironment,
    trajectories: Trajectories,
    *,
    copies: int = 1,
    noise: float = 10.0,
    seed: int = 0,
) -> Trajectories:
    r"""Replay each recorded episode several times from its first state, with noise in its actions.

    Actions are :math:`a_t + \sigma \epsilon_t` with normal :math:`\epsilon_t`, clipped to the
    bounds; the noisy ones are recorded. A copy belongs to the group of its source, so that both
    are trained on, or both held out.

    Args:
        environment: The simulator, whose states are those of the recordings, and whose actions too.
        trajectories: The recordings; they come first in what is returned.
        copies: Replays of each episode.
        noise: :math:`\sigma` in the units of the actions.
        seed: Of the noise.

    Returns:
        The recordings and their replays.

    Raises:
        ValueError: If a number is not positive, states are not known, or frames differ in shape.

    References:
        Zhou et al., "DINO-WM", arXiv 2411.04983, 2024 (replays of the demonstrations of Push-T).
    """
    check_positive("copies", copies)
    check_positive("noise", noise)
    if trajectories.states is None:
        raise ValueError("states must be known where a replay starts, got none")
    frames, actions, states, ends, groups = [], [], [], [], []
    for copy in range(copies):
        for episode, group in enumerate(trajectories.episode_groups):
            rng = np.random.default_rng((seed, copy, episode))
            rows = slice(*trajectories.bounds(episode))
            wanted = trajectories.actions[rows]
            noisy = wanted + noise * rng.standard_normal(wanted.shape)
            noisy = np.clip(noisy, environment.action_low, environment.action_high)
            seen, known = _follow(environment, trajectories.states[rows][0], noisy)
            frames.append(seen)
            states.append(known)
            actions.append(noisy.astype(np.float32))
            ends.append(len(noisy))
            groups.append(group)
    size = states[0].shape[1]
    if frames[0].shape[1:] != tuple(trajectories.frames.shape[1:]):
        raise ValueError(
            f"frames must be {frames[0].shape[1:]} as those of {environment.name}, "
            f"got {tuple(trajectories.frames.shape[1:])}"
        )
    count = len(trajectories.actions)
    known = trajectories.episode_ends
    found = dataclasses.replace(
        trajectories,
        frames=np.concatenate([trajectories.frames[np.arange(count)], *frames]),
        actions=np.concatenate([trajectories.actions, *actions]),
        states=np.concatenate([trajectories.states[:, :size], *states]),
        state_names=tuple(trajectories.state_names)[:size],
        episode_ends=np.concatenate([known, count + np.cumsum(ends)]),
        groups=np.concatenate([trajectories.episode_groups, groups]),
    )
    return dataclasses.replace(found, version=digest_of(found))


def _follow(
    environment: HostEnvironment,
    state: Float[np.ndarray, " s"],
    actions: Float[np.ndarray, "t a"],
) -> tuple[np.ndarray, np.ndarray]:
    """Give the frames and states at which actions are done, the last of which is not done."""
    size = len(environment.vector())
    environment.set_state(state[:size])
    frames, states = [environment.render()], [environment.vector()]
    for action in actions[:-1]:
        environment.step(action)
        frames.append(environment.render())
        states.append(environment.vector())
    return np.stack(frames), np.stack(states).astype(np.float32)
