"""What a pretrained encoder is worth: probes of its features, and how round its embeddings are."""

import functools
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
from lejepa_jax.evaluation.errors import confusion_matrix
from lejepa_jax.evaluation.features import ShardBatch, map_examples, stratified_subset
from lejepa_jax.evaluation.results import Evaluator, Picture, Results, by_score
from lejepa_jax.evaluation.suite import run_probes
from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.slicing import slice_statistics
from lejepa_jax.report.diagnosis import ON_TRAINING_DATA
from lejepa_jax.report.embedding import embedding_pictures
from lejepa_jax.report.examples import examples_of_classes
from lejepa_jax.statistics.normality import Statistic
from lejepa_jax.tasks.images import patch_maps
from lejepa_jax.tasks.modality import Inputs, Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.training.networks import Network, Variables
from lejepa_jax.training.task import Batch

# The report shows a sample of the held-out examples, and patches of a few.
_MAX_SHOWN, _MAX_PATCHED = 2000, 8
# A confusion matrix of more classes would fill the results.
_MAX_CONFUSED = 200


class Embedded(NamedTuple):
    """A data set as the networks see it, one row an example, on the host."""

    features: np.ndarray
    embeddings: np.ndarray
    raw: np.ndarray
    labels: np.ndarray
    index: np.ndarray


def probe_evaluator(
    config: ObjectiveConfig,
    modality: Modality,
    net: Network,
    *,
    statistic: Statistic,
    null_mean: float | None,
) -> Evaluator:
    """Make the evaluator of LeJEPA pretraining.

    Features of the training part fit the probes, those of the held-out part are scored, for every
    set of variables and for the raw data. Without labels only the embeddings are measured.

    Args:
        config: Sizes of the evaluation.
        modality: What kind of data.
        net: The network, an `encoder` and a `projector`.
        statistic: Statistic of SIGReg.
        null_mean: Its mean on exact normal samples, if it is known.

    Returns:
        The evaluator.
    """

    def embed(variables: Variables, inputs: Inputs) -> tuple[Array, Array]:
        model = net.merge(*variables)
        features = model.encoder(inputs)
        embeddings = model.projector(features)
        if config.probe_layers > 1:
            features = model.encoder.intermediate(inputs, num_layers=config.probe_layers)
        return features, embeddings

    raw = jax.jit(modality.raw)
    passes = {
        condition: jax.jit(lambda variables, batch, view=view: embed(variables, view(batch)))
        for condition, view in modality.eval_inputs.items()
    }
    first = next(iter(passes))

    def run(variables: Variables, source: Source, shard_batch: ShardBatch, condition: str):
        def both(batch: Batch):
            features, embeddings = passes[condition](variables, batch)
            return features, embeddings, raw(batch)

        found = map_examples(both, source, shard_batch, batch_size=config.eval_batch_size)
        features, embeddings, rows = found.outputs
        return Embedded(features, embeddings, rows, found.label, found.index)

    def evaluate(
        key: PRNGKeyArray,
        variables: Mapping[str, Variables],
        splits: Splits,
        shard_batch: ShardBatch,
        /,
    ) -> Results:
        probe_key, slice_key, report_key = jax.random.split(key, 3)
        test = {name: run(v, splits.test, shard_batch, first) for name, v in variables.items()}
        suites, details = {}, {}
        if splits.train.num_classes > 1:
            source = splits.train
            chosen = stratified_subset(source.labels, len(source), config.max_probe_examples)
            if len(chosen) < len(source):
                source = source.subset(chosen)
            train = {name: run(v, source, shard_batch, first) for name, v in variables.items()}

            def probe(fitted: np.ndarray, labels: np.ndarray, scored: np.ndarray, true: np.ndarray):
                known, asked = labels >= 0, true >= 0
                sets = fitted[known], labels[known], scored[asked], true[asked]
                classes = splits.train.num_classes
                return run_probes(probe_key, *sets, num_classes=classes, k=config.knn_k)

            for condition in passes:
                for name, own in variables.items():
                    scored, title = test[name], name
                    if condition != first:
                        scored = run(own, splits.test, shard_batch, condition)
                        title = f"{name}, {condition}"
                    fitted = train[name]
                    found = probe(fitted.features, fitted.labels, scored.features, scored.labels)
                    suites[title] = found.scores
                    if title == "encoder":
                        details = errors_by_class(scored.labels, found.predicted, splits)
            fitted, scored = train["encoder"], test["encoder"]
            found = probe(fitted.raw, fitted.labels, scored.raw, scored.labels)
            suites[modality.raw_name] = found.scores
            # Of as many as are held out: SIGReg grows with their number.
            chosen = np.linspace(0, len(fitted.labels) - 1, len(scored.labels)).astype(int)
            if len(fitted.labels) >= len(scored.labels):
                seen = fitted._replace(
                    features=fitted.features[chosen], embeddings=fitted.embeddings[chosen]
                )
                test = test | {ON_TRAINING_DATA: seen}
        diagnostics: dict[str, Any] = {
            name: roundness(slice_key, found, statistic) for name, found in test.items()
        }
        if null_mean is not None:
            diagnostics["sigreg_null"] = null_mean
        pictures = embedding_sample(
            report_key,
            test,
            splits,
            modality,
            functools.partial(patch_maps, net, modality.eval_inputs[first], variables["encoder"]),
            shard_batch,
            statistic=statistic,
            null_mean=null_mean,
        )
        return Results(by_score(suites), diagnostics, details, pictures)

    return evaluate


def embedding_sample(
    key: PRNGKeyArray,
    test: Mapping[str, Embedded],
    splits: Splits,
    modality: Modality,
    patches: Callable[[Any, ShardBatch], np.ndarray | None],
    shard_batch: ShardBatch,
    *,
    statistic: Statistic,
    null_mean: float | None,
) -> list[Picture]:
    """List the pictures of a sample of the held-out examples.

    Args:
        key: Random key of the pictures.
        test: The held-out examples as the networks see them: `encoder`, maybe `untrained`.
        splits: The data.
        modality: What kind of data.
        patches: Computes patch features of a batch of examples, if the encoder has any.
        shard_batch: Puts a batch on the devices.
        statistic: Statistic of SIGReg.
        null_mean: Its mean on exact normal samples, if it is known.

    Returns:
        The pictures.
    """
    after, before = test["encoder"], test.get("untrained")
    # Evenly from the whole set, which may be sorted by class.
    number = len(after.labels)
    shown = np.linspace(0, number - 1, min(number, _MAX_SHOWN)).astype(int)
    labels = after.labels[shown] if splits.train.num_classes > 1 else None
    few = examples_of_classes(labels, len(shown), _MAX_PATCHED)
    clouds = {} if before is None else {"before": before.embeddings[shown]}
    return embedding_pictures(
        key,
        embeddings={**clouds, "after": after.embeddings[shown]},
        features=after.features[shown],
        labels=labels,
        images=modality.pictures(splits.test, after.index[shown]),
        class_names=splits.class_names,
        patch_features=patches(splits.test.gather(after.index[shown[few]]), shard_batch),
        patch_index=few,
        statistic=statistic,
        null_mean=null_mean,
    )


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

    @jax.jit
    def embed(variables: Variables, batch: Batch) -> Array:
        """Embeddings of views, axes (example, view) first."""
        model, keys = net.merge(*variables), example_keys(jax.random.key(0), batch["index"])
        views = []
        for group in modality.views(keys, batch):
            count, size = jax.tree.leaves(group)[0].shape[:2]
            inputs = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), group)
            found = model.projector(model.encoder(inputs))
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


def errors_by_class(true: np.ndarray, predicted: np.ndarray, splits: Splits) -> dict[str, Any]:
    """Return the confusion matrix of the linear probe as the report wants it; none of many classes.

    Args:
        true: Class of each held-out example, -1 where unknown.
        predicted: What the probe takes the others for.
        splits: The data.

    Returns:
        The matrix and the names of the classes, or nothing.
    """
    count = splits.train.num_classes
    if count > _MAX_CONFUSED:
        return {}
    matrix = confusion_matrix(true[true >= 0], predicted, num_classes=count)
    return {"confusion": {"encoder": matrix.tolist()}, "class_names": list(splits.class_names)}


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
