"""Folders of image files."""

import os
from pathlib import Path

import numpy as np

from lejepa_jax.data.encoded import Encoded, EncodedImages
from lejepa_jax.data.images import EXTENSIONS
from lejepa_jax.data.reading import HELD_OUT, Request, choose_held_out
from lejepa_jax.data.records import BadRecord
from lejepa_jax.data.splits import Parts


def read_folder(request: Request) -> Parts:
    """Read ``folder:PATH``, or ``folder`` in `data_dir`: image files in folders of their classes.

    Folders named after splits are the splits. Links that leave the folder, and links to folders,
    are not followed.
    """
    path = request.path
    if request.name == "folder":
        if request.data_dir is None:
            raise ValueError("data_dir must name a folder of images for the data set folder")
        path = request.data_dir
    top = Path(path).expanduser()
    if not path or not top.is_dir():
        raise ValueError(f"{path!r} is not a folder")
    root = top.resolve()
    children = {
        entry.name.lower(): Path(entry.path) for entry in _visible(root) if _is_folder(entry)
    }
    held = [key for key in HELD_OUT if key in children]
    # Not just any folder of that name is a split: trains are a class of things, too.
    if "train" not in children or (not held and len(children) > 1):
        return Parts(_folder_part(root, root, None, request))
    train = _folder_part(root, children.pop("train"), None, request)
    test, validation = (
        None if key is None else _folder_part(root, children.pop(key), train.class_names, request)
        for key in choose_held_out(held)
    )
    return Parts(train, test, validation, {"ignored": ", ".join(children)} if children else {})


def _folder_part(
    root: Path,
    folder: Path,
    class_names: tuple[str, ...] | None,
    request: Request,
) -> EncodedImages:
    """List one split. `class_names` are those of the training split, or None if this is it."""
    bad: list[BadRecord] = []
    loose = _images_below(root, folder, bad, deep=False)
    listed = {
        entry.name: _images_below(root, Path(entry.path), bad, deep=True)
        for entry in _visible(folder)
        if _is_folder(entry)
    }
    request.ledger.add(bad)
    if not loose and not any(listed.values()):
        raise ValueError(f"{folder} has no images ({' '.join(EXTENSIONS)})")
    if loose and listed:
        raise ValueError(
            f"{folder} holds {len(loose)} images beside class folders (the first is "
            f"{os.path.basename(loose[0])!r}): move them into a class, or all images out of classes"
        )
    if empty := [name for name, files in listed.items() if not files]:
        raise ValueError(f"{folder} has classes without images: {', '.join(map(repr, empty))}")
    names = tuple(listed) if class_names is None else class_names
    if unknown := [name for name in listed if name not in names]:
        raise ValueError(f"{folder} has classes unknown to train: {', '.join(map(repr, unknown))}")
    paths = loose + [file for files in listed.values() for file in files]
    labels = [-1] * len(loose) + [names.index(n) for n, files in listed.items() for _ in files]

    def fetch(records: list[int]) -> list[Encoded]:
        return [(paths[i], labels[i]) for i in records]

    return request.encoded(
        fetch,
        lambda i: repr(os.path.relpath(paths[i], root)),
        len(paths),
        labels=np.array(labels, np.int32),
        channels=3,
        class_names=names,
    )


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


def _images_below(root: Path, folder: Path, bad: list[BadRecord], *, deep: bool) -> list[str]:
    """Paths of the images in a folder, and below it if `deep`; `bad` gets what must not be read."""
    found, folders = [], [folder]
    while folders:
        for entry in _visible(folders.pop()):
            is_image = os.path.splitext(entry.name)[1].lower() in EXTENSIONS
            reason = ""
            if entry.is_symlink():
                target = Path(os.path.realpath(entry.path))
                if target.is_dir():
                    reason = "a link to a folder, not followed"
                elif is_image and not target.is_relative_to(root):
                    reason = "a link out of the folder, not followed"
                elif is_image and not target.is_file():
                    reason = "a broken link"
            elif _is_folder(entry):
                folders += [Path(entry.path)] if deep else []
                continue
            elif is_image and not entry.is_file():
                reason = "not a file"  # reading a pipe might never end
            if reason:
                bad.append(BadRecord(repr(os.path.relpath(entry.path, root)), reason))
            elif is_image:
                found.append(entry.path)
    return sorted(found)
