"""LeJEPA pretraining on images, as a task of the training loop."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.views import eval_view, make_views
from lejepa_jax.checks import check_positive
from lejepa_jax.data import loading as data
from lejepa_jax.data.splits import Splits
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.tasks.joint_embedding import Modality, ObjectiveConfig, joint_embedding
from lejepa_jax.training.task import Batch, Task

# Pictures larger than this are shrunk for the probes on raw pixels, which would not fit in memory.
_MAX_PIXEL_SIDE = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingConfig(ObjectiveConfig):
    """What to pretrain on images, and how.

    Attributes:
        image_size: Side at which images are stored and put on the devices, in pixels.
        encoder: Makes an encoder from `in_channels`, `dtype`, `axis_name` and `rngs`.
        encoding: Handed to the encoder as `position`, such as "spherical" to a `ViT`; None leaves
            the encoder's own.
        views: What views to make; the global ones first.
        eval_size: Side of the images the probes see, in pixels.
        eval_crop: Part of the shorter side the probes see.

    Raises:
        ValueError: For a value out of range, or more global views than views.
    """

    evaluation_only: ClassVar[frozenset[str]] = ObjectiveConfig.evaluation_only | {
        "eval_size",
        "eval_crop",
    }

    image_size: int
    encoder: Callable[..., Any]
    views: tuple[ViewSpec, ...]
    encoding: str | None = None
    eval_size: int = 32
    eval_crop: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_positive("image_size", self.image_size)
        check_positive("eval_size", self.eval_size)
        if not 0 < self.eval_crop <= 1:
            raise ValueError(f"eval_crop must be above 0 and at most 1, got {self.eval_crop}")
        num_views = sum(spec.count for spec in self.views)
        if self.num_global > num_views:
            raise ValueError(
                f"num_global must be between 1 and {num_views} views, got {self.num_global}"
            )

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load images; see `lejepa_jax.data.loading.load`."""
        return data.load(
            name,
            image_size=self.image_size,
            data_dir=data_dir,
            holdout=holdout,
            max_bad_records=max_bad_records,
        )

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `lejepa_pretraining`."""
        return lejepa_pretraining(
            self, channels=splits.train.channels, dtype=dtype, axis_name=axis_name
        )


def lejepa_pretraining(
    config: PretrainingConfig,
    *,
    channels: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of LeJEPA pretraining on images; see `joint_embedding`.

    Args:
        config: What to pretrain.
        channels: Channels of the images, 1 or 3.
        dtype: Type in which the networks compute; parameters and statistics are float32.
        axis_name: Mapped axis over which batches are spread; None where the compiler spreads them.

    Returns:
        The task. Batches are those of `lejepa_jax.data.loading`: `image`, `index` and `aspect`.

    Examples:
        >>> from functools import partial
        >>> from lejepa_jax.augment.presets import digits_view
        >>> from lejepa_jax.nn.residual_network import ResNet
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

    def views(keys: jax.Array, batch: Batch):
        return make_views(keys, batch["image"], config.views, aspect=batch["aspect"])

    def seen(batch: Batch) -> jax.Array:
        mean, std = config.views[0].mean, config.views[0].std
        return eval_view(
            batch["image"],
            config.eval_size,
            mean=mean,
            std=std,
            aspect=batch["aspect"],
            crop=config.eval_crop,
        )

    def pixels(batch: Batch) -> jax.Array:
        side = min(config.eval_size, _MAX_PIXEL_SIDE)
        small = eval_view(batch["image"], side, aspect=batch["aspect"], crop=config.eval_crop)
        return small.reshape(small.shape[0], -1)

    modality = Modality(
        views=views,
        seen={"": seen},
        raw=pixels,
        raw_name="pixels",
        pictures=lambda source, index: source.gather(index)["image"],
    )

    def encoder(**options: Any) -> Any:
        if config.encoding is not None:
            options["position"] = config.encoding
        return config.encoder(in_channels=channels, **options)

    return joint_embedding(config, modality, encoder, dtype=dtype, axis_name=axis_name)
