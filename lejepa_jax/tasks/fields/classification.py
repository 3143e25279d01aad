"""Supervised classification of series, planes and volumes, as a task of the training loop."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.augment.fields.drawing import draw_fields
from lejepa_jax.augment.fields.specs import FieldView
from lejepa_jax.augment.fields.views import eval_field, make_field_views
from lejepa_jax.checks import check_choice
from lejepa_jax.data.fields.loading import load_fields
from lejepa_jax.data.fields.normalization import Normalization
from lejepa_jax.data.fields.reading import FieldOptions, check_spacing
from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits
from lejepa_jax.nn.fields import Field, Values
from lejepa_jax.statistics.reductions import AxisName
from lejepa_jax.tasks.labeled.classifier import kept_classifier, labeled_task
from lejepa_jax.tasks.labeled.config import LabeledConfig, check_classes, few_of
from lejepa_jax.training.task import Batch, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldClassificationConfig(LabeledConfig):
    """What fields to classify, as a model of fields sees them.

    Attributes:
        encoder: Makes the encoder from `dtype`, `axis_name` and `rngs`, its channels being bound.
        view: The one random view of a field to train on; its `count` must be 1.
        normalization: Of the channels, as the encoder was trained.
        stored_size: Samples to store along each axis.
        eval_size: Samples that the encoder sees along each axis in evaluation.
        fit: "resize" or "pad", see `eval_field`.
        weigh: Whether the encoder gets the measure of the samples.
        spacing: Distance of two samples along each axis; empty where any will do.
        data_options: How the data set is read.

    Raises:
        ValueError: For a value out of range.
    """

    evaluation_only: ClassVar[frozenset[str]] = LabeledConfig.evaluation_only

    encoder: Callable[..., Any]
    view: FieldView
    normalization: Normalization
    stored_size: tuple[int, ...]
    eval_size: tuple[int, ...]
    fit: str = "resize"
    weigh: bool = True
    spacing: tuple[float, ...] = ()
    data_options: FieldOptions = dataclasses.field(default_factory=FieldOptions)

    def __post_init__(self):
        self.check_labels()
        check_choice("fit", self.fit, ("resize", "pad", "sphere"))
        if self.eval_sizes:
            raise ValueError(f"eval_sizes must be empty with fields, got {self.eval_sizes}")
        if self.view.count != 1:
            raise ValueError(f"view must draw 1 view of a field, got count={self.view.count}")
        self.view.sides(len(self.stored_size))

    def load(
        self,
        name: str,
        *,
        data_dir: str | None = None,
        holdout: Literal["test", "validation"] = "test",
        max_bad_records: int = 0,
    ) -> Splits:
        """Load fields, of which a few labeled ones may be all that is trained on."""
        splits = load_fields(
            name,
            num_axes=len(self.stored_size),
            size=self.stored_size,
            data_dir=data_dir,
            holdout=holdout,
            max_bad_records=max_bad_records,
            options=self.data_options,
        )
        layout, channels = splits.train.layout, len(self.normalization.mean)
        if layout.channels != channels:
            raise ValueError(
                f"data must have fields of {channels} channel{'s' * (channels > 1)} for this "
                f"model, got {layout.channels} in {name}"
            )
        if layout.spacing is not None and self.spacing:
            check_spacing(layout.spacing, self.spacing, "the data trained on")
        return few_of(splits, self)

    def build(
        self, splits: Splits, *, dtype: DTypeLike = jnp.float32, axis_name: AxisName | None = None
    ) -> Task:
        """Make the task; see `labeled_task`."""
        check_classes(splits)
        task = labeled_task(
            self,
            self.encoder,
            num_classes=splits.train.num_classes,
            dtype=dtype,
            axis_name=axis_name,
        )
        return kept_classifier(task, self, self.encoder, self.preprocessing(splits))

    def preprocessing(self, splits: Splits) -> dict[str, Any]:
        """Say what fields go through, as JSON can hold it; see `FieldPreprocessing`."""
        own = self.normalization
        return {
            "kind": "fields",
            **{name: list(getattr(self, name)) for name in ("stored_size", "eval_size", "spacing")},
            **{name: getattr(self, name) for name in ("fit", "weigh")},
            "dtype": splits.train.layout.dtype.name,
            "channel_names": list(splits.train.layout.channel_names),
            **{name: list(getattr(own, name)) for name in ("mean", "std", "low", "high")},
            "clip": own.clip,
            "missing": [] if own.missing is None else [own.missing],
            "batch_size": self.eval_batch_size,
        }

    def train_inputs(
        self, keys: Key[Array, " b"], batch: Batch, targets: Float[Array, "b k"]
    ) -> tuple[Values | Field, Array]:
        """Make a view of each field."""
        (found,) = make_field_views(
            keys, batch["values"], batch["extent"], (self.view,), self.normalization
        )
        return self._seen(jax.tree.map(lambda x: x[0], found)), targets

    def test_inputs(self, batch: Batch, size: int | None = None) -> Values | Field:
        """Make what an encoder sees of fields in evaluation."""
        return self._seen(self._whole(batch, size))

    def pictures(self, source: Source, index: np.ndarray) -> np.ndarray:
        """Draw fields."""
        batch = {k: v for k, v in source.gather(index).items() if k != "label"}
        found = jax.jit(self._whole)(batch)
        return draw_fields(np.asarray(found.values), np.asarray(found.measure), fit=self.fit)

    def _whole(self, batch: Batch, size: int | None = None) -> Field:
        values, extent = batch["values"], batch["extent"]
        sides = self.eval_size if size is None else size
        return eval_field(values, extent, sides, self.normalization, fit=self.fit)

    def _seen(self, field: Field) -> Values | Field:
        return field if self.weigh else field.values
