"""Images of more than 8 bits: what a file holds, and which of its values become 0 to 255."""

import dataclasses
import re
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lejepa_jax.checks import check_choice

if TYPE_CHECKING:
    from PIL import Image as PilImage

#: Of the values of an image to train on, those outside these percentiles are clipped.
PERCENTILES = (0.1, 99.9)

# Numbers of TIFF tags.
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _DESCRIPTION = 254, 256, 257, 258, 262, 270
_SAMPLES, _PLANAR, _EXTRA, _FORMAT = 277, 284, 338, 339
_COLORS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # samples of a pixel by photometric kind
_MAX_PAGES = 1000


class ValueType(NamedTuple):
    """The type of the values in a file; integers have a range, floating-point numbers none."""

    name: str
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True)
class DataRange:
    """Which values of image files become 0 and 255; others are clipped.

    Attributes:
        kind: "type", the whole range of the type of each file; "numbers"; or "percentiles", of the
            images to train on.
        low: The value that becomes 0, of "numbers".
        high: The value that becomes 255, likewise.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0


def parse_data_range(text: str) -> DataRange:
    """Read ``type``, ``percentiles`` or ``LOW,HIGH``.

    Args:
        text: What was given.

    Returns:
        The range.

    Raises:
        ValueError: If it is none of these.

    Examples:
        >>> parse_data_range("0,4095")
        DataRange(kind='numbers', low=0.0, high=4095.0)
    """
    if "," not in text:
        check_choice("data_range", text, ("type", "percentiles", "LOW,HIGH"))
        if text != "LOW,HIGH":
            return DataRange(text)
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 0.0, np.nan
    if not -np.inf < low < high < np.inf:
        raise ValueError(
            f"data_range must be type, percentiles or two numbers LOW,HIGH, ascending, got {text!r}"
        )
    return DataRange("numbers", low, high)


class Scale:
    """Turns the values of image files into numbers from 0 to 255.

    It also keeps what was seen of the values of images of more than 8 bits, so that a set which
    uses little of the range of its type is not reduced to a few gray levels in silence.

    Args:
        data_range: Which values become 0 and 255.
    """

    def __init__(self, data_range: DataRange):
        self._range, self._lock = data_range, threading.Lock()
        self._type: ValueType | None = None
        self._seen = (np.inf, -np.inf)

    @property
    def plain(self) -> bool:
        """Whether 8 bits stay as they are."""
        return self._range.kind == "type"

    def set_range(self, low: float, high: float) -> None:
        """Replace "percentiles" by the numbers that they are."""
        self._range = DataRange("numbers", low, high)

    def apply(self, values: np.ndarray, kind: ValueType) -> np.ndarray:
        """Scale to 0 to 255, clipped, not rounded.

        Args:
            values: What a file holds.
            kind: Their type.

        Returns:
            Numbers in float32.

        Raises:
            ValueError: If the values have no range, or are NaN or infinite.
        """
        low, high = self._range.low, self._range.high
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError("it holds values that are NaN or infinite: replace them")
        if self._range.kind == "type":
            if kind.low is None or kind.high is None:
                raise ValueError(
                    f"it holds {kind.name} values, which have no range of their own: set "
                    "data_range to 'LOW,HIGH' or 'percentiles'"
                )
            low, high = kind.low, kind.high
            with self._lock:
                self._type = kind
                self._seen = (
                    min(self._seen[0], float(values.min())),
                    max(self._seen[1], float(values.max())),
                )
        # In double precision first: float32 does not hold all 32-bit integers.
        return np.clip((values - np.float64(low)) * (255 / (high - low)), 0, 255).astype(np.float32)

    def check(self, name: str) -> None:
        """Refuse a set of images whose values, of more than 8 bits, are few of their type's range.

        Args:
            name: The name of the data set.

        Raises:
            ValueError: If less than a third of the gray levels would be left.
        """
        with self._lock:
            kind, (low, high) = self._type, self._seen
        if kind is None or kind.low is None or kind.high is None or low == high:
            return
        levels = round(256 * (high - low) / (kind.high - kind.low))
        if levels < 256 / 3:
            raise ValueError(
                f"{name} holds {kind.name} images with values from {low:g} to {high:g}: scaled by "
                f"the range of their type, {max(levels, 1)} of 256 gray levels would be left; set "
                f"data_range to '{low:g},{high:g}' or to 'percentiles'"
            )


def read_values(
    file: Any, image: "PilImage.Image", tiles: Sequence[Any]
) -> tuple[np.ndarray, ValueType] | None:
    """Read the values of an image of more than 8 bits, as they are in the file.

    Args:
        file: What `image` was opened from: a path or a file in memory.
        image: The opened image.
        tiles: Its `tile` as it was when it was opened: how the pixels are stored.

    Returns:
        Values (h, w) or (h, w, 3 or 4) and their type; None if they have 8 bits or fewer.

    Raises:
        ValueError: If Pillow would narrow the values in a way that cannot be undone.
    """
    modes = [_raw_mode(tile.args) for tile in tiles]
    deep_color = any(";16" in mode and not mode.startswith("I") for mode in modes)
    largest = 65535
    if image.format == "PPM" and tiles and isinstance(tiles[0].args, tuple):
        largest = int(tiles[0].args[1])
        deep_color = largest > 255 and image.mode == "RGB"
    if deep_color:
        return _read_deep_color(file, image, modes)
    if image.mode == "F":
        return np.asarray(image), ValueType("floating-point", None, None)
    if not image.mode.startswith("I"):
        return None
    values, kind = np.asarray(image), ValueType("16-bit", 0, 65535)
    if image.format == "TIFF":
        tags = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue]
        bits = int(_tuple(tags.get(_BITS, (16,)))[0])
        if _tuple(tags.get(_FORMAT, (1,)))[0] == 2:
            kind = ValueType(f"signed {bits}-bit", -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        else:
            kind = ValueType(f"{bits}-bit", 0, 2**bits - 1)
            # Pillow keeps 32 bits as if they were signed.
            values = values.astype(np.uint32) if bits == 32 else values
        if tags.get(_PHOTOMETRIC) == 0 and kind.high is not None:
            values = kind.high - values.astype(np.float64)  # white is zero
    elif image.format == "PPM" and largest < 65535:
        # Pillow has stretched them to 16 bits, which rounding undoes.
        values = np.round(values * (largest / 65535)).astype(np.int32)
        kind = ValueType(f"0 to {largest}", 0, largest)
    return values, kind


def _raw_mode(args: Any) -> str:
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _read_deep_color(file: Any, image: Any, modes: list[str]) -> tuple[np.ndarray, ValueType]:
    """Colors of 16 bits. Pillow keeps one byte of each: it is asked for one, then the other."""
    from PIL import Image

    known = {"RGB;16B", "RGB;16L", "RGB;16N", "RGBA;16B", "RGBA;16L", "RGBA;16N"}
    if not set(modes) <= known or image.info.get("transparency") is not None:
        kind = "color" if image.mode.startswith("RGB") and "LA;16B" not in modes else "gray"
        raise ValueError(
            f"it holds 16-bit {kind} values in a layout that is not read in full "
            f"({', '.join(sorted(set(modes)))}): save it as plain 16-bit gray or RGB, without alpha"
        )
    native = "L" if sys.byteorder == "little" else "B"
    order = modes[0][-1].replace("N", native)
    other = {"L": "B", "B": "L"}[order]
    values = np.asarray(image).astype(np.uint16) << 8
    if hasattr(file, "seek"):
        file.seek(0)
    with Image.open(file, formats=(image.format,)) as again:
        again.tile = [  # pyright: ignore[reportAttributeAccessIssue]
            tile._replace(args=_with_raw_mode(tile.args, _raw_mode(tile.args)[:-1] + other))
            for tile in again.tile  # pyright: ignore[reportAttributeAccessIssue]
        ]
        values |= np.asarray(again)
    return values, ValueType("16-bit", 0, 65535)


def _with_raw_mode(args: Any, mode: str) -> Any:
    return (mode, *args[1:]) if isinstance(args, tuple) else mode


def check_contents(image: "PilImage.Image") -> None:
    """Refuse an image of which Pillow would read a part in silence: pages, bands.

    Args:
        image: The opened image.

    Raises:
        ValueError: One line that says what the file holds and what to do.
    """
    if image.format != "TIFF":
        return  # the first picture of an animation stands for it
    file: Any = image.fp  # pyright: ignore[reportAttributeAccessIssue]
    place = file.tell()
    problem = tiff_problem(file)
    file.seek(place)
    if problem:
        raise ValueError(problem)


def tiff_problem(file: Any) -> str:
    """Say what a TIFF file holds that is not one gray or RGB image, and what to do.

    Args:
        file: The opened file.

    Returns:
        One line; empty if the file is one gray or RGB image, perhaps with alpha.

    Raises:
        Exception: Of any kind, if the file is damaged or no TIFF.
    """
    tags, pages = _tiff_tags(file)
    height, width = tags.get(_HEIGHT, 0), tags.get(_WIDTH, 0)
    bits = int(_tuple(tags.get(_BITS, (1,)))[0])
    sign = {2: "signed ", 3: "floating-point "}.get(_tuple(tags.get(_FORMAT, (1,)))[0], "")
    samples, extra = int(tags.get(_SAMPLES, 1)), _tuple(tags.get(_EXTRA, ()))
    kind = int(tags.get(_PHOTOMETRIC, -1))
    what = f"{width} x {height} pixels of {sign}{bits} bits"
    described = re.match(r"ImageJ=.*?^images=(\d+)", str(tags.get(_DESCRIPTION, "")), re.M | re.S)
    if described:  # ImageJ keeps all of a large stack behind one page
        pages = max(pages, int(described[1]))
    if pages > 1:
        many = f"more than {_MAX_PAGES}" if pages > _MAX_PAGES else f"{pages}"
        return (
            f"it holds {many} pages (channels, slices or times) of {what}, where one image is "
            "read: save each page as a file, or bands as the channels of one RGB image"
        )
    colors = _COLORS.get(kind, 0)
    has_alpha = extra in ((1,), (2,))
    if samples != colors + has_alpha or (extra and not has_alpha):
        unnamed = "; the file does not say that the last is alpha" if samples == colors + 1 else ""
        return (
            f"it holds {samples} bands of {what}, where 1 (gray) or 3 (RGB) are read{unnamed}: "
            "save the bands you want as gray or RGB"
        )
    if sign and bits == 8:
        return f"it holds {what}: save it with unsigned 8 or signed 16 bits"
    if bits > 8 and samples > 1 and tags.get(_PLANAR) == 2:
        return f"it holds {samples} planes of {what}: save it with the bands of a pixel together"
    return ""


def _tiff_tags(file: Any) -> tuple[Mapping[int, Any], int]:
    """Tags of the first page, and the number of pages that are no thumbnails or masks."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    file.seek(0)
    header = file.read(8)
    is_big = header[2:4] in (b"+\0", b"\0+")
    header += file.read(8) if is_big else b""
    first = ImageFileDirectory_v2(header)
    start: int = first.next or 0
    file.seek(start)
    first.load(file)
    # Other pages are only counted: reading their tags could take as long as a hostile file likes.
    order = "<" if header[:2] == b"II" else ">"
    entry, number = ("HHQL4x", "Q") if is_big else ("HHLL", "H")
    pages, seen = 0, set()
    while start and start not in seen and pages <= _MAX_PAGES:
        seen.add(start)
        file.seek(start)
        (count,) = _unpack(file, order + number)
        # Tags are in ascending order, and that of reduced pages has the least number.
        tag, kind, _, value = _unpack(file, order + entry)
        if kind == 3 and order == ">":
            value >>= 16  # a short number comes first
        pages += not (tag == _SUBFILE and value & 5)
        width = struct.calcsize(order + entry)
        file.seek(start + struct.calcsize(order + number) + count * width)
        (start,) = _unpack(file, order + ("Q" if is_big else "L"))
        if len(seen) > 10 * _MAX_PAGES:
            break
    return first, pages


def _unpack(file: Any, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)
