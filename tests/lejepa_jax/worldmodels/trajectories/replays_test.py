"""Replays with noise: what they hold, and that none leaks from what is held out."""

import numpy as np
import pytest

from lejepa_jax.commands import replay
from lejepa_jax.commands.table import Program
from lejepa_jax.worldmodels.trajectories import (
    Trajectories,
    read_trajectories,
    replay_with_noise,
    split_windows,
)
from tests.lejepa_jax.worldmodels.simulators import Point, record


@pytest.fixture(scope="module")
def recorded():
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.8, 0.8, (4, 5, 2)).astype(np.float32)
    frames, states = record(Point(), actions, rng.uniform(0.4, 0.6, (4, 2)))
    return Trajectories(
        frames=frames,
        actions=actions.reshape(-1, 2),
        episode_ends=5 * np.arange(1, 5),
        states=states,
    )


def test_replays_follow_the_simulator_from_the_recorded_starts(recorded):
    found = replay_with_noise(Point(), recorded, copies=2, noise=0.1)
    assert found.num_episodes == 12
    np.testing.assert_array_equal(found.actions[:20], recorded.actions)
    difference = found.actions[20:40] - recorded.actions
    assert 0.05 < difference.std() < 0.15
    assert np.abs(found.actions[40:] - found.actions[20:40]).max() > 0.05  # copies differ
    first, end = found.bounds(7)
    np.testing.assert_allclose(found.states[first], recorded.states[15], atol=1e-6)
    steps = np.clip(found.states[first : end - 1] + 0.1 * found.actions[first : end - 1], 0, 1)
    np.testing.assert_allclose(found.states[first + 1 : end], steps, atol=1e-5)
    assert found.version != recorded.version
    # Without noise the recording itself.
    same = replay_with_noise(Point(), recorded, noise=1e-9)
    np.testing.assert_allclose(same.states[20:], recorded.states, atol=1e-5)
    np.testing.assert_array_equal(same.frames[20:], recorded.frames)


def test_replays_of_what_is_held_out_are_held_out(recorded):
    found = replay_with_noise(Point(), recorded, copies=2, noise=0.1)
    splits = split_windows("points", found, num_frames=2, test_fraction=0.25)
    alone = split_windows("points", recorded, num_frames=2, test_fraction=0.25)
    held = alone.test.episodes.tolist()
    assert splits.test.episodes.tolist() == [held[0] + 4 * copy for copy in range(3)]
    assert len(splits.train.episodes) == 9


def test_the_command_writes_what_is_read_again(recorded, tmp_path, monkeypatch, capsys):
    from rich.console import Console

    monkeypatch.setattr(replay, "host_environment_by_name", lambda text: Point)
    np.savez(
        tmp_path / "few.npz",
        frames=recorded.frames,
        actions=recorded.actions,
        states=recorded.states,
        episode_ends=recorded.episode_ends,
    )
    program = Program({}, "", Console(), lambda *arguments: 0)
    paths = str(tmp_path / "few.npz"), "--out", str(tmp_path / "more.npz")
    assert replay.run(["replay", *paths, "--noise", "0.1", "--copies", "2"], program) == 0
    assert "12 episodes, 60 frames" in capsys.readouterr().out
    found = read_trajectories(str(tmp_path / "more.npz"))
    assert found.episode_groups.tolist() == [0, 1, 2, 3] * 3
