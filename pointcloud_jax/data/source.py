"""Clouds that are held in memory, by index."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Int64

from lejepa_jax.data.records import BadRecord
from lejepa_jax.data.source import Batch, Origin, Source


class CloudSource(Source):
    """Random access to clouds that are held in memory.

    ``source[i]`` has ``points`` (n 3), ``label``, ``index``, and where the data has them
    ``normals`` (n 3), ``part`` (n, -1 where unknown) and ``exists`` (n).

    Args:
        points: The clouds.
        labels: Class of each, -1 where unknown.
        class_names: One name a class.
        normals: Unit normals.
        part: Part of each point, numbered over all classes.
        exists: True for points that exist; by default all do.
        part_names: One name a part.
        part_class: The class that each part belongs to.
        bad_records: Clouds that were left out, and why.
        version: What identifies the data, by which a resumed run finds that they have changed.

    Raises:
        ValueError: If there are no clouds, or shapes, labels, parts and names do not fit together.

    Examples:
        >>> source = CloudSource(np.zeros((2, 5, 3), np.float32), np.array([1, 0]), ("box", "cone"))
        >>> len(source), source.num_points, sorted(source[0])
        (2, 5, ['index', 'label', 'points'])
    """

    labels: Int32[np.ndarray, " n"]
    origin: Origin
    records: Int64[np.ndarray, " n"]

    def __init__(
        self,
        points: Float[np.ndarray, "n p 3"],
        labels: Int[np.ndarray, " n"],
        class_names: Sequence[str],
        *,
        normals: Float[np.ndarray, "n p 3"] | None = None,
        part: Int[np.ndarray, "n p"] | None = None,
        exists: Bool[np.ndarray, "n p"] | None = None,
        part_names: Sequence[str] = (),
        part_class: Int[np.ndarray, " q"] | None = None,
        bad_records: Sequence[BadRecord] = (),
        version: str = "",
    ):
        if points.ndim != 3 or points.shape[-1] != 3 or not points.size:
            raise ValueError(f"points must be (clouds, points, 3), none empty, got {points.shape}")
        for name, array, shape in (
            ("labels", labels, points.shape[:1]),
            ("normals", normals, points.shape),
            ("part", part, points.shape[:2]),
            ("exists", exists, points.shape[:2]),
        ):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
        _check_range("labels", labels, len(class_names))
        if part is not None:
            _check_range("part", part, len(part_names))
        if len(part_names) and (part_class is None or part_class.shape != (len(part_names),)):
            raise ValueError(f"part_class must give the class of each of {len(part_names)} parts")
        arrays = {"points": points.astype(np.float32), "label": labels.astype(np.int32)}
        if normals is not None:
            arrays["normals"] = normals.astype(np.float32)
        if part is not None:
            arrays["part"] = part.astype(np.int32)
        if exists is not None:
            arrays["exists"] = exists
        self._arrays = arrays
        self.labels = arrays["label"]
        self.class_names, self.part_names = tuple(class_names), tuple(part_names)
        self.part_class = None if part_class is None else part_class.astype(np.int32)
        self._bad_records = tuple(bad_records)
        self.records = np.arange(len(self.labels))
        self.origin = Origin(lambda i: f"cloud {i}", version=version)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_points(self) -> int:
        """Points of each cloud."""
        return self._arrays["points"].shape[1]

    @property
    def has_normals(self) -> bool:
        """Whether the clouds have normals."""
        return "normals" in self._arrays

    @property
    def has_parts(self) -> bool:
        """Whether it is known to which part a point belongs."""
        return "part" in self._arrays

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        """Clouds that were left out, in all splits of the load."""
        return self._bad_records

    def gather(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """Return the clouds at `indices`, stacked."""
        batch = {name: array[indices] for name, array in self._arrays.items()}
        return {**batch, "index": indices.astype(np.int32)}

    def subset(self, indices: Int[np.ndarray, " b"]) -> "CloudSource":
        """Return a source of only the clouds at `indices`, in that order."""
        arrays = {name: array[indices] for name, array in self._arrays.items()}
        kept = CloudSource(
            arrays.pop("points"),
            arrays.pop("label"),
            self.class_names,
            **arrays,
            part_names=self.part_names,
            part_class=self.part_class,
            bad_records=self._bad_records,
        )
        kept.origin, kept.records = self.origin, self.records[indices]
        return kept


def join(first: CloudSource, second: CloudSource) -> CloudSource:
    """Make one source of two with the same classes, parts and number of points.

    Args:
        first: The first clouds.
        second: Those after them.

    Returns:
        The source.

    Examples:
        >>> source = CloudSource(np.zeros((2, 5, 3), np.float32), np.array([1, 0]), ("box", "cone"))
        >>> len(join(source, source))
        4
    """
    every = np.arange(len(first)), np.arange(len(second))
    rows = first.gather(every[0]), second.gather(every[1])
    arrays = {key: np.concatenate([row[key] for row in rows]) for key in rows[0] if key != "index"}
    return CloudSource(
        arrays.pop("points"),
        arrays.pop("label"),
        first.class_names,
        **arrays,
        part_names=first.part_names,
        part_class=first.part_class,
        bad_records=first.bad_records,
        version=first.origin.version,
    )


def _check_range(name: str, numbers: np.ndarray, end: int) -> None:
    if numbers.size and not -1 <= numbers.min() <= numbers.max() < max(end, 1):
        raise ValueError(f"{name} must lie in [-1, {end}), got {numbers.min()} to {numbers.max()}")
