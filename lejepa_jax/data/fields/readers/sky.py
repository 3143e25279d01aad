"""FITS: images of the sky, cubes, and HEALPix maps."""

from pathlib import Path
from typing import Any

import numpy as np

import rope_jax
from lejepa_jax.checks import needs_extra
from lejepa_jax.data.fields.readers.contents import FileContents, check_size, require_axes
from lejepa_jax.data.fields.reading import FieldRequest

# What HEALPix maps write where nothing was seen.
_UNSEEN = -1.6375e30


def read_fits(path: Path, request: FieldRequest) -> FileContents:
    """Read the first image of a FITS file, or its first HEALPix map.

    Integers stay integers where the header scales nothing; blank pixels are NaN. For planes, the
    axes in front are channels. Columns of a map are channels; its pixels come in ring order, and
    those that were not seen, or that a map of a part of the sky lacks, are NaN.

    Args:
        path: The file.
        request: What was asked for.

    Returns:
        Values.

    Raises:
        Exception: Of any kind, on damaged files.
    """
    with needs_extra("fits"):
        from astropy.io import fits  # pyright: ignore[reportMissingImports]

    with fits.open(path, memmap=False, lazy_load_hdus=True) as file:
        units: Any = file
        for unit in units:
            header: Any = unit.header
            sides = [int(header.get(f"NAXIS{i + 1}", 0)) for i in range(header.get("NAXIS", 0))]
            if not sides or 0 in sides:
                continue
            check_size(int(np.prod(sides, dtype=np.float64)) * 8, request)
            if "HEALPIX" in str(header.get("PIXTYPE", "")).upper():
                require_axes(request, 1, "a HEALPix map")
                return FileContents(_map(unit.data, header, request))
            if header.get("XTENSION", "IMAGE").strip() == "IMAGE":
                values = np.asarray(unit.data)
                return FileContents(_image(values, request))
    raise ValueError("it holds neither an image nor a HEALPix map")


def _image(values: np.ndarray, request: FieldRequest) -> np.ndarray:
    values = values.astype(values.dtype.newbyteorder("="))
    while values.ndim > request.num_axes and values.shape[0] == 1:
        values = values[0]
    if values.ndim == request.num_axes + 1:
        return np.moveaxis(values, 0, -1)
    return request.with_channels(values)


def _map(table: Any, header: Any, request: FieldRequest) -> np.ndarray:
    sides = int(header["NSIDE"])
    if sides < 1:
        raise ValueError(f"NSIDE must be positive, got {sides}")
    names = list(table.names)
    columns = [np.asarray(table[name]).reshape(-1) for name in names]
    explicit = names[0].upper().startswith("PIX")
    pixels, columns = (columns[0], columns[1:]) if explicit else (None, columns)
    values = np.stack([x.astype(x.dtype.newbyteorder("=")) for x in columns], -1)
    count = 12 * sides**2
    if pixels is not None:
        check_size(count * values.shape[1] * 8, request)
        whole = np.full((count, values.shape[1]), np.nan, np.result_type(values, np.float32))
        whole[pixels] = values
        values = whole
    if len(values) != count:
        raise ValueError(f"NSIDE {sides} makes {count} pixels, it holds {len(values)}")
    if str(header.get("ORDERING", "RING")).strip().upper().startswith("NEST"):
        ring = np.empty_like(values)
        ring[rope_jax.healpix_nested(sides)] = values
        values = ring
    if values.dtype.kind == "f":
        values = np.where(values < 0.99 * _UNSEEN, np.nan, values)
    return values
