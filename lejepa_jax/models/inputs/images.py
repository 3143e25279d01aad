"""Images that people give to a model, as a source of examples of one shape."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.images.arrays import from_arrays
from lejepa_jax.data.images.decoding import ImageFile
from lejepa_jax.data.images.encoded import ByteBudget, Decoding, Encoded, EncodedImages
from lejepa_jax.data.images.levels import Scale, parse_data_range
from lejepa_jax.data.reading import DataOptions
from lejepa_jax.data.records import Ledger
from lejepa_jax.data.source import Origin, Source
from lejepa_jax.models.preprocessing import ImagePreprocessing

# Modes of images that a PNG holds as they are.
_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


def images_source(inputs: Any, preprocessing: ImagePreprocessing) -> Source:
    """Make a source of one image, or of several of any sizes.

    Args:
        inputs: See `Model.__call__`.
        preprocessing: Of the model.

    Returns:
        A source of uint8 images of `image_size`.

    Raises:
        ValueError: If something is no image, or has other channels than the model.
    """
    size, channels = preprocessing.image_size, preprocessing.channels
    if isinstance(inputs, list | tuple):
        items = list(inputs)
    else:
        array = _as_array(inputs)
        if array is not None and _is_batch(array, channels):
            return from_arrays(as_uint8(array, channels, axes=4), image_size=size)
        items = [inputs]
    if not items:
        raise ValueError("images must hold at least one image, got none")
    files, names = zip(*(_as_file(item, channels, i) for i, item in enumerate(items)), strict=True)
    return image_files_source(files, names, preprocessing)


def image_files_source(
    files: Sequence[ImageFile],
    names: Sequence[str],
    preprocessing: ImagePreprocessing,
    *,
    max_bad_records: int = 0,
) -> EncodedImages:
    """Make a source of files that are decoded when they are asked for, in threads.

    Args:
        files: Paths, files in memory or pixels.
        names: What each is called in messages.
        preprocessing: Of the model.
        max_bad_records: How many may be unreadable.

    Returns:
        The source, without labels.
    """
    options = DataOptions()
    threads = min(16, 2 * (os.cpu_count() or 1))
    scale = Scale(parse_data_range(preprocessing.data_range))
    ledger = Ledger("images", max_bad_records, "images")
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def fetch(records: list[int]) -> list[Encoded]:
        return [(files[i], -1) for i in records]

    return EncodedImages(
        fetch,
        Origin(names.__getitem__),
        np.arange(len(files)),
        labels=None,
        image_size=preprocessing.image_size,
        channels=preprocessing.channels,
        class_names=(),
        decoding=Decoding(ledger, scale, ByteBudget(options.decode_limit), threads, pool),
    )


def as_uint8(array: np.ndarray, channels: int, *, axes: int) -> np.ndarray:
    """Bring an image or a batch of them to uint8, with the channels last.

    Args:
        array: With or without an axis of channels; uint8, or of floating point in [0, 1].
        channels: Channels of the model.
        axes: Axes that the result is to have.

    Returns:
        The array.

    Raises:
        ValueError: For other types, values or channels.

    Examples:
        >>> as_uint8(np.ones((4, 4)), 1, axes=3).max()
        np.uint8(255)
    """
    if array.ndim == axes - 1:
        array = array[..., None]
    if array.ndim != axes or array.shape[-1] != channels or 0 in array.shape:
        what = "gray: (h, w), (h, w, 1), (n, h, w) or (n, h, w, 1)"
        if channels == 3:
            what = "RGB: (h, w, 3) or (n, h, w, 3)"
        raise ValueError(f"images must be {what}, got an array of shape {array.shape}")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise ValueError(f"images must be uint8, or of floating point in [0, 1], got {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"images of floating point must lie in [0, 1], got values from {low:g} to {high:g}"
        )
    return np.round(array.astype(np.float32) * 255).astype(np.uint8)


def _as_array(value: Any) -> np.ndarray | None:
    """Arrays of NumPy, JAX and others; None for paths and PIL images: they are more than pixels."""
    if isinstance(value, str | os.PathLike | bytes) or _is_pil(value):
        return None
    array = np.asarray(value)
    return None if array.dtype == object else array


def _is_pil(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "PIL" or any(
        base.__module__ == "PIL.Image" for base in type(value).__mro__
    )


def _is_batch(array: np.ndarray, channels: int) -> bool:
    """Whether an array holds several images. (n, h, w) does if the last axis is no channels."""
    return array.ndim == 4 or (array.ndim == 3 and channels == 1 and array.shape[-1] != 1)


def _as_file(item: Any, channels: int, index: int) -> tuple[ImageFile, str]:
    if isinstance(item, str | os.PathLike):
        path = Path(item).expanduser()
        if not path.is_file():  # reading a pipe might never end
            raise ValueError(f"image {str(item)!r} is not a file")
        return str(path), repr(str(path))
    if _is_pil(item):
        return _encode(item), f"image {index}"
    array = None if isinstance(item, bytes) else _as_array(item)
    if array is None:
        raise ValueError(
            "images must be arrays, PIL images or paths, or a list of them, got "
            f"{type(item).__name__}"
        )
    return as_uint8(array, channels, axes=3), f"image {index}"


def _encode(image: Any) -> io.BytesIO:
    """A file in memory that holds a PIL image upright and without loss: files are read one way."""
    with needs_extra("train"):
        from PIL import ImageOps

    buffer = io.BytesIO()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _PNG_MODES:
        upright.save(buffer, "PNG", compress_level=1)
    else:
        upright.save(buffer, "TIFF")
    buffer.seek(0)
    return buffer
