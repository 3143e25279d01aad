"""What supervised classification has to know of examples of any kind, and which are trained on."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Float, Key

from lejepa_jax.checks import check_positive
from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits, few_labeled
from lejepa_jax.objectives.regularizers.names import regularizer_by_name
from lejepa_jax.training.task import Batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledConfig:
    """What a classifier is trained by, whatever its examples are.

    Attributes:
        label_smoothing: Part of the target that is shared by all classes.
        regularizer: What the encoder's features are regularized by beside the classes, by name,
            alone or called with options: `sigreg`, `covariance(sketch=64, form='norm')`. None for
            nothing.
        regularizer_weight: Its weight; that of the cross-entropy is 1.
        eval_batch_size: Examples at a time in evaluation.
        eval_sizes: Further sides to test at. An encoder that can weigh its tokens by their measure
            (`ViT`) is tested with and without.
        labels_per_class: Train on so many labeled examples of each class alone, always the same
            ones.
        label_fraction: Train on this part of the labeled examples of each class alone.
        layer_decay: Factor of the learning rate from each layer to the one before it, see
            `layer_decay_factors`; None for none.
        frozen: Train the head alone, on the features of the encoder as it is.
        baselines: Accuracies of others, by what they are of, for the table of results.
        quick_examples: Held-out examples that are tested during training, see `evaluate_every`.

    Raises:
        ValueError: For a value out of range.

    References:
        C. Szegedy et al., "Rethinking the Inception Architecture", arXiv 1512.00567, 2015 (label
        smoothing). Weak-SIGReg, arXiv 2603.05924, 2026 (features regularized).
    """

    evaluation_only: ClassVar[frozenset[str]] = frozenset(
        {"eval_batch_size", "eval_sizes", "quick_examples", "baselines"}
    )

    label_smoothing: float = 0.0
    regularizer: str | Callable[..., Any] | None = None
    regularizer_weight: float = 0.1
    eval_batch_size: int = 500
    eval_sizes: tuple[int, ...] = ()
    quick_examples: int = 1000
    labels_per_class: int | None = None
    label_fraction: float | None = None
    layer_decay: float | None = None
    frozen: bool = False
    baselines: tuple[tuple[str, float], ...] = ()

    def check_labels(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: See above.
        """
        check_positive("quick_examples", self.quick_examples)
        check_positive("eval_batch_size", self.eval_batch_size)
        for size in self.eval_sizes:
            check_positive("eval_sizes", size)
        if isinstance(self.regularizer, str):
            regularizer_by_name(self.regularizer)
        if not self.regularizer_weight >= 0:
            raise ValueError(
                f"regularizer_weight must not be negative, got {self.regularizer_weight}"
            )
        if self.labels_per_class is not None and self.label_fraction is not None:
            raise ValueError("labels_per_class and label_fraction must not both be given")
        if self.labels_per_class is not None:
            check_positive("labels_per_class", self.labels_per_class)
        for name in ("label_fraction", "layer_decay"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")

    def train_inputs(
        self, keys: Key[Array, " b"], batch: Batch, targets: Float[Array, "b k"]
    ) -> tuple[Any, Float[Array, "b k"]]:
        """Make what the encoder sees in training, and the targets that go with it.

        Args:
            keys: One an example.
            batch: The examples.
            targets: Distributions over classes.
        """
        raise NotImplementedError

    def test_inputs(self, batch: Batch, size: int | None = None) -> Any:
        """Make what the encoder sees in evaluation, at its usual size or at another."""
        raise NotImplementedError

    def pictures(self, source: Source, index: np.ndarray) -> np.ndarray:
        """Draw examples for the report (n h w c)."""
        raise NotImplementedError


def few_of(splits: Splits, config: LabeledConfig) -> Splits:
    """Leave the labeled examples to train on that a configuration asks for.

    Args:
        splits: All there are.
        config: Says how many of each class, or which part.

    Returns:
        The splits; as they are where nothing is asked for.

    Raises:
        ValueError: If the labels are not known without reading all of the data.
    """
    if config.labels_per_class is None and config.label_fraction is None:
        return splits
    train = splits.train
    if train.labels is None:
        raise ValueError(f"labels of {splits.name} must be known without reading all of it")
    chosen = few_labeled(
        train.labels, per_class=config.labels_per_class, fraction=config.label_fraction
    )
    few = train.subset(chosen)
    info = {**splits.info, "labels": f"{len(few)} of {len(train)} training examples are used"}
    return splits._replace(train=few, info=info)


def check_classes(splits: Splits) -> None:
    """Refuse data that has no classes to tell apart.

    Raises:
        ValueError: If there are fewer than two.
    """
    if splits.train.num_classes < 2:
        raise ValueError(
            f"{splits.name} must have at least 2 classes to tell apart, "
            f"got {splits.train.num_classes}"
        )
