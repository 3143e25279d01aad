"""What a model is given: how images or clouds of people become what its encoder sees."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from jaxtyping import Array, Float

from lejepa_jax.augment.fields.specs import FieldView
from lejepa_jax.augment.fields.views import eval_field
from lejepa_jax.augment.specs import channel_statistics, check_statistics
from lejepa_jax.augment.views import eval_view
from lejepa_jax.checks import check_choice
from lejepa_jax.data.fields.normalization import Normalization
from lejepa_jax.data.fields.source import KEPT_TYPES, check_channel_names
from lejepa_jax.data.images.levels import parse_data_range
from lejepa_jax.nn.channels import place_channels
from lejepa_jax.nn.fields import Field, Values

#: Sides of images and points of clouds beyond these are refused before anything is allocated.
MAX_SIDE, MAX_BATCH, MAX_POINTS = 2**14, 2**16, 2**22
# Pixels of one batch as the encoder sees it.
_MAX_BATCH_VALUES = 2**31


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagePreprocessing:
    """How images reach an encoder, as they did in the evaluation of the run.

    Attributes:
        channels: 1 (gray) or 3 (RGB).
        image_size: Side to which an image is squashed when it is read, in pixels.
        eval_size: Side of what the encoder sees.
        crop: Part of the shorter side that it sees.
        mean: Subtracted from each channel, whose values are in [0, 1].
        std: Divided by, likewise.
        data_range: Which values of files of more than 8 bits become 0 and 255, see `DataOptions`.
        batch_size: Images at a time, over all devices.

    Raises:
        ValueError: For a value out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> preprocessing = ImagePreprocessing(channels=1, image_size=8, eval_size=8)
        >>> batch = {"image": jnp.zeros((2, 8, 8, 1), jnp.uint8), "aspect": jnp.ones(2)}
        >>> preprocessing.inputs(batch).shape
        (2, 8, 8, 1)
    """

    kind: Literal["images"] = "images"
    channels: int
    image_size: int
    eval_size: int
    crop: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    data_range: str = "type"
    batch_size: int = 500

    def __post_init__(self):
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")
        _check_between("image_size", self.image_size, MAX_SIDE)
        _check_between("eval_size", self.eval_size, MAX_SIDE)
        _check_between("batch_size", self.batch_size, MAX_BATCH)
        values = self.batch_size * max(self.image_size, self.eval_size) ** 2 * self.channels
        if values > _MAX_BATCH_VALUES:
            raise ValueError(f"a batch must have at most {_MAX_BATCH_VALUES} values, got {values}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be above 0 and at most 1, got {self.crop}")
        check_statistics(self.mean, self.std)
        channel_statistics(self.mean, self.std, self.channels)
        parse_data_range(self.data_range)

    def inputs(self, batch: Mapping[str, Array]) -> Float[Array, "b s s c"]:
        """Make what the encoder sees of a batch of a source of images."""
        return eval_view(
            batch["image"],
            self.eval_size,
            mean=self.mean,
            std=self.std,
            aspect=batch["aspect"],
            crop=self.crop,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CloudPreprocessing:
    """How clouds of points reach an encoder: about their centroid, with radius 1.

    Attributes:
        num_points: Points of a cloud in the evaluation of the run; clouds may have any number.
        normals: Whether the encoder gets normals.
        batch_size: Clouds at a time, over all devices.

    Raises:
        ValueError: For a value out of range.
    """

    kind: Literal["clouds"] = "clouds"
    num_points: int
    normals: bool = False
    batch_size: int = 60

    def __post_init__(self):
        _check_between("num_points", self.num_points, MAX_POINTS)
        _check_between("batch_size", self.batch_size, MAX_BATCH)

    def inputs(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Make the arguments of the encoder from a batch of a source of clouds."""
        found = {"points": batch["points"]}
        if self.normals:
            found["normals"] = batch["normals"]
        if "exists" in batch:
            found["mask"] = batch["exists"]
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldPreprocessing:
    """How series, planes and volumes reach an encoder, as they did in the evaluation of the run.

    Attributes:
        stored_size: Samples along each axis that are stored; of larger fields the middle is kept.
        eval_size: Samples along each axis that the encoder sees.
        mean: Of each channel of the training part.
        std: Likewise.
        low: Smallest value, or the percentile that lower ones are clipped to.
        high: Largest value, or the percentile that higher ones are clipped to.
        clip: Whether they are.
        missing: A value that stands for none, beside NaN; empty for no such value.
        fit: "resize", "pad" or "sphere", see `lejepa_jax.augment.fields.eval_field`.
        weigh: Whether the encoder gets the measure of the samples.
        dtype: Type of the data trained on; other numbers are taken as they are.
        spacing: Distance of two samples along each axis in the data trained on, if it was known.
        channel_names: Of the channels, if they have names.
        batch_size: Fields at a time, over all devices.

    Raises:
        ValueError: For a value out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> own = FieldPreprocessing(stored_size=(8,), eval_size=(4,), mean=(0.0,), std=(1.0,),
        ...     low=(0.0,), high=(1.0,))
        >>> own.inputs({"values": jnp.ones((2, 8, 1)), "extent": jnp.full((2, 1), 8)}).values.shape
        (2, 4, 1)
    """

    kind: Literal["fields"] = "fields"
    stored_size: tuple[int, ...]
    eval_size: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    clip: bool = False
    missing: tuple[float, ...] = ()
    fit: Any = "resize"
    weigh: bool = True
    dtype: str = "float32"
    spacing: tuple[float, ...] = ()
    channel_names: tuple[str, ...] = ()
    batch_size: int = 500

    def __post_init__(self):
        if self.fit not in ("resize", "pad", "sphere"):
            raise ValueError(f"fit must be resize, pad or sphere, got {self.fit!r}")
        seen = FieldView(1, self.eval_size, fit=self.fit).sides(len(self.stored_size))
        if not 1 <= len(self.stored_size) <= 3 or len(seen) != len(self.eval_size):
            raise ValueError(f"stored_size must be 1 to 3 sizes, got {self.stored_size}")
        for name in ("stored_size", "eval_size"):
            for side in getattr(self, name):
                _check_between(name, side, MAX_POINTS)
            values = self.batch_size * math.prod(getattr(self, name)) * len(self.mean)
            if values > _MAX_BATCH_VALUES:
                raise ValueError(f"a batch must have at most {_MAX_BATCH_VALUES} values")
        _check_between("batch_size", self.batch_size, MAX_BATCH)
        if len(self.missing) > 1:
            raise ValueError(f"missing must be at most one number, got {self.missing}")
        check_choice("dtype", self.dtype, KEPT_TYPES)
        check_channel_names(self.channel_names, len(self.mean))
        _ = self.normalization

    @property
    def normalization(self) -> Normalization:
        """What is done to the values of each channel."""
        return Normalization(
            mean=self.mean,
            std=self.std,
            low=self.low,
            high=self.high,
            clip=self.clip,
            missing=self.missing[0] if self.missing else None,
        )

    def whole(self, batch: Mapping[str, Array], turns: Array | None = None) -> Field:
        """Normalize a batch of a source of fields, with the measure of the samples.

        Args:
            batch: The fields; with `channels` (b c) where they have a part of the channels.
            turns: Rotations of spheres (b 3 3).
        """
        own, size, channels = self.normalization, self.eval_size, batch.get("channels")
        options = {"fit": self.fit, "turns": turns, "channels": channels}
        return eval_field(batch["values"], batch["extent"], size, own, **options)

    def inputs(self, batch: Mapping[str, Array]) -> Values | Field:
        """Make what the encoder sees of a batch of a source of fields."""
        found = self.whole(batch)
        if self.weigh:
            return found
        if found.channels is None:
            return found.values
        return place_channels(found.values, found.channels, len(self.mean))


Preprocessing = ImagePreprocessing | CloudPreprocessing | FieldPreprocessing
_KINDS: Mapping[str, type] = {
    "images": ImagePreprocessing,
    "clouds": CloudPreprocessing,
    "fields": FieldPreprocessing,
}
# Channels of a field, the longest list that is read.
_MAX_LISTED = 4096


def read_preprocessing(found: Any) -> Preprocessing:
    """Read what `dataclasses.asdict` of a preprocessing became in JSON.

    Args:
        found: A dictionary, maybe from a file that somebody else made.

    Returns:
        The preprocessing.

    Raises:
        ValueError: If a field is missing, unknown, of another type or out of range.

    Examples:
        >>> read_preprocessing({"kind": "clouds", "num_points": 64}).batch_size
        60
    """
    kind = found.get("kind") if isinstance(found, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"preprocessing must be of the kind {' or '.join(_KINDS)}")
    fields = {field.name: field for field in dataclasses.fields(_KINDS[kind])}
    values = {}
    for name, value in found.items():
        if name not in fields:
            raise ValueError(f"preprocessing has no field {str(name)[:80]!r}")
        values[name] = _read_field(name, value, fields[name].type)
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"preprocessing lacks {', '.join(missing)}")
    return _KINDS[kind](**values)


def _read_field(name: str, value: Any, wanted: Any) -> Any:
    if wanted == tuple[int, ...] and isinstance(value, list) and len(value) <= 3:
        if all(type(x) is int for x in value):
            return tuple(value)
    elif wanted == tuple[float, ...] and isinstance(value, list) and len(value) <= _MAX_LISTED:
        if all(isinstance(x, int | float) and math.isfinite(x) for x in value):
            return tuple(float(x) for x in value)
    elif wanted == tuple[str, ...] and isinstance(value, list) and len(value) <= _MAX_LISTED:
        if all(isinstance(x, str) for x in value):
            return tuple(value)
    elif wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is (wanted if wanted in (int, bool) else str):
        return value
    raise ValueError(f"preprocessing has a field {name} of another type, got {str(value)[:80]!r}")


def _check_between(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise ValueError(f"{name} must be between 1 and {most}, got {value}")
