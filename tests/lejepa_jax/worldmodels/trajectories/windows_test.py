"""Windows of episodes: they never cross, and what they hold is what was recorded."""

import numpy as np
import pytest

from lejepa_jax.data import batches
from lejepa_jax.data.inspection import fingerprint
from lejepa_jax.worldmodels.trajectories import (
    Trajectories,
    TrajectoryWindows,
    action_scale,
    split_episodes,
    split_windows,
)

ENDS = np.array([9, 13, 30])


def trajectories():
    """Frame i is full of the number i, and so are its action and its state."""
    number = np.arange(30)
    return Trajectories(
        frames=np.broadcast_to(number[:, None, None, None], (30, 4, 4, 1)).astype(np.uint8),
        actions=np.stack([number, 100 + 2 * number], 1).astype(np.float32),
        episode_ends=ENDS,
        states=number[:, None].astype(np.float32),
    )


def test_a_window_holds_frames_apart_and_the_actions_between_them_in_order():
    source = TrajectoryWindows(trajectories(), num_frames=3, action_block=2)
    batch = source.gather(np.arange(len(source)))
    first = batch["frames"][:, 0, 0, 0, 0].astype(int)
    # Episodes of 9, 4 and 17 frames: those of 5 frames fit 5, 0 and 13 times.
    assert first.tolist() == [*range(5), *range(13, 26)]
    assert np.array_equal(batch["frames"][..., 0, 0, 0], first[:, None] + [0, 2, 4])
    assert np.array_equal(batch["states"][..., 0], first[:, None] + [0.0, 2.0, 4.0])
    assert batch["episode"].tolist() == [0] * 5 + [2] * 13
    assert batch["actions"].shape == (18, 2, 4)
    # A row is action s, then action s + 1: not strided, not averaged.
    raw = source.scale.restore(batch["actions"].reshape(18, 4, 2))
    np.testing.assert_allclose(raw[..., 0], first[:, None] + np.arange(4), atol=1e-4)
    np.testing.assert_allclose(raw[..., 1], 100 + 2 * raw[..., 0], atol=1e-3)


def test_no_window_crosses_the_end_of_an_episode():
    for num_frames, block, step in ((2, 1, 1), (4, 1, 3), (2, 5, 2), (5, 3, 1)):
        source = TrajectoryWindows(
            trajectories(), num_frames=num_frames, action_block=block, window_step=step
        )
        batch = source.gather(np.arange(len(source)))
        frames = batch["frames"][..., 0, 0, 0].astype(int)
        assert np.array_equal(
            np.searchsorted(ENDS, frames, side="right"),
            np.broadcast_to(batch["episode"][:, None], frames.shape),
        )
        assert np.array_equal(
            np.diff(frames, axis=1), np.full((len(frames), num_frames - 1), block)
        )


def test_the_last_action_of_an_episode_is_never_used():
    found = trajectories()
    found.actions[ENDS - 1] = np.nan
    source = TrajectoryWindows(found, num_frames=2)
    raw = source.scale.restore(source.gather(np.arange(len(source)))["actions"])
    assert np.array_equal(np.round(raw[:, 0, 0]), np.delete(np.arange(30), ENDS - 1))


def test_actions_are_scaled_by_the_training_episodes_alone_and_nan_is_the_mean():
    found = trajectories()
    found.actions[2, 1] = np.nan
    splits = split_windows("t", found, num_frames=2, test_fraction=0.34)
    kept = np.delete(np.arange(30), 2)
    train = kept[np.isin(np.searchsorted(ENDS, kept, side="right"), splits.train.episodes)]
    np.testing.assert_allclose(splits.train.scale.mean, found.actions[train].mean(0), rtol=1e-6)
    assert splits.test.scale == splits.train.scale
    assert splits.info["action_mean"] == str(splits.train.scale.mean.tolist())
    scale = action_scale(found)
    assert scale.normalize(np.array([[np.nan, np.inf]], np.float32)).tolist() == [[0, 0]]


def test_whole_episodes_are_held_out_and_the_test_part_is_never_validated_on():
    splits = split_windows("t", trajectories(), num_frames=2, test_fraction=0.34)
    held = set(splits.test.gather(np.arange(len(splits.test)))["episode"].tolist())
    seen = set(splits.train.gather(np.arange(len(splits.train)))["episode"].tolist())
    assert held
    assert not held & seen
    train, test = split_episodes(20, holdout="test", fraction=0.1)
    rest, validation = split_episodes(20, holdout="validation", fraction=0.1)
    assert not set(test) & set(validation)
    assert sorted([*rest, *validation, *test]) == list(range(20))
    assert set(train) == set(rest) | set(validation)


def test_batches_resume_exactly_and_do_not_depend_on_the_number_of_processes():
    source = TrajectoryWindows(trajectories(), num_frames=3)
    options = {"batch_size": 8, "seed": 3, "prefetch": 0}
    whole = batches(source, **options)
    first, second = next(whole), next(whole)
    resumed = batches(source, **options)
    resumed.set_state({**resumed.get_state(), "next_index": 1})
    again = next(resumed)
    halves = [next(batches(source, **options, process_index=p, process_count=2)) for p in (0, 1)]
    for name in ("frames", "actions", "index", "states"):
        assert np.array_equal(second[name], again[name])
        assert np.array_equal(first[name], np.concatenate([half[name] for half in halves]))


def test_a_subset_has_its_own_numbers():
    source = TrajectoryWindows(trajectories(), num_frames=2)
    part = source.subset(np.array([5, 0]))
    assert (len(part), part[0]["index"]) == (2, 0)
    assert np.array_equal(part[1]["frames"], source[0]["frames"])
    assert fingerprint(split_windows("t", trajectories(), num_frames=2))["train"]["count"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episode_ends": np.array([9, 9, 30])}, "episode_ends must ascend"),
        ({"episode_ends": np.array([9, 29])}, "episode_ends must ascend"),
        ({"states": np.zeros((29, 1), np.float32)}, "states must be one a frame"),
        ({"state_names": ("x", "y")}, "state_names must name the 1 columns"),
        ({"actions": np.zeros((29, 2), np.float32)}, "actions must be one a frame"),
        ({"frames": np.zeros((30, 4, 4, 1), np.float32)}, "frames must be uint8"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_together_is_refused(changes, message):
    import dataclasses

    with pytest.raises(ValueError, match=message):
        dataclasses.replace(trajectories(), **changes)


def test_options_out_of_range_are_refused():
    found = trajectories()
    for options, message in (
        ({"num_frames": 1}, "num_frames must be at least 2"),
        ({"num_frames": 2, "action_block": 0}, "action_block must be positive"),
        ({"num_frames": 20}, "the longest of which has 17"),
    ):
        with pytest.raises(ValueError, match=message):
            TrajectoryWindows(found, **options)
    with pytest.raises(ValueError, match="too few to hold some out"):
        split_episodes(2, holdout="validation", fraction=0.4)
