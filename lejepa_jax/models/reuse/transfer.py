"""What a model is worth on another data set: every probe, fitted to its training part."""

import functools
from typing import Any

import jax
from flax import nnx
from jaxtyping import PRNGKeyArray

from lejepa_jax.data.fields.loading import load_fields
from lejepa_jax.data.fields.reading import check_spacing
from lejepa_jax.data.loading import load as load_data
from lejepa_jax.data.reading import DataOptions
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.results import Results, run_evaluators
from lejepa_jax.models.model import Model
from lejepa_jax.models.preprocessing import FieldPreprocessing, ImagePreprocessing
from lejepa_jax.nn.encoder import HasLayers
from lejepa_jax.nn.projector import Projector
from lejepa_jax.statistics.names import null_mean, statistic_by_name
from lejepa_jax.tasks.fields.pretraining import modality_of_fields
from lejepa_jax.tasks.images import pixel_rows
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.tasks.pretraining import JointEmbedding
from lejepa_jax.tasks.probing import embedding_evaluators
from lejepa_jax.training.networks import Variables, network


def load_for(
    model: Model,
    data: str,
    *,
    data_dir: str | None = None,
    holdout: Any = "test",
    max_bad_records: int = 0,
) -> Splits:
    """Load a data set as a model of images or fields wants it.

    Args:
        model: The model.
        data: Name of the data set.
        data_dir: Where it is.
        holdout: `test` or `validation`.
        max_bad_records: Examples that may be unreadable.

    Returns:
        The data.

    Raises:
        ValueError: If the model is one of clouds, or the data have other channels or another
            spacing.
    """
    preprocessing = model.preprocessing
    if isinstance(preprocessing, FieldPreprocessing):
        return _load_fields(preprocessing, data, data_dir, holdout, max_bad_records)
    if not isinstance(preprocessing, ImagePreprocessing):
        raise ValueError(f"this is for models of images or fields, got one of {preprocessing.kind}")
    channels: Any = preprocessing.channels
    splits = load_data(
        data,
        image_size=preprocessing.image_size,
        data_dir=data_dir,
        holdout=holdout,
        max_bad_records=max_bad_records,
        options=DataOptions(channels=channels, data_range=preprocessing.data_range),
    )
    if splits.train.channels != channels:
        raise ValueError(
            f"data must have images of {channels} channel{'s' * (channels > 1)} for this model, "
            f"got {splits.train.channels} in {data}"
        )
    return splits


def _load_fields(
    preprocessing: FieldPreprocessing,
    data: str,
    data_dir: str | None,
    holdout: Any,
    max_bad_records: int,
) -> Splits:
    splits = load_fields(
        data,
        num_axes=len(preprocessing.stored_size),
        size=preprocessing.stored_size,
        data_dir=data_dir,
        holdout=holdout,
        max_bad_records=max_bad_records,
    )
    layout, channels = splits.train.layout, len(preprocessing.mean)
    if layout.channels != channels:
        raise ValueError(
            f"data must have fields of {channels} channel{'s' * (channels > 1)} for this model, "
            f"got {layout.channels} in {data}"
        )
    names, wanted = layout.channel_names, preprocessing.channel_names
    if names and wanted and names != wanted:
        raise ValueError(
            f"data must have the channels {', '.join(wanted)} for this model, in this order, got "
            f"{', '.join(names)} in {data}; model(fields, channels=...) takes them in any order"
        )
    if layout.spacing is not None and preprocessing.spacing:
        check_spacing(layout.spacing, preprocessing.spacing, "the data trained on")
    return splits


def _modality(model: Model) -> Modality:
    """What the probes have to know of the data of a model; it has no views of its own."""
    seen = model.preprocessing
    if isinstance(seen, FieldPreprocessing):
        encoder = model.makers["encoder"]
        return modality_of_fields(
            seen.whole, lambda keys, batch: (), encoder, weigh=seen.weigh, fit=seen.fit
        )
    if not isinstance(seen, ImagePreprocessing):
        raise ValueError(f"this is for models of images or fields, got one of {seen.kind}")
    return Modality(
        views=lambda keys, batch: (),
        eval_inputs={"": seen.inputs},
        raw=functools.partial(pixel_rows, size=seen.eval_size, crop=seen.crop),
        raw_name="pixels",
        pictures=lambda source, index: source.gather(index)["image"],
    )


def evaluate_transfer(
    key: PRNGKeyArray,
    model: Model,
    splits: Splits,
    *,
    num_layers: int = 1,
    knn_k: int = 20,
    max_probe_examples: int | None = 50_000,
) -> Results:
    """Run every probe on the features of a model, of an untrained one, and on raw values.

    Args:
        key: Random key of the probes; the same key gives the same numbers.
        model: A model of images or fields.
        splits: Labeled data, loaded by `load_for`.
        num_layers: Last layers whose features the probes read side by side.
        knn_k: Neighbors that vote.
        max_probe_examples: Examples that probes are fitted to, of every class its share.

    Returns:
        Scores, confusion, diagnostics and pictures, as at the end of a run.

    Raises:
        ValueError: If the encoder has no layers to read.
    """
    preprocessing = model.preprocessing
    if num_layers > 1 and not isinstance(model.net.shape.encoder, HasLayers):
        raise ValueError(f"num_layers must be 1 with this encoder, got {num_layers}")
    config = ObjectiveConfig(
        num_global=1,
        eval_batch_size=preprocessing.batch_size,
        knn_k=knn_k,
        max_probe_examples=max_probe_examples,
        probe_layers=num_layers,
        lidar_examples=0,  # a model has no views of its own
    )
    modality = _modality(model)

    def make(key: PRNGKeyArray) -> JointEmbedding:
        parts: Any = model.make(key)
        projector = parts.projector
        if projector is None:  # the features themselves are measured
            width = parts.encoder.features
            projector = Projector(width, width, num_layers=0, rngs=nnx.Rngs(key))
        return JointEmbedding(parts.encoder, projector)

    net, statistic = network(make), statistic_by_name(config.statistic)
    evaluators, _ = embedding_evaluators(
        config, modality, net, statistic=statistic, null_mean=null_mean(statistic)
    )
    untrained_key, probe_key = jax.random.split(key)
    trained = Variables(*(dict(part) for part in model.placed))
    untrained = jax.jit(net.init)(untrained_key)
    variables = {"encoder": trained, "untrained": untrained}
    return run_evaluators(evaluators, probe_key, variables, splits, model.shard_batch)
