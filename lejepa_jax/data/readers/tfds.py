"""Data sets of TensorFlow Datasets, read without TensorFlow."""

import contextlib
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lejepa_jax.checks import needs_extra
from lejepa_jax.data.images.encoded import Encoded, EncodedImages
from lejepa_jax.data.reading import HELD_OUT, Request, choose_held_out
from lejepa_jax.data.splits import Parts


def read_tfds(request: Request) -> Parts:
    """Read a TFDS name (``cifar10``, ``imagenette/320px-v2``) prepared as array_record."""
    with needs_extra("train"):
        import tensorflow_datasets as tfds

    name, options = request.name, request.options
    builder, info = _open(name, request.data_dir)
    features: Any = info.features
    supervised = info.supervised_keys or ()
    image_key = _feature_key(features, tfds.features.Image, "image", supervised[:1])
    label_key = _feature_key(features, tfds.features.ClassLabel, "label", supervised[1:2])
    if image_key is None or features[image_key].np_dtype != np.uint8:
        raise ValueError(f"{name} has no uint8 image feature: it has {', '.join(features)}")
    channels = options.channels or (1 if features[image_key].shape[-1] == 1 else 3)
    # Pillow decodes here as for every other kind of data set; tfds hands over the encoded bytes.
    skip: Any = tfds.decode.SkipDecoding
    encoded_only = {image_key: skip()}

    def part(split: str) -> EncodedImages:
        try:
            reader = builder.as_data_source(split=split, decoders=encoded_only)
        except NotImplementedError:
            raise ValueError(
                f"{name} in {builder.data_dir} is not stored as array_record, which random access "
                f"needs: run `tfds convert_format --dataset_dir={builder.data_dir} "
                "--out_file_format=array_record` once, where TensorFlow is installed"
            ) from None
        except Exception as error:
            raise ValueError(
                f"{name} has no split {split!r}: it has {', '.join(info.splits)}"
            ) from error
        if not len(reader):
            raise ValueError(f"{name} split {split!r} has no images")

        def fetch(records: list[int]) -> list[Encoded]:
            return [
                (
                    io.BytesIO(e[image_key]) if isinstance(e[image_key], bytes) else e[image_key],
                    -1 if label_key is None else int(e[label_key]),
                )
                for e in reader.__getitems__(records)
            ]

        return request.encoded(
            fetch,
            lambda i: f"{split}[{i}]",
            len(reader),
            labels=None,
            channels=channels,
            class_names=() if label_key is None else features[label_key].names,
            version=f"{builder.name} {info.version} {len(reader)}",
        )

    train = part(options.train_split or "train")
    if options.test_split is not None:
        return Parts(train, part(options.test_split), None, {"test": options.test_split})
    # Competitions publish a test part without labels (ImageNet's is one): that one goes last.
    held = sorted((s for s in HELD_OUT if s in info.splits), key=lambda s: _is_unlabeled(part(s)))
    test, validation = (None if key is None else part(key) for key in choose_held_out(held))
    known = dict(zip(("test", "validation"), choose_held_out(held), strict=True))
    return Parts(train, test, validation, {part: key for part, key in known.items() if key})


def _open(name: str, data_dir: str | None) -> tuple[Any, Any]:
    """Find what reads a prepared data set, and what is known of it; else one line says why not."""
    import tensorflow_datasets as tfds

    if data_dir is not None and not Path(data_dir).expanduser().is_dir():
        raise ValueError(f"data_dir must be a folder, got {data_dir!r}")
    unknown = f"unknown data set {name!r}: want digits, folder:PATH, npz:PATH or a TFDS name"
    if Path(name).expanduser().exists():
        unknown += f"; did you mean folder:{name}?"
    if not re.fullmatch(r"[a-z]\w*(/[\w.,=-]+)*(:[\d.*]+)?", name, re.ASCII):
        raise ValueError(unknown)
    where = None if data_dir is None else str(Path(data_dir).expanduser())
    looked_in = where or "the default data_dir"
    with _without_absl_warnings():
        try:
            builder: Any = tfds.builder(name, data_dir=where)
            prepared, info = builder.is_prepared(), builder.info
        except tfds.core.DatasetNotFoundError:
            raise ValueError(f"{unknown} (looked in {looked_in})") from None
        except Exception as error:  # a damaged description raises errors of all kinds
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"{name} cannot be opened in {looked_in}: {reason}") from error
    if not prepared:
        raise ValueError(
            f"{name} is not prepared in {builder.data_dir}: run `tfds build {name} "
            f"--file_format=array_record{f' --data_dir={where}' if where else ''}` once, where "
            "TensorFlow is installed; reading needs none"
        )
    return builder, info


def _feature_key(features: Any, kind: type, usual: str, first: tuple) -> str | None:
    """Name of the feature of a kind: the supervised one, else the usual name, else any."""
    keys = [key for key in features if isinstance(features[key], kind)]
    return next((key for key in (*first, usual, *keys) if key in keys), None)


def _is_unlabeled(source: EncodedImages) -> bool:
    return not source.num_classes or int(source[0]["label"]) < 0


@contextlib.contextmanager
def _without_absl_warnings() -> Iterator[None]:
    """A data set that is missing is said once, in one line, by us."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
