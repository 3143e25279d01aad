"""Data sets by name: a table of readers, and two sources of what one of them found.

Three layers, each usable without the next:

- `load` turns a name (``digits``, any TFDS name, ``folder:PATH``, ``npz:PATH``) into two
  `ImageSource`, one to train on and one held out.
- an `ImageSource` gives uint8 images of one size by index. Small data sets are decoded once and
  kept in memory; larger ones are read and decoded on demand, in threads.
- `batches` and `eval_batches` give stacked batches through grain. Batch `step` holds the same
  images whatever the number of processes, so its state is one integer and a run may resume on
  another number of machines.

Nothing read here is executed: no pickles, no links out of a folder, no decompression bombs. Only a
reader of the user's own, named as ``FILE.py:FUNCTION``, is a program. The heavy libraries (grain,
tensorflow-datasets, scikit-learn, Pillow) are imported by the functions that need them.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

from lejepa_jax.checks import check_choice
from lejepa_jax.data.images.encoded import ByteBudget, Decoding, EncodedImages
from lejepa_jax.data.images.levels import PERCENTILES, Scale, parse_data_range
from lejepa_jax.data.inspection import count_duplicates
from lejepa_jax.data.readers.digits import read_digits
from lejepa_jax.data.readers.folder import read_folder
from lejepa_jax.data.readers.npz import read_npz
from lejepa_jax.data.readers.tfds import read_tfds
from lejepa_jax.data.reading import DataOptions, Reader, Request
from lejepa_jax.data.records import Ledger
from lejepa_jax.data.source import ImageSource
from lejepa_jax.data.splits import Parts, Splits, hold_out

#: Readers by what the name of a data set says before its colon; any other name is one of TFDS.
READERS: Mapping[str, Reader] = MappingProxyType(
    {"digits": read_digits, "folder": read_folder, "npz": read_npz}
)


def load(
    name: str,
    *,
    image_size: int,
    data_dir: str | None = None,
    holdout: Literal["test", "validation"] = "test",
    max_bad_records: int = 0,
    options: DataOptions | None = None,
    reader: Reader | None = None,
) -> Splits:
    """Load a data set by name.

    ===============  =============================================================================
    ``digits``       scikit-learn's 1,797 handwritten digits, gray, 8 x 8, 500 of them held out.
    ``folder:PATH``  Images below PATH; with the name ``folder`` alone, below `data_dir`. Its
                     sub-folders are the classes, however deep the images lie in them; without
                     sub-folders there are no labels, unless a file ``labels.csv`` with the columns
                     ``file`` and ``label`` has them. Folders ``train`` and ``test`` (or
                     ``validation``, ``val``, ``valid``) are the splits. Links that leave PATH, and
                     links to folders, are not followed.
    ``npz:PATH``     Arrays ``images`` (n h w [c], uint8) and ``labels``, or a pair for each split
                     under ``x_train, y_train, x_test, ...`` or ``train_images, train_labels,
                     ...``; ``class_names`` if you like. A path that ends in .npz does too.
    ``FILE.py:F``    The function F of a Python file of your own, a `Reader`; what follows another
                     colon is its `Request.path`. The file is run.
    any other        A TFDS name (``cifar10``, ``imagenette/320px-v2``) prepared as array_record;
                     read without TensorFlow.
    ===============  =============================================================================

    Where a split is missing it is taken from the training images, stratified by class; where the
    labels are not known without reading everything, at random. Such splits are fixed: they depend
    on the data alone, on no seed.

    Images are squashed to a square, which the ``aspect`` of each tells how to undo. Images of a
    folder stay gray if all of them are, by what their headers declare, and of a TFDS set if it says
    so; else they become RGB. Transparency is laid over white, EXIF orientation is applied. Values
    of more than 8 bits are scaled by `DataOptions.data_range` and rounded. TIFF files of several
    pages or of other bands than gray or RGB are refused, since a part would be lost; of an animated
    GIF, PNG or WebP the first picture is taken. `Splits.info` says how many held-out images are
    trained on, if any.

    Args:
        name: See the table.
        image_size: Height and width of the images given out, in pixels.
        data_dir: The folder of images, or where TFDS data sets lie; by default
            ``TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.
        holdout: Which part `Splits.test` holds. With "validation" the test part is left alone: it
            is what to choose hyper-parameters on.
        max_bad_records: Unreadable images tolerated. Up to that many are skipped and listed in
            `ImageSource.bad_records`. In each process.
        options: How to read it, where the default does not fit.
        reader: A function of your own that reads the data set, whatever its name.

    Returns:
        The splits.

    Raises:
        ValueError: If the data set does not exist, has no images, an empty class, or more
            unreadable images than `max_bad_records`; always one line that names what is wrong.

    Examples:
        >>> splits = load("digits", image_size=8)
        >>> len(splits.train), len(splits.test), splits.train.channels
        (1297, 500, 1)
        >>> tuned = load("digits", image_size=8, holdout="validation")
        >>> len(tuned.train), len(tuned.test)
        (1038, 259)

        A reader of your own:

        >>> import numpy as np
        >>> from lejepa_jax.data.images.arrays import from_arrays
        >>> def squares(request):
        ...     images = np.random.default_rng(0).integers(0, 256, (10, 8, 8), np.uint8)
        ...     return Parts(from_arrays(images, image_size=request.image_size))
        >>> len(load("squares", image_size=4, reader=squares).train)
        8
    """
    if not image_size >= 1:
        raise ValueError(f"image_size must be positive, got {image_size}")
    check_choice("holdout", holdout, ("test", "validation"))
    options = DataOptions() if options is None else options
    data_range = parse_data_range(options.data_range)
    scale = Scale(data_range)
    threads = options.num_threads or min(16, 2 * (os.cpu_count() or 1))
    reader, path = (reader, name.partition(":")[2]) if reader else _find(name)
    if reader in READERS.values() and (options.train_split or options.test_split):
        raise ValueError(f"train_split and test_split are for TFDS data sets, got them for {name}")
    parts = reader(
        Request(
            name=name,
            path=path,
            image_size=image_size,
            data_dir=data_dir,
            options=options,
            decoding=Decoding(
                Ledger(name, max_bad_records, "images"),
                scale,
                ByteBudget(options.decode_limit),
                threads,
                ThreadPoolExecutor(threads, thread_name_prefix="decode"),
            ),
        )
    )
    if not isinstance(parts, Parts):
        raise ValueError(f"the reader of {name!r} must return Parts, got {type(parts).__name__}")
    used = data_range.kind
    if data_range.kind != "type":
        if not isinstance(parts.train, EncodedImages):
            raise ValueError(f"data_range is for image files, which {name} has none of")
        low, high = data_range.low, data_range.high
        if data_range.kind == "percentiles":
            low, high = parts.train.percentiles(PERCENTILES)
            scale.set_range(low, high)
        used = f"{low!r},{high!r}"
        info = {**parts.info, "data_range": f"values from {low:g} to {high:g} become 0 to 255"}
        parts = parts._replace(info=info)
    held = parts.test if holdout == "test" else parts.validation
    sources = [source for source in (parts.train, held) if source is not None]
    decoded = sum(len(s) * image_size**2 * s.channels for s in sources)

    def prepare(source: ImageSource) -> ImageSource:
        if options.decode_at_once and decoded <= options.memory_limit:
            return source.in_memory()
        if isinstance(source, EncodedImages):
            source.check()
        return source

    splits = hold_out(
        name,
        parts,
        holdout=holdout,
        test_fraction=options.test_fraction,
        prepare=prepare,
        noun="images",
    )
    for source in (splits.train, splits.test):
        source.data_range = used
    duplicates = count_duplicates(splits.train, splits.test)
    if duplicates == 0:
        return splits
    found = "not looked for, there is too much to read"
    if duplicates is not None:
        found = f"{duplicates} of {len(splits.test)} held-out images are trained on, too"
    return splits._replace(info={**splits.info, "duplicates": found})


def _find(name: str) -> tuple[Reader, str]:
    """Reader of a data set, and what the name says after the reader's."""
    if own := re.fullmatch(r"(.+\.py):(\w+)(?::(.*))?", name, re.DOTALL):
        return import_reader(own[1], own[2]), own[3] or ""
    kind, _, path = name.partition(":")
    if name.lower().endswith(".npz") and kind != "npz":
        return read_npz, name
    return READERS.get(kind, read_tfds), path


def import_reader(file: str, function: str) -> Reader:
    """Run a Python file of the user's own and take a function of it."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"{file!r} is not a file: it would be run for its function {function}")
    spec = importlib.util.spec_from_file_location(f"reader_{path.stem}", path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for themselves there
    spec.loader.exec_module(module)
    reader = getattr(module, function, None)
    if not callable(reader):
        raise ValueError(f"{file!r} has no function {function}")
    return cast(Reader, reader)
