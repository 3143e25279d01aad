"""One file of each format: its values as they are stored, and the spacing that it states."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.fields.readers.contents import FileContents, check_size, require_axes
from lejepa_jax.data.fields.readers.scans import read_dicom
from lejepa_jax.data.fields.readers.sky import read_fits
from lejepa_jax.data.fields.reading import FieldRequest


def read_sound(path: Path, request: FieldRequest) -> FileContents:
    """Read WAV, FLAC or Ogg: integers of up to 32 bits stay integers.

    Args:
        path: The file.
        request: What was asked for.

    Returns:
        Samples (t c), and the time between two of them in seconds.

    Raises:
        Exception: Of any kind, on damaged files.
    """
    with needs_extra("sound"):
        import soundfile  # pyright: ignore[reportMissingImports]

    require_axes(request, 1, "a sound")
    with soundfile.SoundFile(path) as file:
        kind: Any = {"PCM_S8": "int16", "PCM_U8": "int16", "PCM_16": "int16"}.get(file.subtype)
        kind = kind or ("int32" if file.subtype in ("PCM_24", "PCM_32") else "float32")
        check_size(file.frames * file.channels * np.dtype(kind).itemsize, request)
        values = file.read(dtype=kind, always_2d=True)
        if len(values) != file.frames:
            raise ValueError(f"it holds {len(values)} of the {file.frames} samples it states")
        return FileContents(values, (1 / file.samplerate,))


def read_tiff(path: Path, request: FieldRequest) -> FileContents:
    """Read TIFF of any bands and pages, of 8 to 32 bits or floating point.

    For planes, bands and pages are channels; for volumes, pages are the depth.

    Args:
        path: The file.
        request: What was asked for.

    Returns:
        Values; uncompressed ones are memory-mapped.

    Raises:
        Exception: Of any kind, on damaged files.
    """
    with needs_extra("tiff"):
        import tifffile  # pyright: ignore[reportMissingImports]

    with tifffile.TiffFile(path) as file:
        if len(file.series) != 1:
            raise ValueError(f"it holds {len(file.series)} images of different shapes, not one")
        series = file.series[0]
        check_size(int(np.prod(series.shape)) * series.dtype.itemsize, request)
        mapped = series.dataoffset is not None
        values = tifffile.memmap(path, mode="r") if mapped else series.asarray()
        return FileContents(arrange_axes(values, series.axes, request.num_axes))


def arrange_axes(values: np.ndarray, axes: str, num_axes: int) -> np.ndarray:
    """Bring the named axes of a TIFF into the order of a field, channels last.

    Args:
        values: What was read.
        axes: One letter an axis: Y and X, S or C for bands, Z for depth, others for pages.
        num_axes: 2 or 3.

    Returns:
        Values (*space c).

    Raises:
        ValueError: If there are more axes than that.

    Examples:
        >>> arrange_axes(np.zeros((5, 8, 9)), "CYX", 2).shape
        (8, 9, 5)
        >>> arrange_axes(np.zeros((5, 8, 9, 2)), "QYXS", 3).shape
        (5, 8, 9, 2)
    """
    if num_axes == 1 or not {"Y", "X"} <= set(axes):
        raise ValueError(f"a TIFF of axes {axes} has no field of {num_axes} axes")
    places = {letter: i for i, letter in enumerate(axes)}
    space = [places.pop("Y"), places.pop("X")]
    bands = [places.pop(letter) for letter in "SC" if letter in places]
    pages = [i for i in places.values() if values.shape[i] > 1]
    if num_axes == 3:
        if len(pages) > 1:
            raise ValueError(f"a volume has one axis of pages, got axes {axes}")
        space = pages + space
        pages = []
    order = space + pages + bands
    single = [i for i in range(values.ndim) if i not in order]
    moved = np.transpose(values, order + single)
    moved = moved.reshape(*moved.shape[: len(order)])
    if num_axes == 3 and len(space) == 2:
        moved = moved[None]
    return moved.reshape(*moved.shape[:num_axes], -1)


def read_nifti(path: Path, request: FieldRequest) -> FileContents:
    """Read NIfTI: integers stay integers where the header scales nothing.

    Args:
        path: The file, `.nii` or `.nii.gz`.
        request: What was asked for.

    Returns:
        Values (z y x c), a fourth axis being channels, and the size of a voxel in the file's unit.

    Raises:
        Exception: Of any kind, on damaged files.
    """
    with needs_extra("nifti"):
        import nibabel  # pyright: ignore[reportMissingImports]

    image: Any = nibabel.load(path)
    shape, rank = image.shape, request.num_axes
    while len(shape) > rank and shape[-1] == 1:
        shape = shape[:-1]
    check_size(int(np.prod(shape)) * 8, request)
    values = np.asarray(image.dataobj).reshape(shape)
    if values.dtype == np.float64:
        # What scales integers is computed in float64; no file of 16 bits holds more than float32.
        values = values.astype(np.float32)
    if values.ndim not in (rank, rank + 1):
        raise ValueError(f"it must have {rank} axes, or one more for channels, got {shape}")
    back = tuple(reversed(range(rank)))
    values = values.transpose(*back, *range(rank, values.ndim))
    zooms = tuple(float(x) for x in image.header.get_zooms()[:rank])[::-1]
    good = all(np.isfinite(x) and x > 0 for x in zooms)
    return FileContents(request.with_channels(values), zooms if good else None)


def read_array(path: Path, request: FieldRequest) -> FileContents:
    """Read `.npy`, memory-mapped.

    Args:
        path: The file.
        request: What was asked for.

    Returns:
        The array.

    Raises:
        Exception: Of any kind, on damaged files.
    """
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    return FileContents(request.with_channels(values))


def read_picture(path: Path, request: FieldRequest) -> FileContents:
    """Read PNG of 8 bits, or of 16 bits and one channel.

    Args:
        path: The file.
        request: What was asked for.

    Returns:
        Values (h w c).

    Raises:
        Exception: Of any kind, on damaged files.
    """
    with needs_extra("train"):
        from PIL import Image

    require_axes(request, 2, "a picture")
    with Image.open(path, formats=("PNG",)) as image:
        check_size(image.width * image.height * 8, request)
        if image.mode != "I;16" and any("16" in str(tile.args) for tile in image.tile):
            raise ValueError("it has colors of 16 bits, which would be narrowed: save it as TIFF")
        if image.mode in ("P", "1"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        return FileContents(request.with_channels(np.asarray(image)))


#: Readers of one file by how its name ends.
FORMATS: Mapping[str, Callable[[Path, FieldRequest], FileContents]] = MappingProxyType(
    {
        ".wav": read_sound,
        ".flac": read_sound,
        ".ogg": read_sound,
        ".tif": read_tiff,
        ".tiff": read_tiff,
        ".nii": read_nifti,
        ".gz": read_nifti,
        ".npy": read_array,
        ".png": read_picture,
        ".dcm": read_dicom,
        ".dicom": read_dicom,
        ".fits": read_fits,
        ".fit": read_fits,
    }
)


def read_file(path: Path, request: FieldRequest) -> FileContents:
    """Read a file by how its name ends.

    Args:
        path: The file.
        request: What was asked for.

    Returns:
        What it holds.

    Raises:
        Exception: Of any kind, on damaged files.
    """
    with quiet_libraries():
        return FORMATS[path.suffix.lower()](path, request)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep libraries from printing about every damaged file: it is a bad record."""
    import logging

    loggers = [logging.getLogger(name) for name in ("tifffile", "nibabel.global", "pydicom")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
