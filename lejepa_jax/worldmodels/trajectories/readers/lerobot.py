"""Trajectories in the layout of LeRobot: Parquet, with images in it or beside it."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.images.decoding import read_image
from lejepa_jax.worldmodels.trajectories.episodes import Trajectories
from lejepa_jax.worldmodels.trajectories.readers.names import make_trajectories

_ACTION, _STATE, _EPISODE, _FRAME = "action", "observation.state", "episode_index", "frame_index"
_MAX_METADATA = 2**24


class EncodedFrames:
    """Frames that are decoded when they are asked for, squashed to a square.

    Args:
        files: Each of them, a path or its bytes.
        size: Height and width to give out, in pixels.
    """

    def __init__(self, files: Sequence[str | bytes], size: int):
        self._files, self._size = files, size
        self.shape: tuple[int, ...] = (len(files), size, size, 3)

    def __getitem__(self, indices: Any) -> UInt8[np.ndarray, "n h w c"]:
        """Decode the frames at an array of positions, each once."""
        rows, places = np.unique(np.asarray(indices), return_inverse=True)
        return np.stack([self._decode(int(row)) for row in rows])[places]

    def _decode(self, row: int) -> np.ndarray:
        file = self._files[row]
        try:
            return read_image(io.BytesIO(file) if isinstance(file, bytes) else file, self._size, 3)[
                0
            ]
        except Exception as error:  # damaged images raise errors of all kinds
            raise ValueError(f"frame {row} cannot be decoded: {error}") from error


def read_lerobot(path: str, *, memory_limit: int = 2**31) -> Trajectories:
    """Read a folder of LeRobot, version 2 or 3, with RGB images of one camera.

    Images that are not square are squashed to their shorter side. Frames that do not fit into the
    memory limit are decoded when they are asked for.

    Args:
        path: The folder; of several cameras one is named behind a hash: ``PATH#CAMERA``.
        memory_limit: Bytes that decoded frames may take in memory.

    Returns:
        The trajectories; `observation.state` are the states.

    Raises:
        ValueError: If it is no such folder, or the frames are kept as videos.
    """
    with needs_extra("parquet"):
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]

    place, _, camera = path.partition("#")
    folder = Path(place).expanduser()
    try:
        features = _features(folder)
        camera, size = _camera(features, camera)
        files = sorted((folder / "data").rglob("*.parquet"))
        if not files:
            raise ValueError("it has no data/*.parquet")
        wanted = [camera, _ACTION, _EPISODE, _FRAME, *([_STATE] if _STATE in features else [])]
        rows = [
            row
            for file in files
            for row in pyarrow.parquet.read_table(file, columns=wanted).to_pylist()
        ]
        rows.sort(key=lambda row: (row[_EPISODE], row[_FRAME]))
        frames: Any = EncodedFrames([_file(folder, row[camera]) for row in rows], size)
        if int(np.prod(frames.shape)) <= memory_limit:
            frames = frames[np.arange(len(rows))]
        arrays = {
            "actions": np.array([np.ravel(row[_ACTION]) for row in rows], np.float32),
            "episode_index": np.array([row[_EPISODE] for row in rows], np.int64),
        }
        if _STATE in features:
            arrays["states"] = np.array([np.ravel(row[_STATE]) for row in rows], np.float32)
        return make_trajectories(frames, arrays)
    except Exception as error:  # damaged files raise errors of all kinds
        raise ValueError(f"{path!r} is not a folder of LeRobot that is read: {error}") from error


def _features(folder: Path) -> Mapping[str, Any]:
    file = folder / "meta" / "info.json"
    if not file.is_file() or file.stat().st_size > _MAX_METADATA:
        raise ValueError("it has no meta/info.json")
    features = json.loads(file.read_text(encoding="utf-8")).get("features")
    if not isinstance(features, dict) or _ACTION not in features:
        raise ValueError("meta/info.json must list the features, action among them")
    return features


def _camera(features: Mapping[str, Any], named: str) -> tuple[str, int]:
    """Find the feature of the frames, and the side to which they are squashed."""
    kinds = {name: value.get("dtype") for name, value in features.items()}
    cameras = [name for name, kind in kinds.items() if kind in ("image", "video")]
    if named and named not in cameras:
        raise ValueError(f"the camera must be one of {', '.join(cameras)}, got {named!r}")
    if not named and len(cameras) != 1:
        raise ValueError(f"PATH#CAMERA must name one of {', '.join(cameras) or 'no cameras'}")
    camera = named or cameras[0]
    if kinds[camera] == "video":
        raise ValueError(
            f"{camera} is kept as video, which is not decoded here; extract its frames to images "
            "with LeRobot first"
        )
    sides = sorted(int(side) for side in features[camera]["shape"])[-2:]
    if len(sides) != 2 or not 1 <= sides[0] <= 4096:
        raise ValueError(f"{camera} must have a height and a width, got {sides}")
    return camera, sides[0]


def _file(folder: Path, image: Any) -> str | bytes:
    """Bytes of an image, or the path of its file below the folder."""
    if isinstance(image, Mapping) and image.get("bytes"):
        return image["bytes"]
    name = image.get("path") if isinstance(image, Mapping) else image
    if not isinstance(name, str):
        raise ValueError(f"an image must be bytes or a path, got {type(image).__name__}")
    file, root = (folder / name).resolve(), folder.resolve()
    if not file.is_relative_to(root):
        raise ValueError(f"the image {name!r} leaves the folder")
    return str(file)
