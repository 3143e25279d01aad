"""Supervised image classification, as a task of the training loop."""

import dataclasses
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.augment.mixing import mix_pairs
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.views import make_views
from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.tasks.images import ImageConfig
from lejepa_jax.tasks.labeled.classifier import kept_classifier, keys_apart, labeled_task
from lejepa_jax.tasks.labeled.config import LabeledConfig, check_classes, few_of
from lejepa_jax.training.task import Batch, Task

# Views of an example and its stochastic depth count up from 0; what a pair draws is apart.
_PAIR = 2**21


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig(LabeledConfig, ImageConfig):
    """What to classify, and how; see `LabeledConfig` for what is not of images alone.

    Attributes:
        view: The one random view of an image to train on; its `count` must be 1.
        mixup: Parameter of the Beta distribution of mixing two images; 0 for none.
        cutmix: The same for pasting a box of one into another. With both, pairs draw which.

    Raises:
        ValueError: For a value out of range.

    References:
        H. Zhang et al., "mixup", arXiv 1710.09412, 2017. S. Yun et al., "CutMix", arXiv 1905.04899,
        2019.
    """

    evaluation_only: ClassVar[frozenset[str]] = (
        ImageConfig.evaluation_only | LabeledConfig.evaluation_only
    )

    view: ViewSpec
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        ImageConfig.__post_init__(self)
        self.check_labels()
        for name in ("mixup", "cutmix"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.view.count != 1:
            raise ValueError(f"view must draw 1 view of an image, got count={self.view.count}")

    @property
    def view_specs(self) -> tuple[ViewSpec, ...]:
        """The view to train on."""
        return (self.view,)

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load images, of which a few labeled ones may be all that is trained on."""
        splits = super().load(
            name, data_dir=data_dir, holdout=holdout, max_bad_records=max_bad_records
        )
        few = few_of(splits, self)
        few.train.data_range = splits.train.data_range
        return few

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `classification_task`."""
        check_classes(splits)
        task = classification_task(
            self,
            channels=splits.train.channels,
            num_classes=splits.train.num_classes,
            dtype=dtype,
            axis_name=axis_name,
        )
        encoder = self.encoder_maker(in_channels=splits.train.channels)
        return kept_classifier(task, self, encoder, self.preprocessing(self.view, splits))

    def train_inputs(
        self, keys: Key[Array, " b"], batch: Batch, targets: Float[Array, "b k"]
    ) -> tuple[Array, Array]:
        """Make a view of each image, and mix pairs."""
        (views,) = make_views(keys, batch["image"], (self.view,), aspect=batch["aspect"])
        pairs = keys_apart(keys, _PAIR)
        return mix_pairs(pairs, views[0], targets, mixup=self.mixup, cutmix=self.cutmix)

    def test_inputs(self, batch: Batch, size: int | None = None) -> Array:
        """Make what an encoder sees of images in evaluation."""
        return self.eval_inputs(batch, self.view, size)

    def pictures(self, source: Source, index: np.ndarray) -> np.ndarray:
        """Give the images themselves."""
        return source.gather(index)["image"]


def classification_task(
    config: ClassificationConfig,
    *,
    channels: int,
    num_classes: int,
    dtype: DTypeLike = jnp.float32,
    axis_name: AxisName | None = None,
) -> Task:
    """Make the task of supervised image classification.

    Views, stochastic depth and mixing are keyed by the example's `index` in the data set and the
    loss is a mean over the global batch: it does not depend on how the batch is sharded over
    devices. (Micro-batches mix each example with another partner than the whole batch does.)

    Args:
        config: What to classify.
        channels: Channels of the images, 1 or 3.
        num_classes: Number of classes.
        dtype: Type in which the encoder computes; parameters, scores and the loss are float32.
        axis_name: Mapped axis over which batches are sharded; None where the compiler shards them.

    Returns:
        The task. Batches are those of `lejepa_jax.data`: `image`, `label`, `index` and `aspect`.
        Images whose label is -1 do not count.

    Examples:
        >>> import jax
        >>> from functools import partial
        >>> from lejepa_jax.augment import digits_view
        >>> from lejepa_jax.nn import ViT
        >>> tiny = partial(ViT, width=12, depth=1, num_heads=2, patch_size=4, image_size=8)
        >>> config = ClassificationConfig(image_size=8, encoder=tiny, view=digits_view(1, 8),
        ...     encoding="spherical", eval_size=8)
        >>> task = classification_task(config, channels=1, num_classes=3)
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1), jnp.uint8), "index": jnp.arange(4),
        ...     "aspect": jnp.ones(4), "label": jnp.array([0, 1, 2, 0])}
        >>> def scores(key):
        ...     return task.encode(*task.init(key), key, batch)[0]["logits"]
        >>> jax.eval_shape(scores, jax.random.key(0)).shape
        (4, 3)
    """
    encoder = config.encoder_maker(in_channels=channels)
    return labeled_task(config, encoder, num_classes=num_classes, dtype=dtype, axis_name=axis_name)
