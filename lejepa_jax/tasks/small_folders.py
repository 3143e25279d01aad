"""LeJEPA on a folder of one's own, with settings that its images decide."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Literal

import jax.numpy as jnp
from jax.typing import DTypeLike

from lejepa_jax.augment.presets import cifar_view, digits_view
from lejepa_jax.augment.sheet import view_table
from lejepa_jax.data.images.encoded import EncodedImages
from lejepa_jax.data.loading import load
from lejepa_jax.data.reading import DataOptions
from lejepa_jax.data.splits import Splits
from lejepa_jax.nn.convolutions.residual_network import ResNet
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.tasks.image_pretraining import PretrainingConfig
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.training.task import Task

if TYPE_CHECKING:
    from PIL.Image import Image

#: Sides at which images are stored. The first that is as large as the images are is taken.
SIDES = (8, 16, 32, 72)
# Where the data set does not say how large its images are.
_UNKNOWN = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmallFolderConfig(ObjectiveConfig):
    """What to pretrain on a few thousand images, whatever they are.

    Sizes, encoder and views follow from the shorter side of the images and from whether all are
    gray, see `suited_config`.

    Attributes:
        data_options: How the data set is read.

    Raises:
        ValueError: For a value out of range.
    """

    num_global: int = 4
    trade_off: float = 0.02
    num_slices: int = 512
    max_probe_examples: int | None = 20_000
    data_options: DataOptions = dataclasses.field(default_factory=DataOptions)

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load images at the side that suits them; see `lejepa_jax.data.load`."""
        read = functools.partial(
            load, name, data_dir=data_dir, holdout=holdout, max_bad_records=max_bad_records
        )
        # Listed, not decoded: the headers of a few images are enough.
        options = dataclasses.replace(self.data_options, decode_at_once=False)
        listed = read(image_size=_UNKNOWN, options=options).train
        side = listed.typical_side() if isinstance(listed, EncodedImages) else None
        return read(image_size=suited_side(side or _UNKNOWN), options=self.data_options)

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task of the configuration that suits the images."""
        return self._suited(splits).build(splits, dtype=dtype, axis_name=axis_name)

    def draw_views(self, splits: Splits, *, seed: int, rows: int, tile: int) -> "Image":
        """Draw a table of views as training sees them."""
        views = self._suited(splits).view_specs
        return view_table(splits.train, views, seed=seed, rows=rows, tile=tile)

    def _suited(self, splits: Splits) -> PretrainingConfig:
        return suited_config(self, splits.train.image_size, gray=splits.train.channels == 1)


def suited_side(side: int) -> int:
    """Choose the side at which images are stored.

    Args:
        side: Shorter side of the images in pixels.

    Returns:
        One of `SIDES`.

    Examples:
        >>> [suited_side(side) for side in (8, 28, 500)]
        [8, 32, 72]
    """
    return next((stored for stored in SIDES if side <= stored), SIDES[-1])


def suited_config(config: SmallFolderConfig, image_size: int, *, gray: bool) -> PretrainingConfig:
    """Choose encoder, views and sizes for images of a side.

    Up to 16 pixels the encoder of the recipe `digits`, which keeps where things are; up to 32 that
    of `cifar10-small`; above, the same behind a stem that quarters the map. Gray images are turned
    and shifted a little and never mirrored, for they may be letters, digits or scans; images with
    colors are cropped, mirrored, and change their colors.

    Args:
        config: The options of the objective.
        image_size: Side at which the images are stored.
        gray: Whether all images are gray.

    Returns:
        The configuration.

    Examples:
        >>> suited_config(SmallFolderConfig(), 8, gray=True).view_specs[0].size
        12
    """
    crop, eval_size = {8: (12, 12), 16: (16, 16), 32: (24, 32), 72: (56, 72)}[image_size]
    if image_size <= 16:
        encoder = functools.partial(
            ResNet,
            stage_sizes=(1, 1, 1),
            width=16,
            stem="small",
            pooling="flatten",
            image_size=eval_size,
        )
    else:
        encoder = functools.partial(
            ResNet,
            stage_sizes=(0, 1, 1, 1),
            width=16,
            stage_widths=(16, 32, 64, 192),
            stem="small" if image_size <= 32 else "imagenet",
        )
    view = digits_view(4, crop) if gray else cifar_view(4, crop)
    shared = {
        field.name: getattr(config, field.name) for field in dataclasses.fields(ObjectiveConfig)
    }
    return PretrainingConfig(
        image_size=image_size,
        encoder=encoder,
        views=(view,),
        eval_size=eval_size,
        data_options=config.data_options,
        **shared,
    )
