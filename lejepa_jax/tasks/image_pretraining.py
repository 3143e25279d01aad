"""LeJEPA pretraining on images, as a task of the training loop."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.view_sets import views_by_name
from lejepa_jax.augment.views import make_views
from lejepa_jax.data.splits import Splits
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.tasks.dense_probing import segmented_shapes
from lejepa_jax.tasks.images import ImageConfig, pixel_rows
from lejepa_jax.tasks.joint_embedding import joint_embedding_task
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.tasks.pretraining import kept_parts
from lejepa_jax.training.task import Batch, Kept, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingConfig(ImageConfig, ObjectiveConfig):
    """What to pretrain on images, and how.

    Attributes:
        views: What views to make, the global ones first; or the name of a set of views, alone or
            called with options: `scans`, `photographs(count=2, size=96, local=6)`.
        dense_probe: Also segment drawn shapes by a linear probe of the patch features, of an
            encoder that has them.

    Raises:
        ValueError: For a value out of range, or more global views than views.
    """

    evaluation_only: ClassVar[frozenset[str]] = (
        ImageConfig.evaluation_only | ObjectiveConfig.evaluation_only | {"dense_probe"}
    )

    views: str | tuple[ViewSpec, ...]
    dense_probe: bool = False

    def __post_init__(self):
        ImageConfig.__post_init__(self)
        ObjectiveConfig.__post_init__(self)
        self.check_views(sum(spec.count for spec in self.view_specs))

    @property
    def view_specs(self) -> tuple[ViewSpec, ...]:
        """The views, made from their name if that is what there is."""
        return views_by_name(self.views) if isinstance(self.views, str) else self.views

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `lejepa_pretraining`."""
        task = lejepa_pretraining(
            self, channels=splits.train.channels, dtype=dtype, axis_name=axis_name
        )
        return task._replace(kept=self.kept(splits))

    def kept(self, splits: Splits) -> Kept:
        """Say what a run on these images leaves behind."""
        encoder = self.encoder_maker(in_channels=splits.train.channels)
        return kept_parts(self, encoder, self.preprocessing(self.view_specs[0], splits))


def lejepa_pretraining(
    config: PretrainingConfig,
    *,
    channels: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of LeJEPA pretraining on images; see `joint_embedding_task`.

    Args:
        config: What to pretrain.
        channels: Channels of the images, 1 or 3.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. Batches are those of `lejepa_jax.data`: `image`, `index` and `aspect`.

    Examples:
        >>> from functools import partial
        >>> from lejepa_jax.augment import digits_view
        >>> from lejepa_jax.nn import ResNet
        >>> tiny = partial(ResNet, stage_sizes=(1,), width=4, stem="small")
        >>> config = PretrainingConfig(image_size=8, encoder=tiny, views=(digits_view(2, 8),),
        ...     num_global=2, embedding_features=4, hidden_features=8, num_slices=8)
        >>> task = lejepa_pretraining(config, channels=1)
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1), jnp.uint8), "index": jnp.arange(4),
        ...     "aspect": jnp.ones(4)}
        >>> variables = jax.eval_shape(task.init, jax.random.key(0))
        >>> features, _ = jax.eval_shape(task.encode, *variables, jax.random.key(1), batch)
        >>> features.shape
        (4, 2, 4)

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Section 5.1 and Algorithm 2.
    """
    modality = image_modality(config, channels=channels)
    encoder = config.encoder_maker(in_channels=channels)
    return joint_embedding_task(config, modality, encoder, dtype=dtype, axis_name=axis_name)


def image_modality(config: PretrainingConfig, *, channels: int) -> Modality:
    """Say how pretraining views images, and what its probes compare with.

    Args:
        config: What to pretrain.
        channels: Channels of the images, 1 or 3.

    Returns:
        The modality.
    """
    specs = config.view_specs

    def views(keys: jax.Array, batch: Batch):
        return make_views(keys, batch["image"], specs, aspect=batch["aspect"])

    return Modality(
        views=views,
        eval_inputs={"": lambda batch: config.eval_inputs(batch, specs[0])},
        raw=functools.partial(pixel_rows, size=config.eval_size, crop=config.eval_crop),
        raw_name="pixels",
        pictures=lambda source, index: source.gather(index)["image"],
        segmented=functools.partial(segmented_shapes, config.eval_size, channels)
        if config.dense_probe
        else None,
    )
