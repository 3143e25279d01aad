"""Held-out accuracies and losses of a supervised classifier, at its end and while it is trained."""

import functools
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch, map_examples
from lejepa_jax.evaluation.quick import PREFIX, QuickEvaluator, quick_subset
from lejepa_jax.evaluation.results import Evaluator, Results
from lejepa_jax.nn.encoder import WeighsTokens
from lejepa_jax.report.embedding import embedding_pictures
from lejepa_jax.report.examples import examples_of_classes
from lejepa_jax.report.metric import Metric
from lejepa_jax.tasks.images import patch_maps
from lejepa_jax.tasks.labeled.config import LabeledConfig
from lejepa_jax.tasks.watching import quick_accuracy_metrics
from lejepa_jax.training.networks import Network, Variables
from lejepa_jax.training.task import Batch

#: Accuracy, loss and number of the examples of a source, from variables and what shards a batch;
#: maybe at another `size`, and with tokens weighed by their measure or not (`weigh`).
Score = Callable[..., dict[str, float]]


def accuracy_evaluators(
    config: LabeledConfig, net: Network
) -> tuple[dict[str, Evaluator], dict[str, QuickEvaluator]]:
    """Make the evaluators of a classifier; they share their compiled pass.

    Args:
        config: Sizes of the evaluation.
        net: The network, an `encoder` and a `head`.

    Returns:
        Those of the end of a run, and those of its course, by name.
    """

    @functools.partial(jax.jit, static_argnames=("size", "weigh"))
    def scores(variables: Variables, batch: Batch, size: int | None, weigh: bool | None) -> Array:
        model = net.merge(*variables)
        options = {} if weigh is None else {"weigh_tokens": weigh}
        features = model.encoder(config.test_inputs(batch, size), **options)
        return jax.nn.log_softmax(model.head(features), -1)

    def score(
        variables: Variables,
        source: Source,
        shard_batch: ShardBatch,
        size: int | None = None,
        weigh: bool | None = None,
    ) -> dict[str, float]:
        found = map_examples(
            lambda batch: scores(variables, batch, size=size, weigh=weigh),
            source,
            shard_batch,
            batch_size=config.eval_batch_size,
        )
        logs, labels = found.outputs[found.label >= 0], found.label[found.label >= 0]
        own = np.take_along_axis(logs, labels[:, None], -1)[:, 0]
        return {
            "accuracy": float((logs.argmax(-1) == labels).mean()),
            "loss": float(-own.mean()),
            "images": len(labels),
        }

    evaluators: dict[str, Evaluator] = {
        "accuracy": functools.partial(evaluate_accuracy, config, net, score)
    }
    return evaluators, {"accuracy": functools.partial(watch_accuracy, config, score)}


def evaluate_accuracy(
    config: LabeledConfig,
    net: Network,
    score: Score,
    key: PRNGKeyArray,
    variables: Mapping[str, Variables],
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> Results:
    """Score every set of variables on the held-out examples, the trained ones at further sizes.

    Args:
        config: Which sizes.
        net: The network.
        score: Scores a source.
        key: Random key of the pictures.
        variables: Variables by name.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        Accuracies, losses and pictures.
    """
    _, report_key = jax.random.split(key)
    encoder = net.shape.encoder
    # With no token beside the patches all weights are equal, and change nothing.
    choices = (False, True) if isinstance(encoder, WeighsTokens) and encoder.num_prefix else ()
    found = {}
    for name, own in variables.items():
        found[name] = score(own, splits.test, shard_batch)
        for size in config.eval_sizes if name == "encoder" else ():
            for weigh in choices or (None,):
                title = f"{name}, {size} px" + (", weighted" if weigh else "")
                found[title] = score(own, splits.test, shard_batch, size, weigh)
    diagnostics = {
        "loss": {name: one["loss"] for name, one in found.items()},
        "parameters": sum(x.size for x in jax.tree.leaves(variables["encoder"].params)),
        "images": found["encoder"]["images"],
    }
    chosen = examples_of_classes(splits.test.labels, len(splits.test), 8)
    few, shown = splits.test.gather(chosen), config.pictures(splits.test, chosen)
    maps = patch_maps(net, config.test_inputs, variables["encoder"], few, shard_batch)
    pictures = embedding_pictures(report_key, images=shown, patch_features=maps)
    scores = {"accuracy": {name: one["accuracy"] for name, one in found.items()}}
    scores["accuracy"] |= dict(config.baselines)
    return Results(scores, diagnostics, {}, pictures)


def watch_accuracy(
    config: LabeledConfig,
    score: Score,
    key: PRNGKeyArray,
    variables: Variables,
    splits: Splits,
    shard_batch: ShardBatch,
    /,
) -> dict[str, float]:
    """Score a few of the held-out examples.

    Args:
        config: How many.
        score: Scores a source.
        key: Unused.
        variables: Of the network.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        Accuracy and loss.
    """
    del key
    found = score(variables, quick_subset(splits.test, config.quick_examples), shard_batch)
    return {"accuracy": found["accuracy"], "loss": found["loss"]}


def held_out_metrics() -> dict[str, Metric]:
    """Say how the numbers of `watch_accuracy` are shown, by name in the log."""
    loss = Metric("Held-out loss", "of a subset", higher_is_better=False)
    return quick_accuracy_metrics() | {f"{PREFIX}loss": loss}
