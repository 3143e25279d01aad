"""Clouds that people give to a model, as a source of examples of one shape."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lejepa_jax.data.source import Batch, Source
from lejepa_jax.models.preprocessing import CloudPreprocessing


class _Clouds(Source):
    """Clouds in memory, padded to one number of points."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self._arrays, self.class_names, self.labels = arrays, (), None

    def __len__(self) -> int:
        return len(self._arrays["points"])

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the clouds at `indices`, stacked."""
        return {name: array[indices] for name, array in self._arrays.items()}

    def subset(self, indices: Int[np.ndarray, " b"]) -> "_Clouds":
        """Return a source of only the clouds at `indices`, in that order."""
        return _Clouds(self.gather(indices))


def clouds_source(inputs: Any, preprocessing: CloudPreprocessing) -> Source:
    """Make a source of one cloud, or of several, about their centroids and with radius 1.

    Args:
        inputs: See `Model.__call__`; with normals, arrays (p, 6) or (n, p, 6).
        preprocessing: Of the model.

    Returns:
        A source of points, padded where clouds have different numbers of them.

    Raises:
        ValueError: If something is no cloud, or is not finite.
    """
    width = 6 if preprocessing.normals else 3
    several = isinstance(inputs, list | tuple) or np.ndim(inputs) != 2
    clouds = [_as_cloud(cloud, width) for cloud in (inputs if several else [inputs])]
    if not clouds:
        raise ValueError("points must hold at least one cloud, got none")
    most = max(len(cloud) for cloud in clouds)
    arrays: dict[str, np.ndarray] = {"points": np.zeros((len(clouds), most, 3), np.float32)}
    exists = np.zeros((len(clouds), most), bool)
    if preprocessing.normals:
        arrays["normals"] = np.zeros((len(clouds), most, 3), np.float32)
    for row, cloud in enumerate(clouds):
        arrays["points"][row, : len(cloud)] = to_unit_ball(cloud[:, :3])
        exists[row, : len(cloud)] = True
        if preprocessing.normals:
            arrays["normals"][row, : len(cloud)] = cloud[:, 3:]
    if not exists.all():
        arrays["exists"] = exists
    return _Clouds(arrays)


def to_unit_ball(points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
    """Move a cloud to its centroid and scale it to radius 1, as the readers of clouds do.

    Examples:
        >>> to_unit_ball(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 5.0]]))[:, 2]
        array([-1.,  1.])
    """
    centered = points - points.mean(0, keepdims=True)
    radius = np.linalg.norm(centered, axis=-1).max()
    return centered / (radius if radius > 0 else 1)


def _as_cloud(cloud: Any, width: int) -> np.ndarray:
    array = np.asarray(cloud)
    if (
        array.ndim != 2
        or array.shape[1] != width
        or not len(array)
        or array.dtype.kind not in "fiu"
    ):
        names = "points and normals" if width == 6 else "points"
        raise ValueError(f"a cloud must be numbers (p, {width}), {names}, got {array.shape}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a cloud must be finite, got NaN or Inf")
    return array
