"""Fields by name: series, planes and volumes from files of the user's own."""

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from lejepa_jax.checks import MissingExtra, check_choice
from lejepa_jax.data.fields.groups import hold_out_groups
from lejepa_jax.data.fields.readers.arrays import read_hdf5, read_npy, read_npz
from lejepa_jax.data.fields.readers.folders import read_folder
from lejepa_jax.data.fields.readers.made import (
    read_banded_digits,
    read_gray_digits,
    read_solids,
    read_sphere_digits,
)
from lejepa_jax.data.fields.readers.tables import read_csv, read_parquet
from lejepa_jax.data.fields.reading import (
    FieldOptions,
    FieldReader,
    FieldRequest,
    FieldSets,
    Records,
)
from lejepa_jax.data.fields.source import (
    FieldsOnDemand,
    FieldSource,
    Layout,
    Stored,
    check_channel_names,
    kept_type,
    narrowed,
)
from lejepa_jax.data.records import Ledger
from lejepa_jax.data.source import Origin
from lejepa_jax.data.splits import Parts, Splits, hold_out

#: Readers by what the name of a data set says before its colon.
READERS: Mapping[str, FieldReader] = MappingProxyType(
    {
        "npz": read_npz,
        "npy": read_npy,
        "hdf5": read_hdf5,
        "csv": read_csv,
        "parquet": read_parquet,
        "folder": read_folder,
    }
)
#: Data sets that are made, by their whole name.
MADE: Mapping[str, FieldReader] = MappingProxyType(
    {
        "digits-bands": read_banded_digits,
        "digits-gray": read_gray_digits,
        "digits-sphere": read_sphere_digits,
        "solids": read_solids,
    }
)
_ENDINGS = {".npz": "npz", ".npy": "npy", ".h5": "hdf5", ".hdf5": "hdf5", ".csv": "csv"}
_ENDINGS |= {".parquet": "parquet", ".tsv": "csv"}
_MOST_SIZED = 2**17  # records that are read to find the largest


def load_fields(
    name: str,
    *,
    num_axes: int,
    size: tuple[int, ...] | None = None,
    data_dir: str | None = None,
    holdout: Literal["test", "validation"] = "test",
    max_bad_records: int = 0,
    options: FieldOptions | None = None,
    reader: FieldReader | None = None,
) -> Splits:
    """Load fields by name.

    ================  ============================================================================
    ``npz:PATH``      Arrays ``values`` (n *space [c]) and maybe ``label``, ``is_test``,
                      ``class_names``, ``channel_names``, ``spacing``; or series of any lengths as
                      ``samples`` (total [c]) and ``lengths`` (n); or a pair for each split under
                      ``values_train, label_train, ...`` (also ``x_train, y_train``).
    ``npy:PATH``      One array (n *space [c]), memory-mapped; labels in ``NAME_labels.npy``.
    ``hdf5:PATH``     Data sets by the same names, read in chunks.
    ``csv:PATH``      A row a series, or a row a moment with a column ``id``; see
                      `lejepa_jax.data.fields.readers.tables.series_of_columns`.
    ``parquet:PATH``  The same.
    ``folder:PATH``   Files, a field each: wav, flac, ogg; tif of any bands and pages; nii, nii.gz;
                      dcm, the slices in one folder being a volume; fits, images and HEALPix maps;
                      npy; png. Sub-folders are classes, folders ``train`` and ``test`` the splits.
    ``digits-bands``  scikit-learn's digits in five bands of 16 bits; ``digits-gray`` in 8 bits;
                      ``digits-sphere`` on a sphere of 32 latitudes and 64 longitudes.
    ``solids``        Procedural solids of 6 families, volumes of 16 voxels a side.
    ================  ============================================================================

    PATH is below `data_dir` where that is given; a path may be given without the word before its
    colon. Values stay in the type of the files, bands and sign with them; float64 becomes float32,
    and `Splits.info` says so.

    Args:
        name: See the table.
        num_axes: Axes of space: 1 for series, 2 for planes, 3 for volumes.
        size: Samples to store along each axis; by default those of the largest field. Smaller ones
            are padded at their ends, of larger ones the middle is kept; nothing is resampled.
        data_dir: Where PATH is.
        holdout: Which part `Splits.test` holds.
        max_bad_records: Fields tolerated that cannot be read, or are of other channels or a wider
            type than the first one.
        options: How to read it, where the default does not fit.
        reader: A function of your own that reads the data set, whatever its name.

    Returns:
        The splits, of `FieldSource`.

    Raises:
        ValueError: One line that says what is wrong.
    """
    check_choice("holdout", holdout, ("test", "validation"))
    options = FieldOptions() if options is None else options
    found, path = (reader, name) if reader else _find(name, data_dir)
    ledger = Ledger(name, max_bad_records, "fields")
    place = Path(data_dir or "").expanduser() / Path(path).expanduser()
    request = FieldRequest(name=name, path=place, num_axes=num_axes, options=options, ledger=ledger)
    sets = hold_out_groups(found(request), options)
    layout, info = _layout(sets, request, size)
    pool = ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1)), thread_name_prefix="read")
    sources = {
        split: _source(records, sets, layout, ledger, pool)
        for split, records in sets.splits.items()
    }
    total = sum(len(source) for source in sources.values()) * layout.num_bytes

    def prepare(source: FieldSource) -> FieldSource:
        if isinstance(source, FieldsOnDemand):
            if total <= options.memory_limit:
                return source.in_memory()
            source.check()
        return source

    train, test, validation = (sources.get(x) for x in ("train", "test", "validation"))
    if test is None:
        test, validation = validation, None
    parts = Parts(train, test, validation, {**sets.info, **info})
    return hold_out(
        name,
        parts,
        holdout=holdout,
        test_fraction=options.test_fraction,
        prepare=prepare,
        noun="fields",
    )


def _find(name: str, data_dir: str | None) -> tuple[FieldReader, str]:
    if own := re.fullmatch(r"(.+\.py):(\w+)(?::(.*))?", name, re.DOTALL):
        from lejepa_jax.data.loading import import_reader

        reader: Any = import_reader(own[1], own[2])
        return reader, own[3] or ""
    if name in MADE:
        return MADE[name], ""
    kind, colon, path = name.partition(":")
    if kind in READERS and (colon or data_dir is not None):
        return READERS[kind], path
    ending = Path(name).suffix.lower()
    if ending in _ENDINGS:
        return READERS[_ENDINGS[ending]], name
    names = ", ".join([*(f"{kind}:PATH" for kind in READERS), *MADE])
    raise ValueError(f"data must be one of {names}, got {name!r}")


def _layout(
    sets: FieldSets, request: FieldRequest, size: tuple[int, ...] | None
) -> tuple[Layout, dict[str, str]]:
    """Find what the fields have in common: the first says it, and all say how large they are."""
    ledger, train = request.ledger, sets.splits["train"]
    first, shapes, cut = None, [], 0
    count = len(train.labels)
    reasons: list[str] = []
    for i in range(min(count, _MOST_SIZED)):
        try:
            values = train.read(i)
            kind = kept_type(values.dtype)
        except MissingExtra:
            raise
        except Exception as error:
            reasons.append(f"{train.describe(i)}: {error}")
            if first is None and i > 50:
                break
            continue
        if first is None:
            first = values.shape[-1], kind, values.dtype
        if values.ndim == request.num_axes + 1:
            shapes.append(values.shape[:-1])
        if size is not None and len(shapes) >= 100:
            break
    if first is None or not shapes:
        why = f", the first: {reasons[0]}" if reasons else ""
        raise ValueError(f"{ledger.title} has no fields of {request.num_axes} axes{why}")
    largest = tuple(int(n) for n in np.max(shapes, 0))
    if size is not None and len(size) != request.num_axes:
        raise ValueError(f"stored_size must be {request.num_axes} sizes, got {size}")
    shape = largest if size is None else tuple(size)
    cut = sum(any(n > m for n, m in zip(own, shape, strict=True)) for own in shapes)
    channels, kind, stored = first
    info = {
        "fields": f"{' x '.join(map(str, shape))} samples, {channels} "
        f"channel{'s' * (channels > 1)}, {kind}"
    }
    if stored.name == "float64":
        info["narrowed"] = "float64 became float32, in which devices compute"
    if cut:
        info["cut"] = f"{cut} of {len(shapes)} fields are larger than stored: their middle is kept"
    names = request.options.channel_names or sets.channel_names
    check_channel_names(names, channels)
    return Layout(shape, channels, kind, sets.spacing, names), info


def _source(
    records: Records, sets: FieldSets, layout: Layout, ledger: Ledger, pool: ThreadPoolExecutor
) -> FieldsOnDemand:
    def read(index: int) -> Stored:
        return narrowed(records.read(index))

    return FieldsOnDemand(
        read,
        records.labels,
        sets.class_names,
        layout,
        ledger,
        origin=Origin(records.describe, records.path, sets.version),
        records=np.arange(len(records.labels)),
        pool=pool,
    )
