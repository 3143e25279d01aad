"""Pretraining while it runs: quick probes and label-free numbers, and how they are shown."""

from collections.abc import Mapping, Sequence

import jax
from jaxtyping import PRNGKeyArray

from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch
from lejepa_jax.evaluation.quick import PREFIX, QuickEvaluator, quick_probes, quick_subset
from lejepa_jax.report.metric import Metric
from lejepa_jax.statistics.normality import Statistic
from lejepa_jax.tasks.embeddings import Pass, embed_source, held_out_regularizer, roundness
from lejepa_jax.tasks.objective import ObjectiveConfig
from lejepa_jax.training.networks import Variables

# Of all that `roundness` measures, what is worth a curve.
_WATCHED = ("rankme", "effective_rank", "sigreg", "std_smallest")


def quick_embedding_evaluator(
    config: ObjectiveConfig, passes: Mapping[str, Pass], statistic: Statistic
) -> QuickEvaluator:
    """Make what measures pretraining while it runs.

    Held-out examples give the label-free numbers and, where there are labels, the accuracies of
    probes that are fitted to twice as many training examples. Data is seen under the first
    condition of the evaluation alone.

    Args:
        config: How many examples, and how probes are fitted.
        passes: Those of `encoder_passes`.
        statistic: Statistic of SIGReg.

    Returns:
        The evaluator: `sigreg`, `rankme`, `effective_rank` and `std_smallest` of the embeddings
        (and `regularizer`, if that is another), and with labels `knn` and `linear` of the features.
    """
    embed, number = next(iter(passes.values())), config.quick_examples
    regularizer = config.make_regularizer()

    def evaluate(
        key: PRNGKeyArray, variables: Variables, splits: Splits, shard_batch: ShardBatch, /
    ) -> dict[str, float]:
        slice_key, _ = jax.random.split(key)
        size = config.eval_batch_size
        held_out = quick_subset(splits.test, number)
        test = embed_source(embed, variables, held_out, shard_batch, batch_size=size)
        cloud = roundness(slice_key, test, statistic)
        found = {name: cloud[name] for name in _WATCHED}
        found |= held_out_regularizer(slice_key, test, regularizer)
        if splits.train.num_classes > 1:
            fitted = quick_subset(splits.train, 2 * number)
            train = embed_source(embed, variables, fitted, shard_batch, batch_size=size)
            found |= quick_probes(
                train.features,
                train.labels,
                test.features,
                test.labels,
                num_classes=splits.train.num_classes,
                k=config.knn_k,
            )
        return found

    return evaluate


def quick_embedding_metrics(null_mean: float | None, *, regularizer: str = "") -> dict[str, Metric]:
    """Say how the numbers of `quick_embedding_evaluator` are shown.

    Args:
        null_mean: Mean of SIGReg on exact normal samples, if it is known.
        regularizer: What the regularizer is called, if it is another than SIGReg.

    Returns:
        How each is shown, by name in the log.
    """
    found = {
        "knn": Metric("Quick k-NN", "held-out accuracy", progress=True, higher_is_better=True),
        "linear": Metric(
            "Quick linear probe", "held-out accuracy", progress=True, higher_is_better=True
        ),
        "sigreg": Metric(
            "Held-out SIGReg",
            "mean over slices",
            True,
            null_mean,
            "N(0, I)",
            progress=True,
            higher_is_better=False,
        ),
        "rankme": Metric(
            "Held-out RankMe", "of the embeddings", progress=True, higher_is_better=True
        ),
        "effective_rank": Metric(
            "Held-out effective rank", "of the embeddings", higher_is_better=True
        ),
        "std_smallest": Metric(
            "Held-out standard deviation, smallest",
            "of an embedding dimension",
            reference=1.0,
            reference_name="N(0, I)",
        ),
    }
    if regularizer:
        title = f"Held-out regularizer: {regularizer}"
        found["regularizer"] = Metric(title, "value", progress=True, higher_is_better=False)
        found["regularizer_ratio"] = Metric(
            "Held-out regularizer, relative",
            "to its mean on exact samples",
            reference=1.0,
            reference_name="exact samples",
            higher_is_better=False,
        )
    return {PREFIX + name: metric for name, metric in found.items()}


def quick_accuracy_metrics(names: Sequence[str] = ()) -> dict[str, Metric]:
    """Say how held-out accuracies of a supervised task are shown.

    Args:
        names: Names of the networks; one alone is not named.

    Returns:
        How each is shown, by name in the log: `eval/accuracy`, or `eval/accuracy_NAME` of several.
    """
    titles = {f"accuracy_{name}": f"Held-out accuracy, {name}" for name in names}
    if len(names) < 2:
        titles = {"accuracy": "Held-out accuracy"}
    return {
        PREFIX + name: Metric(title, "of a subset", progress=True, higher_is_better=True)
        for name, title in titles.items()
    }
