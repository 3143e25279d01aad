"""One image: decoded by Pillow, within limits, turned upright, converted and squashed."""

import io
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import UInt8

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


def read_image(
    file: str | io.BytesIO | np.ndarray, size: int, channels: int
) -> tuple[UInt8[np.ndarray, "s s c"], float]:
    """Decode an image, squash it to (size, size); return it and its original width over height."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(file, np.ndarray):
        pixels = file[..., 0] if file.shape[-1] == 1 else file
        image = Image.fromarray(pixels)
    else:
        try:
            image = Image.open(file, formats=_FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"not an image: it is none of {', '.join(_FORMATS)}") from None
    with image:
        width, height = image.size
        if width * height > _MAX_PIXELS:
            raise ValueError(
                f"{width} x {height} pixels: more than {_MAX_PIXELS} may be a decompression bomb"
            )
        try:
            orientation = image.getexif().get(0x0112, 1)
        except Exception:  # a damaged tag block says nothing about the pixels
            orientation = 1
        # A JPEG can be decoded at a half, quarter or eighth; twice the size is left to the resize.
        image.draft("L" if channels == 1 else image.mode, (2 * size, 2 * size))
        if orientation in range(2, 9):
            ImageOps.exif_transpose(image, in_place=True)
            width, height = (height, width) if orientation >= 5 else (width, height)
        converted = _convert(image, "L" if channels == 1 else "RGB")
        if converted.size != (size, size):
            bicubic = Image.Resampling.BICUBIC
            converted = converted.resize((size, size), bicubic, reducing_gap=2.0)
        return np.asarray(converted).reshape(size, size, channels), width / height


def _convert(image: "PilImage.Image", mode: Literal["L", "RGB"]) -> "PilImage.Image":
    from PIL import Image

    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range: convert them to 8 bits")
    if image.mode.startswith("I"):
        # Pillow clips 16 bits at 255, which turns a microscope image white.
        levels = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255)
        image = Image.fromarray(levels.astype(np.uint8))
    if image.has_transparency_data:
        # Whatever colors lie under transparent pixels were never meant to be seen.
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    return image.convert(mode)
