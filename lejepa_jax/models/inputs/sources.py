"""What people give to a model of any kind, as a source of examples."""

from collections.abc import Collection, Sequence
from typing import Any

from lejepa_jax.data.fields.readers.formats import FORMATS
from lejepa_jax.data.fields.source import FieldsOnDemand
from lejepa_jax.data.images.decoding import EXTENSIONS
from lejepa_jax.data.images.encoded import EncodedImages
from lejepa_jax.data.source import Source
from lejepa_jax.models.inputs.clouds import clouds_source
from lejepa_jax.models.inputs.fields import field_files_source, fields_source
from lejepa_jax.models.inputs.images import image_files_source, images_source
from lejepa_jax.models.preprocessing import (
    CloudPreprocessing,
    FieldPreprocessing,
    ImagePreprocessing,
    Preprocessing,
)


def batch_source(
    inputs: Any, preprocessing: Preprocessing, channels: Sequence[int | str | None] | None = None
) -> tuple[Source, int]:
    """Make a source of what was given to a model.

    Args:
        inputs: See `Model.__call__`.
        preprocessing: Of the model.
        channels: Likewise.

    Returns:
        The source and the number of its examples.

    Raises:
        ValueError: If something is no image, cloud or field, or does not fit the model.
    """
    if channels is not None and not isinstance(preprocessing, FieldPreprocessing):
        raise ValueError(f"channels are of models of fields, got one of {preprocessing.kind}")
    if isinstance(preprocessing, CloudPreprocessing):
        source = clouds_source(inputs, preprocessing)
    elif isinstance(preprocessing, FieldPreprocessing):
        source = fields_source(inputs, preprocessing, channels)
    else:
        source = images_source(inputs, preprocessing)
    return source, len(source)


def require_files(preprocessing: Preprocessing, what: str) -> Collection[str]:
    """Give the endings of the files that a model reads.

    Args:
        preprocessing: Of the model.
        what: What is asked for, for the error.

    Returns:
        Endings, in lower case and with the dot.

    Raises:
        ValueError: If the model is of clouds.
    """
    if isinstance(preprocessing, ImagePreprocessing):
        return EXTENSIONS
    if isinstance(preprocessing, FieldPreprocessing):
        return tuple(FORMATS)
    raise ValueError(
        f"{what} is for models of images or fields, got one of {preprocessing.kind}: load it in "
        "Python and call it with arrays"
    )


def axes_of(preprocessing: Preprocessing) -> int | None:
    """Axes along which the fields of a model are stored; None of other models."""
    return len(preprocessing.stored_size) if isinstance(preprocessing, FieldPreprocessing) else None


def files_source(
    files: Sequence[str],
    names: Sequence[str],
    preprocessing: Preprocessing,
    *,
    max_bad_records: int = 0,
) -> EncodedImages | FieldsOnDemand:
    """Make a source of files that are read when they are asked for, in threads.

    Args:
        files: Paths.
        names: What each is called in messages.
        preprocessing: Of the model.
        max_bad_records: How many may be unreadable.

    Returns:
        The source, without labels.

    Raises:
        ValueError: If the model is of clouds.
    """
    require_files(preprocessing, "a folder")
    if isinstance(preprocessing, FieldPreprocessing):
        return field_files_source(files, names, preprocessing, max_bad_records=max_bad_records)
    assert isinstance(preprocessing, ImagePreprocessing)
    return image_files_source(files, names, preprocessing, max_bad_records=max_bad_records)
