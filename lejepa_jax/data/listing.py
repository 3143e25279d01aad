"""Files in folders of their classes and splits, of whatever kind the files are."""

import csv
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from lejepa_jax.data.reading import HELD_OUT, choose_held_out
from lejepa_jax.data.records import BadRecord, Ledger

_LABELS = "labels.csv"


class Listing(NamedTuple):
    """The files of one split.

    Attributes:
        root: The folder of the data set, without links.
        paths: The files, sorted within their class.
        labels: The class of each, -1 where there are no classes.
        class_names: One name a class.
    """

    root: Path
    paths: list[str]
    labels: Int32[np.ndarray, " n"]
    class_names: tuple[str, ...]

    def describe(self, index: int) -> str:
        """Name of a file in messages: its path in the folder of the data set."""
        return repr(self.paths[index].removeprefix(str(self.root)).lstrip(os.sep))


class ListedSplits(NamedTuple):
    """The files of a folder.

    Attributes:
        train: Files to train on.
        test: Files to test on, if there is a folder of them.
        validation: Files to choose hyper-parameters on, likewise.
        ignored: Names of other folders beside those of the splits.
        info: Where the splits come from, for `Splits.info`.
    """

    train: Listing
    test: Listing | None
    validation: Listing | None
    ignored: tuple[str, ...] = ()
    info: Mapping[str, str] = MappingProxyType({})


def list_splits(
    path: str, extensions: Collection[str], *, noun: str, ledger: Ledger
) -> ListedSplits:
    """List the files of a folder: sub-folders are classes, however deep the files lie in them.

    Folders named after splits are the splits. A file ``labels.csv`` with the columns ``file`` and
    ``label``, in the folder of a split or in that of all, names the classes in place of the
    sub-folders; a file that it does not list has no class. Links that leave the folder, and links
    to folders, are not followed.

    Args:
        path: The folder.
        extensions: How file names end, in lower case and with the dot.
        noun: What the files are, for errors.
        ledger: Files that must not be read are entered here.

    Returns:
        The files of each split.

    Raises:
        ValueError: If there is no folder, a class without files, files beside classes, or a class
            that is unknown to the training split.
    """
    top = Path(path).expanduser()
    if not path or not top.is_dir():
        raise ValueError(f"{path!r} is not a folder")
    root = top.resolve()
    children = {
        entry.name.lower(): Path(entry.path) for entry in _visible(root) if _is_folder(entry)
    }
    held = [key for key in HELD_OUT if key in children]

    def part(folder: Path, class_names: tuple[str, ...] | None) -> Listing:
        return _list_split(root, folder, class_names, extensions, noun, ledger)

    # Not just any folder of that name is a split: trains are a class of things, too.
    if "train" not in children or (not held and len(children) > 1):
        return ListedSplits(part(root, None), None, None)
    train = part(children.pop("train"), None)
    chosen = dict(zip(("test", "validation"), choose_held_out(held), strict=True))
    info = {name: f"folder {children[key].name!r}" for name, key in chosen.items() if key}
    test, validation = (
        None if key is None else part(children.pop(key), train.class_names)
        for key in chosen.values()
    )
    if children:
        info["ignored"] = ", ".join(children)
    return ListedSplits(train, test, validation, tuple(children), info)


def _list_split(
    root: Path,
    folder: Path,
    class_names: tuple[str, ...] | None,
    extensions: Collection[str],
    noun: str,
    ledger: Ledger,
) -> Listing:
    """List one split. `class_names` are those of the training split, or None if this is it."""
    bad: list[BadRecord] = []
    nothing = f"{str(folder)!r} has no {noun} ({' '.join(extensions)})"
    for place in (folder, root):
        if os.path.lexists(table := place / _LABELS):
            paths = _files_below(root, folder, extensions, bad, deep=True)
            ledger.add(bad)
            if not paths:
                raise ValueError(nothing)
            return _labeled_by_table(table, paths, root, folder, class_names)
    loose = _files_below(root, folder, extensions, bad, deep=False)
    listed = {
        entry.name: _files_below(root, Path(entry.path), extensions, bad, deep=True)
        for entry in _visible(folder)
        if _is_folder(entry)
    }
    ledger.add(bad)
    if not loose and not any(listed.values()):
        raise ValueError(nothing)
    if loose and listed:
        raise ValueError(
            f"{str(folder)!r} holds {len(loose)} {noun} beside class folders (the first is "
            f"{os.path.basename(loose[0])!r}): move them into a class, or all {noun} out of classes"
        )
    if empty := [name for name, files in listed.items() if not files]:
        raise ValueError(f"{str(folder)!r} has classes without {noun}: {_quoted(empty)}")
    if strange := [name for name in listed if not _is_utf8(name)]:
        raise ValueError(
            f"{str(folder)!r} has names of classes that are not UTF-8: {_quoted(strange)}"
        )
    names = tuple(listed) if class_names is None else class_names
    if unknown := [name for name in listed if name not in names]:
        raise ValueError(f"{str(folder)!r} has classes unknown to train: {_quoted(unknown)}")
    paths = loose + [file for files in listed.values() for file in files]
    labels = [-1] * len(loose) + [names.index(n) for n, files in listed.items() for _ in files]
    return Listing(root, paths, np.array(labels, np.int32), names)


def _labeled_by_table(
    table: Path, paths: list[str], root: Path, folder: Path, class_names: tuple[str, ...] | None
) -> Listing:
    """Take the labels of images from a table; files that it does not list have none."""
    if table.is_symlink() or not table.is_file():
        raise ValueError(f"{str(table)!r} must be a file")
    known = dict.fromkeys(paths, "")
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            columns = rows.fieldnames or ()
            if not {"file", "label"} <= set(columns):
                raise ValueError(
                    f"{str(table)!r} must have the columns file and label, got "
                    f"{', '.join(map(repr, columns)) or 'none'}; if it is no table of labels, "
                    "give it another name"
                )
            for row in rows:
                _enter(row["file"] or "", row["label"] or "", known, table, rows.line_num, folder)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{str(table)!r} is not a table in UTF-8: {error}") from error
    given = sorted({label for label in known.values() if label}, key=_numbers_first)
    names = tuple(given) if class_names is None else class_names
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"{str(table)!r} has classes unknown to train: {_quoted(unknown)}")
    numbers = {"": -1, **{name: i for i, name in enumerate(names)}}
    labels = np.array([numbers[known[path]] for path in paths], np.int32)
    return Listing(root, paths, labels, names)


def _enter(
    name: str, label: str, known: dict[str, str], table: Path, line: int, folder: Path
) -> None:
    """Enter the label of one row of a table into those of the files of a split."""
    where = f"{str(table)!r} line {line}"
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"{where}: file must be a path below the table, got {name!r}")
    path = str(table.parent / relative)
    if path not in known:
        if table.parent != folder and relative.parts[0] != folder.name:
            return  # of another split
        raise ValueError(f"{where}: no file {name!r}")
    if known[path] not in ("", label):
        raise ValueError(f"{where}: {name!r} has two labels, {known[path]!r} and {label!r}")
    known[path] = label


def _numbers_first(label: str) -> tuple[bool, int, str]:
    return (not label.isdecimal(), int(label) if label.isdecimal() else 0, label)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _is_utf8(name: str) -> bool:
    """False for the surrogates that stand for bytes that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder, in the same order on every machine, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            shown = [e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX"]
    except OSError as error:
        raise ValueError(f"{str(folder)!r} cannot be read: {error.strerror}") from error
    return sorted(shown, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _files_below(
    root: Path, folder: Path, extensions: Collection[str], bad: list[BadRecord], *, deep: bool
) -> list[str]:
    """Paths of the files in a folder, and below it if `deep`; `bad` gets what must not be read."""
    found, folders = [], [folder]
    while folders:
        for entry in _visible(folders.pop()):
            wanted = os.path.splitext(entry.name)[1].lower() in extensions
            reason = ""
            if entry.is_symlink():
                target = Path(os.path.realpath(entry.path))
                if target.is_dir():
                    reason = "a link to a folder, not followed"
                elif wanted and not target.is_relative_to(root):
                    reason = "a link out of the folder, not followed"
                elif wanted and not target.is_file():
                    reason = "a broken link"
            elif _is_folder(entry):
                folders += [Path(entry.path)] if deep else []
                continue
            elif wanted and not entry.is_file():
                reason = "not a file"  # reading a pipe might never end
            if reason:
                bad.append(BadRecord(repr(os.path.relpath(entry.path, root)), reason))
            elif wanted:
                found.append(entry.path)
    return sorted(found)
