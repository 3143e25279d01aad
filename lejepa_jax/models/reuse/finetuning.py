"""Fine-tuning: the recipe that a model and labeled data make, and what it is compared with."""

import dataclasses
from typing import Any

import jax
import numpy as np

from lejepa_jax.augment.fields.specs import FieldView
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.data.reading import DataOptions
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.linear import linear_predict
from lejepa_jax.models.model import Model
from lejepa_jax.models.preprocessing import FieldPreprocessing, ImagePreprocessing
from lejepa_jax.tasks.fields.classification import FieldClassificationConfig
from lejepa_jax.tasks.image_classification import ClassificationConfig
from lejepa_jax.training.recipe import Recipe

# With fewer labels of a class than this there is none to choose the penalty of a probe by.
_FEWEST = 5
_FEW_SHOT_L2 = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """Train a model on labeled images or fields: the same command resumes it. Its report compares.

    The comparisons are the linear probe of the model as it is, on the same labels, and the same
    training from random weights.

    Attributes:
        model: A run, a model, a file .safetensors, or hf://OWNER/NAME.
        data: Name of the data set: `folder`, `digits`, `npz:PATH` or a TFDS name; of a model of
            fields what its recipe takes, such as `csv:FILE`.
        data_dir: Where it is: prepared for TFDS, or the folder itself for `folder`.
        workdir: Where the run is kept; runs/finetune by default. An existing one is resumed.
        labels_per_class: Train on so many labeled examples of each class alone.
        label_fraction: Train on this part of the labeled examples of each class alone.
        frozen: Train the head alone.
        layer_decay: Factor of the learning rate from each layer to the one before it; 1 for none.
        epochs: Times that every labeled example is seen.
        min_steps: Steps at least: of a few labels an epoch is a step.
        global_batch_size: Examples a step; all of them where there are fewer.
        learning_rate: Its peak.
        weight_decay: Of weights only.
        flip: Probability that an image is mirrored; 0 for letters and digits. Fields are not.
        smallest_crop: Least part of the area of an image, or of the volume of a field, that is seen
            in training.
        label_smoothing: Part of the target that is shared by all classes.
        mixup: Parameter of the Beta distribution of mixing two images; 0 for none, and of fields.
        scratch: Also train from random weights, to compare with.
        holdout: `validation` evaluates on a part of the training data instead of the test data.
        max_bad_records: Unreadable examples that are skipped before the run stops.
        precision: Type in which the networks compute.
        seed: Names everything random.
        devices: Number of devices; all by default. On a CPU, as many are made.
        force: Go on with a run although its configuration or its data was another.
    """

    model: str
    data: str = "folder"
    data_dir: str | None = None
    workdir: str = "runs/finetune"
    labels_per_class: int | None = None
    label_fraction: float | None = None
    frozen: bool = False
    layer_decay: float = 0.75
    epochs: int = 30
    min_steps: int = 200
    global_batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    flip: float = 0.5
    smallest_crop: float = 0.5
    label_smoothing: float = 0.0
    mixup: float = 0.0
    scratch: bool = True
    holdout: Any = "test"
    max_bad_records: int = 0
    precision: Any = "float32"
    seed: int = 0
    devices: int | None = None
    force: bool = False


def finetune_task(
    model: Model, options: FinetuneOptions
) -> ClassificationConfig | FieldClassificationConfig:
    """Make the task of fine-tuning a model.

    Args:
        model: A model of images or fields.
        options: How.

    Returns:
        The task: the encoder of the model, its preprocessing, and views that crop, and mirror
        images.

    Raises:
        ValueError: If the model is one of clouds, or an option is out of range.
    """
    seen, decay = model.preprocessing, options.layer_decay
    learning: dict[str, Any] = {
        "label_smoothing": options.label_smoothing,
        "labels_per_class": options.labels_per_class,
        "label_fraction": options.label_fraction,
        "layer_decay": None if options.frozen or decay == 1 else decay,
        "frozen": options.frozen,
        "eval_batch_size": seen.batch_size,
    }
    if isinstance(seen, FieldPreprocessing):
        if options.mixup:
            raise ValueError(f"mixup must be 0 with fields, got {options.mixup}")
        crop: Any = (options.smallest_crop, 1.0)
        fit: Any = seen.fit
        moves: dict[str, Any] = {"scale": crop, "shift": fit == "pad"}
        moves = {"rotation": "any"} if fit == "sphere" else moves
        return FieldClassificationConfig(
            encoder=model.makers["encoder"],
            view=FieldView(1, seen.eval_size, fit=fit, **moves),
            normalization=seen.normalization,
            stored_size=seen.stored_size,
            eval_size=seen.eval_size,
            fit=seen.fit,
            weigh=seen.weigh,
            spacing=seen.spacing,
            **learning,
        )
    if not isinstance(seen, ImagePreprocessing):
        raise ValueError(f"finetune is for models of images or fields, got one of {seen.kind}")
    channels: Any = seen.channels
    view = ViewSpec(
        count=1,
        size=seen.eval_size,
        scale=(options.smallest_crop, 1.0),
        flip=options.flip,
        mean=seen.mean,
        std=seen.std,
    )
    return ClassificationConfig(
        image_size=seen.image_size,
        encoder=model.makers["encoder"],
        view=view,
        mixup=options.mixup,
        eval_size=seen.eval_size,
        eval_crop=seen.crop,
        data_options=DataOptions(channels=channels, data_range=seen.data_range),
        **learning,
    )


def finetune_recipe(
    task: ClassificationConfig | FieldClassificationConfig,
    options: FinetuneOptions,
    num_examples: int,
) -> Recipe:
    """Make the recipe of a fine-tuning.

    Args:
        task: Made by `finetune_task`.
        options: How.
        num_examples: Labeled examples to train on.

    Returns:
        The recipe.

    Raises:
        ValueError: For a value out of range.
    """
    batch = min(options.global_batch_size, num_examples)
    if options.devices:
        batch = max(batch // options.devices, 1) * options.devices
    steps = max(1, options.min_steps, options.epochs * num_examples // batch)
    return Recipe(
        data=options.data,
        task=task,
        steps=steps,
        global_batch_size=batch,
        learning_rate=options.learning_rate,
        final_learning_rate=0.0,
        warmup_steps=max(1, steps // 10),
        weight_decay=options.weight_decay,
        init_from=options.model,
        seed=options.seed,
        data_dir=options.data_dir,
        holdout=options.holdout,
        max_bad_records=options.max_bad_records,
        workdir=options.workdir,
        devices=options.devices,
        precision=options.precision,
        log_every=max(1, steps // 50),
        checkpoint_every=max(1, steps // 4),
        force=options.force,
    )


def linear_probe(model: Model, splits: Splits, seed: int) -> float:
    """Score a linear probe of the features of a model as it is.

    Args:
        model: The model.
        splits: Labeled data.
        seed: Draws the part by which the penalty is chosen.

    Returns:
        Accuracy on the held-out examples that have a label.
    """
    train, test = model.map_source(splits.train), model.map_source(splits.test)
    known, asked = train.label >= 0, test.label >= 0
    fewest = np.bincount(train.label[known], minlength=splits.train.num_classes).min()
    predicted = linear_predict(
        jax.random.key(seed),
        train.outputs[0][known],
        train.label[known],
        test.outputs[0][asked],
        num_classes=splits.train.num_classes,
        l2=_FEW_SHOT_L2 if fewest < _FEWEST else None,
    )
    return float(np.mean(np.asarray(predicted) == test.label[asked]))
