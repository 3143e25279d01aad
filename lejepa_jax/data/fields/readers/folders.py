"""Folders of files, a field each: sounds, TIFF, NIfTI, DICOM, FITS, arrays, PNG."""

from pathlib import Path

from lejepa_jax.data.fields.readers.formats import FORMATS, read_file
from lejepa_jax.data.fields.readers.scans import one_of_each_series
from lejepa_jax.data.fields.reading import (
    FieldRequest,
    FieldSets,
    Records,
    check_spacing,
    version_of,
)
from lejepa_jax.data.fields.source import Stored
from lejepa_jax.data.listing import Listing, list_splits


def read_folder(request: FieldRequest) -> FieldSets:
    """Read ``folder:PATH``: sub-folders are classes, as for images; see `list_splits`.

    Args:
        request: What was asked for.

    Returns:
        The records, read when they are asked for. A file whose spacing is not that of the first
        one is a bad record.

    Raises:
        ValueError: See `list_splits`.
    """
    found = list_splits(str(request.path), tuple(FORMATS), noun="fields", ledger=request.ledger)
    parts = {
        name: _fields_of(listing, request.num_axes)
        for name in ("train", "test", "validation")
        if (listing := getattr(found, name)) is not None
    }
    spacing = None
    for path in parts["train"].paths[:20]:
        try:
            spacing = read_file(Path(path), request).spacing
        except ImportError:
            raise
        except Exception:  # reading it again will say what is wrong
            continue
        break
    splits = {name: _records(listing, request, spacing) for name, listing in parts.items()}
    paths = [Path(p) for part in parts.values() for p in part.paths]
    info = dict(found.info)
    if spacing is not None:
        info["spacing"] = ", ".join(f"{x:g}" for x in spacing)
    names = found.train.class_names
    return FieldSets(splits, names, spacing, version_of(paths), info)


def _fields_of(listing: Listing, num_axes: int) -> Listing:
    """Leave one slice of each volume."""
    chosen = one_of_each_series(listing.paths, num_axes)
    paths = [listing.paths[i] for i in chosen]
    return listing._replace(paths=paths, labels=listing.labels[chosen])


def _records(listing: Listing, request: FieldRequest, spacing: tuple[float, ...] | None) -> Records:
    def read(index: int) -> Stored:
        found = read_file(Path(listing.paths[index]), request)
        check_spacing(found.spacing, spacing, "the first file")
        return found.values

    return Records(read, listing.labels, listing.describe, listing.paths.__getitem__)
