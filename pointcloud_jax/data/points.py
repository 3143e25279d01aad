"""Which points of a cloud are kept, and where the cloud is put."""

import numpy as np
from jaxtyping import Bool, Int64

from lejepa_jax.data.records import BadRecord, Ledger


def choose_points(
    total: int,
    num_points: int,
    seed: int,
    *,
    exists: Bool[np.ndarray, " n"] | None = None,
) -> Int64[np.ndarray, " k"]:
    """Choose points of one cloud at random, the same on every call and machine.

    The first points of a file are often one side of the cloud: scanners write line by line.

    Args:
        total: Points of the cloud.
        num_points: How many to keep.
        seed: What distinguishes this cloud from others, such as its index.
        exists: True for points that exist; others are chosen only where there are too few.

    Returns:
        Indices in ascending order, all of them where there are no more than `num_points`.

    Examples:
        >>> choose_points(3, 5, 0), choose_points(100, 4, 0).shape
        (array([0, 1, 2]), (4,))
    """
    if total <= num_points:
        return np.arange(total)
    # Raw bits, because numpy promises those, and not its permutations, to stay the same.
    order = np.random.PCG64(seed).random_raw(total) >> np.uint64(1)
    if exists is not None:
        order = order + np.where(exists, np.uint64(0), np.uint64(2**63))
    return np.sort(np.argpartition(order, num_points)[:num_points])


def to_unit_radius(
    arrays: dict[str, np.ndarray], split: str, ledger: Ledger
) -> dict[str, np.ndarray]:
    """Move every cloud to its centroid, scale it to radius 1, and drop those that are not finite.

    Args:
        arrays: As in `CloudSets.splits`.
        split: Name of the split, for the names of bad records.
        ledger: Where clouds are entered that are not finite or have no points.

    Returns:
        The arrays, floating ones in float32.

    Raises:
        ValueError: If there are now more bad records than the ledger allows.

    Examples:
        >>> ledger = Ledger("two points", 0)
        >>> points = np.array([[[0.0, 0.0, 1.0], [0.0, 0.0, 5.0]]])
        >>> to_unit_radius({"points": points}, "train", ledger)["points"][0, :, 2]
        array([-1.,  1.], dtype=float32)
    """
    points = arrays["points"]
    exists = arrays.get("exists", np.ones(points.shape[:2], bool))
    if points.dtype == np.float64 or points.dtype.kind in "iu":
        # Coordinates on a map are millions of meters; float32 would round them to decimeters.
        points = np.where(exists[..., None], points.astype(np.float64), 0)
        count = np.maximum(exists.sum(1), 1)[:, None, None]
        points = points - points.sum(1, keepdims=True) / count
    points = np.where(exists[..., None], points.astype(np.float32), 0)
    fine = np.isfinite(points).all((1, 2)) & exists.any(1)
    if "normals" in arrays:
        normals = np.where(exists[..., None], arrays["normals"].astype(np.float32), 0)
        fine &= np.isfinite(normals).all((1, 2))
        length = np.linalg.norm(normals, axis=-1, keepdims=True)
        arrays = {**arrays, "normals": normals / np.where(length > 0, length, 1)}
    bad = np.flatnonzero(~fine).tolist()
    ledger.add(BadRecord(f"{split}[{index}]", "not finite, or no points") for index in bad)
    arrays = {key: array[fine] for key, array in {**arrays, "points": points}.items()}
    points, exists = arrays["points"], exists[fine]
    count = exists.sum(1, dtype=np.float32)[:, None, None]
    points = np.where(exists[..., None], points - points.sum(1, keepdims=True) / count, 0)
    radius = np.linalg.norm(points, axis=-1).max(1)[:, None, None]
    return {**arrays, "points": points / np.where(radius > 0, radius, 1)}
