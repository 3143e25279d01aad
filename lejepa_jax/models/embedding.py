"""Features of any number of files, in constant memory, which go on where they were stopped."""

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lejepa_jax.data.fields.readers.scans import one_of_each_series
from lejepa_jax.data.listing import Listing, list_splits
from lejepa_jax.data.records import BadRecord, Ledger, printable
from lejepa_jax.evaluation.features import fetch
from lejepa_jax.models.feature_files import (
    Rows,
    about_path,
    check_format,
    read_about,
    read_rows,
    write_rows,
)
from lejepa_jax.models.inputs.sources import axes_of, files_source, require_files
from lejepa_jax.models.model import Model
from lejepa_jax.training.storage.files import write_atomically

#: Images of a piece: what is lost at most when the machine stops.
PIECE = 4096
_MOST_LISTED = 10_000


class Embedded(NamedTuple):
    """What became of a folder of images or fields.

    Attributes:
        rows: Rows of the file.
        new: How many of them were not there before.
        unreadable: What could not be read, and why.
        finished: Whether all files have been tried; if not, the same call goes on.
    """

    rows: int
    new: int
    unreadable: tuple[BadRecord, ...]
    finished: bool


def embed_folder(
    model: Model,
    data_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    num_layers: int = 1,
    piece: int = PIECE,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Embedded:
    """Write the features of all images or fields below a folder to a file.

    Rows that the file has are kept, and files that have none are embedded alone: images may be
    added, and a call that was stopped goes on where it was. An image that changed under the same
    name keeps its row.

    Args:
        model: A model of images or fields.
        data_dir: The folder; classes are its sub-folders, or those of `labels.csv`, as in training.
        out: The file, `.npz`, `.parquet` or `.csv`. Beside it `OUT.json` says what it is of and
            what could not be read.
        num_layers: See `Model.__call__`.
        piece: Images that are kept together before they are written.
        stop: Asked after every batch whether to stop.
        progress: Called with the number of images that are done and of all.

    Returns:
        What became of it.

    Raises:
        ValueError: If there are no files, the model is one of clouds, or the file holds features
            of another model or another folder.
    """
    endings, noun = require_files(model.preprocessing, "embed"), model.preprocessing.kind
    out = Path(out).expanduser().absolute()
    check_format(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    ledger = Ledger("embed", 2**62, noun)
    root, paths, labels = list_files(
        str(data_dir), ledger, endings, noun=noun, num_axes=axes_of(model.preprocessing)
    )
    about = {
        "model": model.digest(),
        "num_layers": num_layers,
        "data_dir": str(root),
        "provenance": {k: model.provenance.get(k) for k in ("recipe", "command", "step", "data")},
    }
    parts = out.with_name(out.name + ".parts")
    check_same(out, parts, about)
    written = _parts_of(parts)
    done = {path for rows in _pieces(out, written) for path in rows.paths}
    before = len(done)
    todo = [i for i, path in enumerate(paths) if path not in done]
    if not todo and out.exists() and not written:
        return Embedded(before, 0, ledger.records(), True)
    files = [str(root / paths[i]) for i in todo]
    names = [printable(paths[i]) for i in todo]
    source = files_source(files, names, model.preprocessing, max_bad_records=2**62)
    function, number = model.program("features", num_layers), len(written)
    held: list[tuple[int, np.ndarray]] = []

    def write(rows: list[tuple[int, np.ndarray]]) -> None:
        parts.mkdir(exist_ok=True)
        write_atomically(parts / "about.json", json.dumps(about))
        chosen = [todo[row] for row, _ in rows]
        found = Rows(
            [paths[i] for i in chosen], [labels[i] for i in chosen], np.stack([f for _, f in rows])
        )
        partial = parts / "part.npz"
        write_rows(partial, [found], count=len(rows), width=found.features.shape[1])
        partial.replace(parts / f"part-{number:08d}.npz")

    tried, size = 0, model.preprocessing.batch_size
    for rows, batch, bad in _batches(source, size):
        ledger.add(bad)
        features = fetch(function(model.shard_batch(batch))[0])
        held += [(int(row), features[at]) for at, row in rows]
        tried = min(tried + size, len(todo))
        progress(before + tried, before + len(todo))
        stopping = stop() and tried < len(todo)
        if held and (len(held) >= piece or stopping or tried == len(todo)):
            write(held)
            held, number = [], number + 1
        if stopping:
            return Embedded(before + tried, tried, ledger.records(), False)
    return _finish(out, parts, about, before, ledger)


def list_files(
    data_dir: str,
    ledger: Ledger,
    endings: Collection[str],
    *,
    noun: str,
    num_axes: int | None = None,
) -> tuple[Path, list[str], list[str]]:
    """List the files of a folder, of all of its splits.

    Args:
        data_dir: The folder.
        ledger: Files that must not be read are entered here.
        endings: How file names end, in lower case and with the dot.
        noun: What the files are, for errors.
        num_axes: Axes of space of fields; None for images.

    Returns:
        The folder without links, the paths below it, and the name of the class of each, empty
        where there is none.

    Raises:
        ValueError: See `list_splits`.
    """
    listed = list_splits(data_dir, endings, noun=noun, ledger=ledger)
    found: list[Listing] = [
        part for part in (listed.train, listed.test, listed.validation) if part is not None
    ]
    root = found[0].root
    if num_axes is not None:  # slices of one volume are one field
        kept = [one_of_each_series(part.paths, num_axes) for part in found]
        found = [
            part._replace(paths=[part.paths[i] for i in rows], labels=part.labels[rows])
            for part, rows in zip(found, kept, strict=True)
        ]
    paths = [os.path.relpath(path, root) for part in found for path in part.paths]
    labels = [
        "" if label < 0 else part.class_names[label] for part in found for label in part.labels
    ]
    return root, paths, labels


def check_same(out: Path, parts: Path, about: dict[str, Any]) -> None:
    """Refuse to add to features of another model or of another folder.

    Raises:
        ValueError: If that is what is there.
    """
    found = read_about(out) if out.exists() else about
    if found is None:
        raise ValueError(f"{out} is there and was not written by embed: choose another --out")
    kept = about
    if parts.exists():
        try:
            kept = json.loads((parts / "about.json").read_text())
        except (OSError, ValueError):
            shutil.rmtree(parts, ignore_errors=True)  # nothing had been written yet
    for old in (found, kept):
        for name, title in (("model", "model"), ("num_layers", "layers"), ("data_dir", "folder")):
            if old.get(name) != about[name]:
                raise ValueError(
                    f"{out} holds features of another {title} ({old.get(name)}, not "
                    f"{about[name]}): choose another --out, or remove it"
                )


def _parts_of(parts: Path) -> list[Path]:
    return sorted(parts.glob("part-*.npz")) if parts.is_dir() else []


class _pieces:
    """The rows of a file and of its parts, as often as they are asked for."""

    def __init__(self, out: Path, parts: Sequence[Path]):
        self.files = [*([out] if out.exists() else []), *parts]

    def __iter__(self) -> Iterator[Rows]:
        for file in self.files:
            yield from read_rows(file)


def _finish(out: Path, parts: Path, about: dict[str, Any], before: int, ledger: Ledger) -> Embedded:
    """Make one file of what was there and of the parts, and replace the old one."""
    pieces, bad = _pieces(out, _parts_of(parts)), ledger.records()
    count = width = 0
    for rows in pieces:
        count, width = count + len(rows.paths), rows.features.shape[1]
    if not count:
        raise ValueError(
            f"none of {len(bad)} {ledger.noun} could be read, the first: {bad[0].name} "
            f"({bad[0].reason})"
        )
    partial = out.with_name(f"{out.stem}.partial{out.suffix}")
    write_rows(partial, pieces, count=count, width=width)
    listed = [{"path": record.name, "reason": record.reason} for record in bad[:_MOST_LISTED]]
    whole = {**about, "rows": count, "features": width, "unreadable": listed}
    write_atomically(about_path(out), json.dumps(whole, indent=2))
    partial.replace(out)
    shutil.rmtree(parts, ignore_errors=True)
    return Embedded(count, count - before, bad, True)


def _batches(
    source: Any, size: int
) -> Iterator[tuple[list[tuple[int, int]], dict[str, np.ndarray], list[BadRecord]]]:
    """Batches of one size with the places of their readable rows, the next one being decoded."""
    starts = range(0, len(source), size)

    def read(start: int) -> tuple[Any, ...]:
        index = np.minimum(np.arange(start, start + size), len(source) - 1)
        batch, failed = source.read(index)
        real = range(min(size, len(source) - start))
        good = [(at, start + at) for at in real if at not in failed]
        return good, batch, [failed[at] for at in real if at in failed]

    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(read, starts[0]) if len(starts) else None
        for start in starts:
            assert following is not None
            ready = following.result()
            if start + size < len(source):
                following = ahead.submit(read, start + size)
            yield ready
