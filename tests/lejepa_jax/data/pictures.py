"""Sources and folders of images to read, for the tests of this folder."""

import struct
import zlib

import numpy as np
from PIL import Image

from lejepa_jax import data

RNG = np.random.default_rng(0)


def numbered(n: int, size: int = 2) -> data.ImageSource:
    """A source whose every pixel is the number of its image."""
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, size, size, 1))
    return data.from_arrays(np.ascontiguousarray(images), np.arange(n) % 3)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


def noise(height: int = 4, width: int = 4) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)


def folder(root, per_class: int = 5, classes=("cat", "dog")):
    for name in classes:
        for i in range(per_class):
            save(root / name / f"{i}.png", noise())
    return root


def tiff(pages, *, photometric=1, extra=(), planar=1, description="") -> bytes:
    """A TIFF of arrays (h, w) or (h, w, bands); `planar` 2 stores band after band."""
    out, link = bytearray(b"II*\0\0\0\0\0"), 4
    for pixels in map(np.asarray, pages):
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        height, width, bands = pixels.shape
        bits = 8 * pixels.dtype.itemsize
        planes = np.moveaxis(pixels, -1, 0) if planar == 2 else pixels[None]
        starts = []
        for plane in planes:
            starts.append(len(out))
            out += np.ascontiguousarray(plane).tobytes()
        sizes = [planes[0].size * pixels.dtype.itemsize] * len(planes)
        entries = [
            (256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * bands), (259, 3, [1]),
            (262, 3, [photometric]), (270, 2, list(description.encode() + b"\0")),
            (273, 4, starts), (277, 3, [bands]), (278, 4, [height]), (279, 4, sizes),
            (284, 3, [planar]), (338, 3, list(extra)),
            (339, 3, [{"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]] * bands),
        ]  # fmt: skip
        packed = b""
        for tag, kind, values in entries:
            if not values:
                continue
            raw = np.array(values, {2: "<u1", 3: "<u2", 4: "<u4"}[kind]).tobytes()
            if len(raw) > 4:
                place, out = len(out), out + raw
                raw = place.to_bytes(4, "little")
            packed += struct.pack("<HHI4s", tag, kind, len(values), raw.ljust(4, b"\0"))
        out[link : link + 4] = len(out).to_bytes(4, "little")
        out += struct.pack("<H", len(packed) // 12) + packed
        link = len(out)
        out += bytes(4)
    return bytes(out)


def png16(pixels: np.ndarray, **chunks: bytes) -> bytes:
    """A PNG of 16-bit gray, gray with alpha, RGB or RGBA, with further chunks by name."""
    height, width, bands = pixels.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    more = b"".join(chunk(kind.encode(), content) for kind, content in chunks.items())
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    body = chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")
