"""Archives of arrays."""

import functools
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lejepa_jax.data.images.arrays import from_arrays
from lejepa_jax.data.reading import Request
from lejepa_jax.data.source import Origin, numbered_classes
from lejepa_jax.data.splits import Parts


def read_npz(request: Request) -> Parts:
    """Read ``npz:PATH``: images and labels as arrays, for each split or together.

    The table of `lejepa_jax.data.loading.load` has their names. Nothing is unpickled.
    """
    path, memory_limit = request.path, request.options.memory_limit
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{path!r} is not a file")
    try:
        with zipfile.ZipFile(file) as archive:
            # What the archive says it unpacks to; more than that is never read from it.
            unpacked = sum(member.file_size for member in archive.infolist())
            version = " ".join(f"{m.filename} {m.CRC:08x}" for m in archive.infolist())
        if unpacked > memory_limit:
            raise ValueError(
                f"it unpacks to {unpacked} bytes, more than memory_limit={memory_limit}"
            )
        with np.load(file, allow_pickle=False) as members:
            arrays = {key.lower(): members[key] for key in members.files}
        pairs = {
            "train": _npz_pair(arrays, "train") or _npz_pair(arrays, ""),
            "test": _npz_pair(arrays, "test"),
            "val": _npz_pair(arrays, "val") or _npz_pair(arrays, "validation"),
        }
        if pairs["train"] is None:
            raise ValueError(
                "it needs images (and labels), or x_train (and y_train), or train_images "
                f"(and train_labels), got {', '.join(sorted(arrays)) or 'nothing'}"
            )
        names = arrays.get("class_names")
        if names is None:
            # The splits share their classes, even one that not all of them hold.
            every = [labels for _, labels in filter(None, pairs.values()) if labels is not None]
            names = np.array(numbered_classes(np.concatenate([*every, np.array([-1])])))
        # The arrays are their own place; the archive keeps a checksum of each.
        origin = Origin(str, None, hashlib.sha256(version.encode()).hexdigest()[:32])
        build = functools.partial(
            from_arrays,
            image_size=request.image_size,
            class_names=names.astype(str).ravel().tolist(),
            origin=origin,
        )
        train = build(*pairs["train"])
        test, validation = (None if p is None else build(*p) for p in (pairs["test"], pairs["val"]))
    except Exception as error:  # damaged and hostile archives raise errors of all kinds
        raise ValueError(f"{path!r} is not an .npz of images: {error}") from error
    # Without a test part the validation part is the best that is held out, as for folders and TFDS.
    if test is None:
        test, validation = validation, None
    return Parts(train, test, validation)


def _npz_pair(
    arrays: Mapping[str, np.ndarray], part: str
) -> tuple[np.ndarray, np.ndarray | None] | None:
    spellings = ((f"{part}_images", f"{part}_labels"), (f"x_{part}", f"y_{part}"))
    for images_key, labels_key in spellings if part else (("images", "labels"), ("x", "y")):
        if images_key not in arrays:
            continue
        images, labels = arrays[images_key], arrays.get(labels_key)
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise ValueError(
                f"{images_key} must be uint8 of shape (n, h, w) or (n, h, w, c), "
                f"scaled to 0 to 255, got {images.dtype} of shape {images.shape}"
            )
        if labels is not None and labels.dtype.kind not in "iu":
            raise ValueError(f"{labels_key} must be integers, got {labels.dtype}")
        if labels is not None and labels.shape == (len(images), 1):
            labels = labels[:, 0]
        return images, None if labels is None else labels.astype(np.int64)
    return None
