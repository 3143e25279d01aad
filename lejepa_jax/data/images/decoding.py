"""One image: decoded by Pillow, within limits, turned upright, converted and squashed."""

import contextlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.images.levels import (
    DataRange,
    Scale,
    ValueType,
    check_contents,
    read_values,
    tiff_problem,
)

if TYPE_CHECKING:
    from PIL import Image as PilImage

# Pillow opens many more, PostScript among them, which it hands to another program.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
    *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
# A quarter of a gigabyte decoded. Below the size at which Pillow itself begins to warn.
_MAX_PIXELS = 2**26
_BLOCK = 2**26
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_EIGHT_BITS = ValueType("8-bit", 0, 255)

ImageFile = str | io.BytesIO | np.ndarray
"""A path, a file in memory, or decoded pixels."""

Hold = Callable[[int], contextlib.AbstractContextManager[None]]
"""Waits until so many bytes may be used for decoding, and holds them."""


def _unbounded(_: int) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def read_image(
    file: ImageFile,
    size: int,
    channels: int,
    *,
    scale: Scale | None = None,
    hold: Hold = _unbounded,
) -> tuple[UInt8[np.ndarray, "s s c"], float]:
    """Decode an image and squash it to a square.

    Transparency is laid over white, EXIF orientation is applied. Values of more than 8 bits are
    scaled, resized in floating point and rounded.

    Args:
        file: What to decode.
        size: Height and width to give out, in pixels.
        channels: 1 (gray) or 3 (RGB).
        scale: Which values become 0 and 255; by default the range of the file's type.
        hold: Called with an estimate of the bytes that decoding takes.

    Returns:
        The image, and its original width over height.

    Raises:
        Exception: Of any kind, on damaged files; `ValueError` for what is refused.
    """
    scale = Scale(DataRange("type")) if scale is None else scale
    with _open(file) as image:
        tiles = _tiles(image)
        # A JPEG can be decoded at a half, quarter or eighth; twice the size is left to the resize.
        width, height = image.size
        image.draft("L" if channels == 1 else image.mode, (2 * size, 2 * size))
        with hold(_bytes_to_decode(image, tiles, (width, height), channels)):
            orientation = _orientation(image)
            if orientation >= 5:
                width, height = height, width
            deep = read_values(file, image, tiles)
            if deep is None:
                pixels = _read_eight_bits(image, size, channels, orientation)
                if not scale.plain:
                    pixels = np.round(scale.apply(pixels, _EIGHT_BITS)).astype(np.uint8)
            else:
                values = _turn_upright(_over_white(*deep, scale), orientation)
                pixels = _squash(values, size, channels)
    return pixels, width / height


def read_sample(file: ImageFile, channels: int, num_values: int) -> tuple[np.ndarray, ValueType]:
    """Read values of an image, evenly spread over it, as they are in the file.

    Args:
        file: What to decode.
        channels: 1 (gray) or 3 (RGB).
        num_values: How many pixels to take at most, in about that number.

    Returns:
        The values and their type.
    """
    with _open(file) as image:
        deep = read_values(file, image, _tiles(image))
        if deep is None:
            deep = np.asarray(_convert(image, "L" if channels == 1 else "RGB")), _EIGHT_BITS
    values, kind = deep
    values = values[..., :3] if values.ndim == 3 else values[..., None]
    step = max(1, int(np.sqrt(values.shape[0] * values.shape[1] / num_values)))
    return values[::step, ::step].ravel(), kind


def is_gray(file: str) -> bool | None:
    """Say whether an image file is gray, from its header alone.

    Args:
        file: The path.

    Returns:
        False for a file with colors, even if all of them are gray ones; None if it cannot be read.
    """
    try:
        with _open(file) as image:
            if image.mode == "P":
                palette = np.array(image.getpalette() or [0, 1, 2]).reshape(-1, 3)
                return bool((palette == palette[:, :1]).all())
            # Gray with alpha in 16 bits is RGBA to Pillow.
            stored = [str(tile.args) for tile in _tiles(image)]
            return image.mode != "LAB" and (image.mode[0] in "1LIF" or "LA;16B" in stored)
    except Exception:  # a damaged file may raise anything; decoding it will say what is wrong
        return None


def shorter_side(file: ImageFile) -> int | None:
    """Read the shorter side of an image in pixels, from its header alone.

    Args:
        file: What would be decoded.

    Returns:
        The side; None if it cannot be read.
    """
    try:
        with _open(file) as image:
            return min(image.size)
    except Exception:  # as in `is_gray`
        return None


def return_memory_at_once() -> None:
    """Have Pillow allocate in blocks that go back to the system when an image is dropped.

    With its blocks of 16 MiB, the C library keeps a share of what large images took for every
    thread that ever decoded one: gigabytes. Blocks above 32 MiB are always mapped and unmapped.
    """
    with needs_extra("train"):
        from PIL import Image

    Image.core.set_block_size(max(Image.core.get_block_size(), _BLOCK))


def _open(file: ImageFile) -> "PilImage.Image":
    """Open a file of a known format that is not too large and holds one image."""
    with needs_extra("train"):
        from PIL import Image, UnidentifiedImageError

    if isinstance(file, np.ndarray):
        return Image.fromarray(file[..., 0] if file.shape[-1] == 1 else file)
    try:
        image = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        raise ValueError(_why_unidentified(file)) from None
    width, height = image.size
    try:
        if width * height > _MAX_PIXELS:
            raise ValueError(
                f"{width} x {height} pixels: more than {_MAX_PIXELS} may be a decompression bomb"
            )
        check_contents(image)
    except BaseException:
        image.close()
        raise
    return image


def _why_unidentified(file: str | io.BytesIO) -> str:
    """A TIFF that Pillow does not know says what it holds; anything else is no image."""
    with contextlib.suppress(Exception), contextlib.ExitStack() as stack:
        opened = stack.enter_context(open(file, "rb")) if isinstance(file, str) else file
        opened.seek(0)
        if opened.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return tiff_problem(opened) or "it is a TIFF of a kind that is not read: save it as PNG"
    return f"not an image: it is none of {', '.join(_FORMATS)}"


def _orientation(image: "PilImage.Image") -> int:
    """How the camera was held: the EXIF orientation, from 1 (upright) to 8."""
    if image.format == "TIFF":
        return 1  # Pillow itself turns them, sides included
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # a damaged tag block says nothing about the pixels
        return 1
    return orientation if orientation in range(2, 9) else 1


def _tiles(image: "PilImage.Image") -> tuple[Any, ...]:
    """How the pixels are stored; Pillow forgets it when it decodes them."""
    return tuple(getattr(image, "tile", ()))


def _bytes_to_decode(
    image: "PilImage.Image", tiles: tuple[Any, ...], full: tuple[int, int], channels: int
) -> int:
    """About how much memory decoding takes at its height, copies of the conversion included."""
    width, height = image.size
    if image.mode[0] in "IF":
        return width * height * 24
    copies = 4 if image.has_transparency_data else 3
    each = 1 if channels == 1 and image.mode in ("1", "L") else 4  # Pillow pads RGB to 4 bytes
    coefficients = 6 * full[0] * full[1] if image.info.get("progressive") else 0
    deep = 24 if any(";16" in str(tile.args) for tile in tiles) else 0
    return width * height * (copies * each + deep) + coefficients


def _read_eight_bits(
    image: "PilImage.Image", size: int, channels: int, orientation: int
) -> UInt8[np.ndarray, "s s c"]:
    from PIL import Image, ImageOps

    if orientation > 1:
        ImageOps.exif_transpose(image, in_place=True)
    converted = _convert(image, "L" if channels == 1 else "RGB")
    if converted.size != (size, size):
        converted = converted.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(converted).reshape(size, size, channels)


def _convert(image: "PilImage.Image", mode: Literal["L", "RGB"]) -> "PilImage.Image":
    from PIL import Image

    if image.has_transparency_data:
        # Whatever colors lie under transparent pixels were never meant to be seen.
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    return image.convert(mode)


def _over_white(values: np.ndarray, kind: ValueType, scale: Scale) -> Float32[np.ndarray, "h w c"]:
    """Scale values to 0 to 255; alpha, the fourth of four, says how much white shines through."""
    scaled = scale.apply(values[..., :3] if values.ndim == 3 else values[..., None], kind)
    if values.ndim == 3 and values.shape[-1] == 4:
        alpha = values[..., 3:] / np.float32(65535)
        scaled = scaled * alpha + 255 * (1 - alpha)
    return scaled


def _turn_upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the EXIF orientation of [row, column, channel]."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    # Where the rows and columns of the stored image begin, by the standard's eight cases.
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return values[::down, ::across]


def _squash(values: np.ndarray, size: int, channels: int) -> UInt8[np.ndarray, "s s c"]:
    from PIL import Image

    if channels == 1 and values.shape[-1] == 3:
        values = (values @ _LUMA)[..., None]
    if values.shape[:2] != (size, size):
        bicubic = Image.Resampling.BICUBIC
        planes = [
            Image.fromarray(np.ascontiguousarray(plane)).resize((size, size), bicubic)
            for plane in np.moveaxis(values, -1, 0)
        ]
        values = np.stack([np.asarray(plane) for plane in planes], -1)
    values = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return np.broadcast_to(values, (size, size, channels))
