"""What a pretrained encoder is worth: probes of its features, and how round its embeddings are."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.errors import confusion_matrix
from lejepa_jax.evaluation.features import ShardBatch, stratified_subset
from lejepa_jax.evaluation.quick import QuickEvaluator
from lejepa_jax.evaluation.results import Evaluator, Picture, Results, by_score
from lejepa_jax.evaluation.suite import run_probes
from lejepa_jax.report.diagnosis import ON_TRAINING_DATA
from lejepa_jax.report.embedding import embedding_pictures
from lejepa_jax.report.examples import examples_of_classes
from lejepa_jax.statistics.normality import Statistic
from lejepa_jax.tasks.dense_probing import dense_evaluator
from lejepa_jax.tasks.embeddings import (
    Embedded,
    Pass,
    embed_source,
    encoder_passes,
    held_out_regularizer,
    lidar_evaluator,
    point_statistic,
    roundness,
)
from lejepa_jax.tasks.images import patch_maps
from lejepa_jax.tasks.modality import Modality
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.tasks.watching import quick_embedding_evaluator
from lejepa_jax.training.networks import Network, Variables

# The report shows a sample of the held-out examples, and patches of a few.
_MAX_SHOWN, _MAX_PATCHED = 2000, 8
# A confusion matrix of more classes would fill the results.
_MAX_CONFUSED = 200


def embedding_evaluators(
    config: ObjectiveConfig,
    modality: Modality,
    net: Network,
    *,
    statistic: Statistic,
    null_mean: float | None,
) -> tuple[dict[str, Evaluator], dict[str, QuickEvaluator]]:
    """Make all evaluators of LeJEPA pretraining; they share their compiled passes.

    Args:
        config: Sizes of the evaluation.
        modality: What kind of data.
        net: The network, an `encoder` and a `projector`.
        statistic: Statistic of SIGReg.
        null_mean: Its mean on exact normal samples, if it is known.

    Returns:
        Those of the end of a run, and those of its course, by name.
    """
    passes = encoder_passes(config, modality, net)
    evaluators = {
        "probes": probe_evaluator(
            config, modality, net, passes, statistic=statistic, null_mean=null_mean
        )
    }
    if config.lidar_examples:
        evaluators["lidar"] = lidar_evaluator(config, modality, net)
    if modality.segmented is not None:
        inputs, size = next(iter(modality.eval_inputs.values())), config.eval_batch_size
        evaluators["dense"] = dense_evaluator(modality.segmented, inputs, net, batch_size=size)
    return evaluators, {"probes": quick_embedding_evaluator(config, passes, statistic)}


def probe_evaluator(
    config: ObjectiveConfig,
    modality: Modality,
    net: Network,
    passes: Mapping[str, Pass],
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
        passes: Those of `encoder_passes`.
        statistic: Statistic of SIGReg.
        null_mean: Its mean on exact normal samples, if it is known.

    Returns:
        The evaluator.
    """
    raw, first = jax.jit(modality.raw), next(iter(passes))

    def run(variables: Variables, source: Source, shard_batch: ShardBatch, condition: str):
        size = config.eval_batch_size
        return embed_source(
            passes[condition], variables, source, shard_batch, batch_size=size, raw=raw
        )

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
        diagnostics = measure_embeddings(
            slice_key, test, config, statistic=statistic, null_mean=null_mean
        )
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


def measure_embeddings(
    key: PRNGKeyArray,
    test: Mapping[str, Embedded],
    config: ObjectiveConfig,
    *,
    statistic: Statistic,
    null_mean: float | None,
) -> dict[str, Any]:
    """Measure how round embeddings are, and say what the numbers are compared with.

    Args:
        key: Draws the directions.
        test: Examples as the networks see them: `encoder`, and maybe others.
        config: The objective.
        statistic: Statistic of SIGReg.
        null_mean: Its mean on exact normal samples, if it is known.

    Returns:
        Numbers of each network by its name, and those of reference.
    """
    found: dict[str, Any] = {name: roundness(key, one, statistic) for name, one in test.items()}
    if null_mean is not None:
        found["sigreg_null"] = null_mean
    regularizer = config.make_regularizer()
    for name, one in test.items():
        found[name] |= held_out_regularizer(key, one, regularizer)
    shape = test["encoder"].embeddings.shape
    return found | point_statistic(key, statistic, regularizer, shape)


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
