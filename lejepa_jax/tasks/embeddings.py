"""Examples as the networks see them, and what their embeddings say without labels."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits
from lejepa_jax.diagnostics.spectrum import (
    alpha_req,
    covariance_spectrum,
    effective_rank,
    feature_std,
    isotropy,
    lidar,
    rankme,
)
from lejepa_jax.evaluation.features import ShardBatch, map_examples, stratified_subset
from lejepa_jax.evaluation.results import Evaluator, Results
from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.regularizers.names import (
    embedding_transform,
    regularizer_null_mean,
    sample_null,
)
from lejepa_jax.objectives.regularizers.protocol import Regularizer, bound_options
from lejepa_jax.objectives.slicing import sigreg, slice_statistics
from lejepa_jax.statistics.normality import Statistic
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.training.networks import Network, Variables
from lejepa_jax.training.task import Batch

# From this part of the way to a single point, a law is no example of N(0, I).
_FAR_FROM_NORMAL = 0.1

#: Features and embeddings of a batch; compiled.
Pass = Callable[[Variables, Batch], tuple[Array, Array]]


class Embedded(NamedTuple):
    """A data set as the networks see it, one row an example, on the host."""

    features: np.ndarray
    embeddings: np.ndarray
    raw: np.ndarray
    labels: np.ndarray
    index: np.ndarray


def encoder_passes(config: ObjectiveConfig, modality: Modality, net: Network) -> dict[str, Pass]:
    """Compile what gives the features that probes read, and the embeddings of the objective.

    Args:
        config: How many layers the probes read.
        modality: What kind of data.
        net: The network, an `encoder` and a `projector`.

    Returns:
        A function for each condition of `modality.eval_inputs`.
    """
    transform = embedding_transform(config.make_regularizer()) or (lambda z: z)

    def make(view: Callable[[Batch], Any]) -> Pass:
        def embed(variables: Variables, batch: Batch) -> tuple[Array, Array]:
            model, inputs = net.merge(*variables), view(batch)
            features = model.encoder(inputs)
            embeddings = transform(model.projector(features))
            if config.probe_layers > 1:
                features = model.encoder.intermediate(inputs, num_layers=config.probe_layers)
            return features, embeddings

        return jax.jit(embed)

    return {condition: make(view) for condition, view in modality.eval_inputs.items()}


def embed_source(
    embed: Pass,
    variables: Variables,
    source: Source,
    shard_batch: ShardBatch,
    *,
    batch_size: int,
    raw: Callable[[Batch], Array] = lambda batch: batch["index"][:, None],
) -> Embedded:
    """Embed all examples of a source; every process takes part.

    Args:
        embed: One of `encoder_passes`.
        variables: Of the network.
        source: The examples.
        shard_batch: Puts a batch on the devices.
        batch_size: Examples at a time.
        raw: Gives a row of raw data of each example; their numbers by default.

    Returns:
        A row an example.
    """

    def both(batch: Batch):
        return *embed(variables, batch), raw(batch)

    found = map_examples(both, source, shard_batch, batch_size=batch_size)
    features, embeddings, rows = found.outputs
    return Embedded(features, embeddings, rows, found.label, found.index)


def roundness(key: PRNGKeyArray, found: Embedded, statistic: Statistic) -> dict[str, float]:
    """Measure how far embeddings are from N(0, I), and how the features are spread.

    Args:
        key: Draws the directions.
        found: The examples as the networks see them.
        statistic: Statistic of SIGReg.

    Returns:
        Numbers by name; those of the features begin with `features_`.
    """
    cloud = jnp.asarray(found.embeddings)
    directions = unit_directions(key, cloud.shape[-1], 1024)
    slices = slice_statistics(cloud, directions, statistic=statistic)
    std, spectrum = feature_std(cloud), covariance_spectrum(cloud)
    features = jnp.asarray(found.features)
    return {
        "examples": len(cloud),
        "rankme": float(rankme(cloud)),
        "effective_rank": float(effective_rank(spectrum)),
        "isotropy": float(isotropy(spectrum)),
        "sigreg": float(slices.mean()),
        "sigreg_worst_slice": float(slices.max()),
        "std_smallest": float(std.min()),
        "std_largest": float(std.max()),
        "features_rankme": float(rankme(features)),
        "features_alpha_req": float(alpha_req(covariance_spectrum(features))),
    }


def held_out_regularizer(
    key: PRNGKeyArray, found: Embedded, regularizer: Regularizer
) -> dict[str, float]:
    """Measure embeddings by the regularizer of a run, if it is another than SIGReg.

    Args:
        key: Random key.
        found: The examples as the networks see them.
        regularizer: What is regularized by.

    Returns:
        `regularizer`, and `regularizer_ratio` where its mean on exact samples of its law is known.
    """
    if bound_options(regularizer)[0] is sigreg:
        return {}  # which is measured whatever a run is regularized by
    cloud = jnp.asarray(found.embeddings)
    value = float(jax.jit(regularizer)(key, cloud))
    null = regularizer_null_mean(regularizer, num_samples=cloud.shape[0], dim=cloud.shape[1])
    ratio = {"regularizer_ratio": value / null} if null else {}
    return {"regularizer": value, **ratio}


def point_statistic(
    key: PRNGKeyArray, statistic: Statistic, regularizer: Regularizer, shape: tuple[int, ...]
) -> dict[str, float]:
    """Return what SIGReg is if every embedding is 0, which tells a collapse from bad luck.

    Args:
        key: Random key.
        statistic: Statistic of SIGReg.
        regularizer: What is regularized by.
        shape: Number and dimension of the embeddings.

    Returns:
        `sigreg_collapsed`; nothing where a statistic has no such value, or where the law that
        embeddings are drawn towards is so far from N(0, I) that it says little.
    """
    point = float(statistic(jnp.zeros((shape[0], 1), jnp.float32))[..., 0])
    sample_key, slice_key = jax.random.split(key)
    law = sample_null(sample_key, regularizer, num_samples=shape[0], dim=shape[1])
    directions = unit_directions(slice_key, shape[1], 64)
    usual = float(slice_statistics(law, directions, statistic=statistic).mean())
    known = math.isfinite(point) and usual < _FAR_FROM_NORMAL * point
    return {"sigreg_collapsed": point} if known else {}


def lidar_evaluator(config: ObjectiveConfig, modality: Modality, net: Network) -> Evaluator:
    """Make the evaluator of LiDAR: what tells held-out examples apart, beyond what views differ by.

    Args:
        config: Of how many examples.
        modality: Makes the views, the same at every call.
        net: The network, an `encoder` and a `projector`.

    Returns:
        The evaluator.

    References:
        V. Thilak et al., "LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL
        Architectures", arXiv 2312.04000, 2023.
    """
    transform = embedding_transform(config.make_regularizer()) or (lambda z: z)

    @jax.jit
    def embed(variables: Variables, batch: Batch) -> Array:
        """Embeddings of views, axes (example, view) first."""
        model, keys = net.merge(*variables), example_keys(jax.random.key(0), batch["index"])
        views = []
        for group in modality.views(keys, batch):
            count, size = jax.tree.leaves(group)[0].shape[:2]
            inputs = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), group)
            found = transform(model.projector(model.encoder(inputs)))
            views.append(jnp.swapaxes(found.reshape(count, size, -1), 0, 1))
        return jnp.concatenate(views, axis=1)

    def evaluate(
        key: PRNGKeyArray,
        variables: Mapping[str, Variables],
        splits: Splits,
        shard_batch: ShardBatch,
        /,
    ) -> Results:
        del key
        source, size = splits.test, config.eval_batch_size
        if config.lidar_examples < len(source):
            few = stratified_subset(source.labels, len(source), config.lidar_examples)
            source = source.subset(few)
        found = {}
        for name, own in variables.items():
            mapped = map_examples(
                lambda batch, own=own: embed(own, batch), source, shard_batch, batch_size=size
            )
            found[name] = {"lidar": float(lidar(jnp.swapaxes(jnp.asarray(mapped.outputs), 0, 1)))}
        return Results(diagnostics=found)

    return evaluate
