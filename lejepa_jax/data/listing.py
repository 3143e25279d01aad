"""Files in folders of their classes and splits, of whatever kind the files are."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from lejepa_jax.data.reading import HELD_OUT, choose_held_out
from lejepa_jax.data.records import BadRecord, Ledger


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
        return repr(os.path.relpath(self.paths[index], self.root))


class ListedSplits(NamedTuple):
    """The files of a folder.

    Attributes:
        train: Files to train on.
        test: Files to test on, if there is a folder of them.
        validation: Files to choose hyper-parameters on, likewise.
        ignored: Names of other folders beside those of the splits.
    """

    train: Listing
    test: Listing | None
    validation: Listing | None
    ignored: tuple[str, ...]


def list_splits(
    path: str, extensions: Collection[str], *, noun: str, ledger: Ledger
) -> ListedSplits:
    """List the files of a folder: sub-folders are classes, however deep the files lie in them.

    Folders named after splits are the splits. Links that leave the folder, and links to folders,
    are not followed.

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
        return ListedSplits(part(root, None), None, None, ())
    train = part(children.pop("train"), None)
    test, validation = (
        None if key is None else part(children.pop(key), train.class_names)
        for key in choose_held_out(held)
    )
    return ListedSplits(train, test, validation, tuple(children))


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
    loose = _files_below(root, folder, extensions, bad, deep=False)
    listed = {
        entry.name: _files_below(root, Path(entry.path), extensions, bad, deep=True)
        for entry in _visible(folder)
        if _is_folder(entry)
    }
    ledger.add(bad)
    if not loose and not any(listed.values()):
        raise ValueError(f"{folder} has no {noun} ({' '.join(extensions)})")
    if loose and listed:
        raise ValueError(
            f"{folder} holds {len(loose)} {noun} beside class folders (the first is "
            f"{os.path.basename(loose[0])!r}): move them into a class, or all {noun} out of classes"
        )
    if empty := [name for name, files in listed.items() if not files]:
        raise ValueError(f"{folder} has classes without {noun}: {', '.join(map(repr, empty))}")
    names = tuple(listed) if class_names is None else class_names
    if unknown := [name for name in listed if name not in names]:
        raise ValueError(f"{folder} has classes unknown to train: {', '.join(map(repr, unknown))}")
    paths = loose + [file for files in listed.values() for file in files]
    labels = [-1] * len(loose) + [names.index(n) for n, files in listed.items() for _ in files]
    return Listing(root, paths, np.array(labels, np.int32), names)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder, in the same order on every machine, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            shown = [e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX"]
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}") from error
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
