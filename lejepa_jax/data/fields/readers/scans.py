"""DICOM: a slice a file, of which the slices in one folder are a volume."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.fields.readers.contents import FileContents, check_size
from lejepa_jax.data.fields.reading import FieldRequest

#: How names of slices end.
SLICES = (".dcm", ".dicom")


def one_of_each_series(paths: Sequence[str], num_axes: int) -> list[int]:
    """Choose one slice of each folder, where volumes are asked for; all other files stay.

    Args:
        paths: Files.
        num_axes: 3 for volumes.

    Returns:
        Positions of the files that stand for a field.

    Examples:
        >>> one_of_each_series(["a/1.dcm", "a/2.dcm", "b/1.dcm", "c.nii"], 3)
        [0, 2, 3]
    """
    chosen, known = [], set()
    for i, path in enumerate(paths):
        folder = Path(path).parent
        if num_axes == 3 and Path(path).suffix.lower() in SLICES:
            if folder in known:
                continue
            known.add(folder)
        chosen.append(i)
    return chosen


def read_dicom(path: Path, request: FieldRequest) -> FileContents:
    """Read a slice as a plane; or as a volume all slices of its folder, or all frames of the file.

    Slices are put in order along the normal of their planes, and must be equally far apart.
    Integers stay integers where the rescale slope is 1.

    Args:
        path: The file.
        request: What was asked for.

    Returns:
        Values (z y x c) or (y x c), and the distance of two of them in millimeters.

    Raises:
        Exception: Of any kind, on damaged files.
    """
    with needs_extra("dicom"):
        import pydicom  # pyright: ignore[reportMissingImports]

    head: Any = pydicom.dcmread(path, stop_before_pixels=True)
    frames = int(head.get("NumberOfFrames", 1))
    plane = int(head.Rows) * int(head.Columns) * int(head.get("SamplesPerPixel", 1)) * 4
    inside = _two(head.get("PixelSpacing"))
    if request.num_axes == 2:
        check_size(plane * frames, request)
        return FileContents(request.with_channels(_values(pydicom.dcmread(path))), inside)
    if frames > 1:
        check_size(plane * frames, request)
        step = head.get("SpacingBetweenSlices")
        spacing = (float(step), *inside) if step and inside else None
        return FileContents(request.with_channels(_values(pydicom.dcmread(path))), spacing)
    files = sorted(p for p in path.parent.iterdir() if p.suffix.lower() in SLICES)
    check_size(plane * len(files), request)
    slices: list[Any] = [pydicom.dcmread(file) for file in files]
    if len({str(one.get("SeriesInstanceUID")) for one in slices}) > 1:
        raise ValueError(f"the folder {path.parent.name!r} holds slices of several series")
    places = _places(slices)
    order = np.argsort(places, kind="stable")
    steps = np.diff(places[order])
    if len(steps) and (steps.min() <= 0 or np.ptp(steps) > 0.01 * steps.mean()):
        raise ValueError(
            f"its slices are {steps.min():g} to {steps.max():g} mm apart: one is missing or twice "
            "there"
        )
    values = np.stack([_values(slices[i]) for i in order])
    step = float(steps.mean()) if len(steps) else None
    spacing = None if step is None or inside is None else (step, *inside)
    return FileContents(request.with_channels(values), spacing)


def _places(slices: Sequence[Any]) -> np.ndarray:
    """Place of each slice along the normal of the first one."""
    across = np.asarray(slices[0].ImageOrientationPatient, np.float64)
    normal = np.cross(across[:3], across[3:])
    return np.array([np.asarray(one.ImagePositionPatient, np.float64) @ normal for one in slices])


def _values(one: Any) -> np.ndarray:
    if one.get("PhotometricInterpretation") == "MONOCHROME1":
        raise ValueError("its gray scale is inverted (MONOCHROME1), which is not supported")
    values = np.asarray(one.pixel_array)
    slope, intercept = float(one.get("RescaleSlope", 1)), float(one.get("RescaleIntercept", 0))
    if (slope, intercept) == (1.0, 0.0):
        return values
    if slope == 1 and intercept == int(intercept) and values.dtype.kind in "iu":
        moved = values.astype(np.int64) + int(intercept)
        # One type for all slices, whatever lies in each.
        return moved.astype(np.int32)
    return (values * slope + intercept).astype(np.float32)


def _two(value: Any) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))
