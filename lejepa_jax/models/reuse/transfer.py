"""What a model is worth on another data set: every probe, fitted to its training part."""

import functools
from typing import Any

import jax
from flax import nnx
from jaxtyping import PRNGKeyArray

from lejepa_jax.data.loading import load as load_data
from lejepa_jax.data.reading import DataOptions
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.results import Results, run_evaluators
from lejepa_jax.models.model import Model
from lejepa_jax.models.preprocessing import ImagePreprocessing
from lejepa_jax.nn.encoder import HasLayers
from lejepa_jax.nn.projector import Projector
from lejepa_jax.statistics.names import null_mean, statistic_by_name
from lejepa_jax.tasks.images import pixel_rows
from lejepa_jax.tasks.joint_embedding import JointEmbedding
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
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
    """Load a data set as a model of images wants it.

    Args:
        model: The model.
        data: Name of the data set.
        data_dir: Where it is.
        holdout: `test` or `validation`.
        max_bad_records: Images that may be unreadable.

    Returns:
        The data.

    Raises:
        ValueError: If the model is not one of images, or the data have other channels.
    """
    preprocessing = model.preprocessing
    if not isinstance(preprocessing, ImagePreprocessing):
        raise ValueError(f"this is for models of images, got one of {preprocessing.kind}")
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


def evaluate_transfer(
    key: PRNGKeyArray,
    model: Model,
    splits: Splits,
    *,
    num_layers: int = 1,
    knn_k: int = 20,
    max_probe_examples: int | None = 50_000,
) -> Results:
    """Run every probe on the features of a model, of an untrained one, and on pixels.

    Args:
        key: Random key of the probes; the same key gives the same numbers.
        model: A model of images.
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
    if not isinstance(preprocessing, ImagePreprocessing):
        raise ValueError(f"this is for models of images, got one of {preprocessing.kind}")
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
    modality = Modality(
        views=lambda keys, batch: (),
        eval_inputs={"": preprocessing.inputs},
        raw=functools.partial(pixel_rows, size=preprocessing.eval_size, crop=preprocessing.crop),
        raw_name="pixels",
        pictures=lambda source, index: source.gather(index)["image"],
    )

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
