"""Files of trajectories: every layout gives the same episodes."""

import io
import json

import numpy as np
import pytest

from lejepa_jax.worldmodels.trajectories import read_trajectories

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 255, (7, 6, 6, 3), np.uint8)
ACTIONS = RNG.normal(size=(7, 2)).astype(np.float32)
STATES = RNG.normal(size=(7, 3)).astype(np.float32)
ENDS = np.array([3, 7])


def check(found, states=True):
    assert np.array_equal(found.frames[np.array([6, 0, 6])], FRAMES[[6, 0, 6]])
    assert np.array_equal(found.actions, ACTIONS)
    assert np.array_equal(found.episode_ends, ENDS)
    assert found.version
    if states:
        assert np.array_equal(found.states, STATES)


def png(image):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def lerobot(folder, *, inside=True, kind="image", cameras=("observation.image",)):
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"action": {"dtype": "float32", "shape": [2]}}
    features["observation.state"] = {"dtype": "float32", "shape": [3]}
    features |= {camera: {"dtype": kind, "shape": [3, 6, 6]} for camera in cameras}
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps({"features": features}))
    (folder / "data" / "chunk-000").mkdir(parents=True)
    (folder / "images").mkdir()
    for episode, (start, end) in enumerate(((0, 3), (3, 7))):
        images = []
        for i in range(start, end):
            (folder / "images" / f"{i}.png").write_bytes(png(FRAMES[i]))
            images.append(
                {"bytes": png(FRAMES[i]), "path": None}
                if inside
                else {"bytes": None, "path": f"images/{i}.png"}
            )
        columns = {camera: images for camera in cameras}
        columns |= {"action": ACTIONS[start:end].tolist()}
        columns |= {"observation.state": STATES[start:end].tolist()}
        columns |= {"episode_index": [episode] * (end - start)}
        columns |= {"frame_index": list(range(end - start))}
        pq.write_table(
            pa.table(columns), folder / "data" / "chunk-000" / f"episode_{1 - episode}.parquet"
        )
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("frames", "actions", "states", "episode_ends"),
        ("img", "action", "state", "episode_ends"),
    ],
)
def test_an_archive_is_read_under_both_spellings(tmp_path, names):
    file = tmp_path / "run.npz"
    arrays = dict(zip(names, (FRAMES, ACTIONS, STATES, ENDS), strict=True))
    np.savez(file, **arrays, keypoint=np.zeros((7, 9, 2)))
    check(read_trajectories(f"npz:{file}"))
    check(read_trajectories(str(file)))
    check(read_trajectories("npz", data_dir=str(file)))
    with pytest.raises(ValueError, match="unpacks to"):
        read_trajectories(f"npz:{file}", memory_limit=100)


def test_hdf5_is_read_with_frames_in_memory_or_in_the_file(tmp_path):
    import h5py

    file = tmp_path / "run.h5"
    with h5py.File(file, "w") as opened:
        opened["pixels"], opened["action"] = FRAMES, ACTIONS
        opened["state"], opened["ep_len"] = STATES, np.array([3, 4])
    check(read_trajectories(f"hdf5:{file}"))
    lazy = read_trajectories(f"hdf5:{file}", memory_limit=400)
    assert not isinstance(lazy.frames, np.ndarray)
    check(lazy)
    assert lazy.version == read_trajectories(str(file)).version


def test_hdf5_is_not_followed_out_of_the_file(tmp_path):
    import h5py

    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as opened:
        opened["pixels"] = FRAMES
    file = tmp_path / "run.h5"
    with h5py.File(file, "w") as opened:
        opened["pixels"] = h5py.ExternalLink(str(other), "pixels")
        opened["action"], opened["ep_len"] = ACTIONS, np.array([3, 4])
    with pytest.raises(ValueError, match="is a link, which is not followed"):
        read_trajectories(f"hdf5:{file}")


@pytest.mark.parametrize("inside", [True, False])
def test_lerobot_is_read_with_images_inside_parquet_and_beside_it(tmp_path, inside):
    folder = lerobot(tmp_path / "set", inside=inside)
    check(read_trajectories(f"lerobot:{folder}"))
    lazy = read_trajectories(f"lerobot:{folder}", memory_limit=10)
    assert not isinstance(lazy.frames, np.ndarray)
    check(lazy)


def test_lerobot_says_what_it_cannot_read(tmp_path):
    video = lerobot(tmp_path / "video", kind="video")
    with pytest.raises(ValueError, match="kept as video, which is not decoded here"):
        read_trajectories(f"lerobot:{video}")
    two = lerobot(tmp_path / "two", cameras=("top", "side"))
    with pytest.raises(ValueError, match="PATH#CAMERA must name one of top, side"):
        read_trajectories(f"lerobot:{two}")
    check(read_trajectories(f"lerobot:{two}#side"))
    outside = lerobot(tmp_path / "outside", inside=False)
    (outside / "images" / "0.png").rename(tmp_path / "0.png")
    (outside / "images" / "0.png").symlink_to(tmp_path / "0.png")
    with pytest.raises(ValueError, match="leaves the folder"):
        read_trajectories(f"lerobot:{outside}")


def test_what_is_missing_is_named(tmp_path):
    file = tmp_path / "run.npz"
    np.savez(file, frames=FRAMES)
    with pytest.raises(ValueError, match=r"it lacks actions \(actions, action, data/action\); epi"):
        read_trajectories(f"npz:{file}")
    for name, message in (
        ("npz:/nowhere.npz", "is not a file"),
        ("zarr:x", "Zarr is not read"),
        ("atari", "data must be one of npz, hdf5, lerobot"),
        ("npz", "data must name a path"),
    ):
        with pytest.raises(ValueError, match=message):
            read_trajectories(name)
