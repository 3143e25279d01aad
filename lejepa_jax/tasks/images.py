"""What tasks on images share: how images are stored, shown to an encoder, and loaded."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import jax
import numpy as np
from jaxtyping import Array, Float

from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.views import eval_view
from lejepa_jax.checks import check_positive
from lejepa_jax.data.loading import load
from lejepa_jax.data.reading import DataOptions
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch, fetch
from lejepa_jax.nn.encoder import HasPatches, encoder_by_name
from lejepa_jax.training.networks import Network, Variables
from lejepa_jax.training.task import Batch

# Side of the pictures whose pixels are probed.
_MAX_PIXEL_SIDE = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What a task has to know of images and of the encoder that sees them.

    Attributes:
        image_size: Side at which images are stored and put on the devices, in pixels.
        encoder: Makes an encoder from `in_channels`, `dtype`, `axis_name` and `rngs`; or the name
            of one, alone or called with options: `resnet18`, `vit-S(patch_size=8)`.
        encoding: Handed to the encoder as `position`: a name of `rope_jax.ENCODINGS`, alone or
            called with options. None leaves the encoder's own.
        eval_size: Side of the images in evaluation, in pixels.
        eval_crop: Part of the shorter side that is seen in evaluation.
        eval_batch_size: Images at a time in evaluation.
        data_options: How the data set is read.

    Raises:
        ValueError: For a value out of range.
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {"eval_size", "eval_crop", "eval_batch_size"}
    )

    image_size: int
    encoder: str | Callable[..., Any]
    encoding: str | None = None
    eval_size: int = 32
    eval_crop: float = 1.0
    eval_batch_size: int = 500
    data_options: DataOptions = dataclasses.field(default_factory=DataOptions)

    def __post_init__(self):
        for name in ("image_size", "eval_size", "eval_batch_size"):
            check_positive(name, getattr(self, name))
        if not 0 < self.eval_crop <= 1:
            raise ValueError(f"eval_crop must be above 0 and at most 1, got {self.eval_crop}")
        if isinstance(self.encoder, str):
            encoder_by_name(self.encoder)

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load images; see `lejepa_jax.data.load`."""
        return load(
            name,
            image_size=self.image_size,
            data_dir=data_dir,
            holdout=holdout,
            max_bad_records=max_bad_records,
            options=self.data_options,
        )

    def encoder_maker(self, *, in_channels: int) -> Callable[..., Any]:
        """Bind what is known of the encoder; `dtype`, `axis_name` and `rngs` are still wanted.

        Args:
            in_channels: Channels of the images.

        Returns:
            What makes it, with the position encoding of this configuration if there is one.
        """
        position = {} if self.encoding is None else {"position": self.encoding}
        make = self.encoder
        if isinstance(make, str):
            make = encoder_by_name(make, image_size=self.eval_size)
        return functools.partial(make, in_channels=in_channels, **position)

    def preprocessing(self, like: ViewSpec, splits: Splits) -> dict[str, Any]:
        """Say what `eval_inputs` does to the images of a data set, as JSON can hold it.

        Args:
            like: The view whose statistics normalize.
            splits: The data.

        Returns:
            Fields of `lejepa_jax.models.preprocessing.ImagePreprocessing`.
        """
        return {
            "kind": "images",
            "channels": splits.train.channels,
            "image_size": self.image_size,
            "eval_size": self.eval_size,
            "crop": self.eval_crop,
            "mean": list(like.mean),
            "std": list(like.std),
            "data_range": splits.train.data_range,
            "batch_size": self.eval_batch_size,
        }

    def eval_inputs(
        self, batch: Batch, like: ViewSpec, size: int | None = None
    ) -> Float[Array, "b s s c"]:
        """Make what an encoder sees of a batch in evaluation, normalized as a view is."""
        return eval_view(
            batch["image"],
            self.eval_size if size is None else size,
            mean=like.mean,
            std=like.std,
            aspect=batch["aspect"],
            crop=self.eval_crop,
        )


def pixel_rows(batch: Batch, *, size: int, crop: float) -> Float[Array, "b d"]:
    """Lay the pixels out as rows: what the probes of an encoder have to beat.

    Args:
        batch: Images.
        size: Side of what the encoder sees; larger ones are shrunk, or they would not fit in
            memory.
        crop: Part of the shorter side that is seen.

    Returns:
        A row an image.
    """
    side = min(size, _MAX_PIXEL_SIDE)
    small = eval_view(batch["image"], side, aspect=batch["aspect"], crop=crop)
    return small.reshape(small.shape[0], -1)


def patch_maps(
    net: Network,
    eval_inputs: Callable[[Batch], Any],
    variables: Variables,
    examples: Mapping[str, np.ndarray],
    shard_batch: ShardBatch,
) -> Float[np.ndarray, "b gh gw d"] | None:
    """Compute the patch features of a few examples, if the encoder has any; in every process.

    Args:
        net: A network with an `encoder`.
        eval_inputs: What the encoder sees of a batch.
        variables: Of the network.
        examples: A batch, as `Source.gather` gives it.
        shard_batch: Puts it on the devices.

    Returns:
        Features (b, gh, gw, d) on the host, or None.
    """
    if not isinstance(net.shape.encoder, HasPatches):
        return None

    @jax.jit
    def patches(variables: Variables, batch: Batch) -> Array:
        return net.merge(*variables).encoder.patch_features(eval_inputs(batch))

    found = patches(variables, shard_batch(examples))
    return fetch(found) if found.ndim == 4 else None  # pictures have two axes
