"""What is measured every few hundred steps of a run: a few numbers of a fixed subset."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lejepa_jax.data.source import Source
from lejepa_jax.data.splits import Splits
from lejepa_jax.evaluation.features import ShardBatch, stratified_subset
from lejepa_jax.evaluation.knn import knn_accuracy
from lejepa_jax.evaluation.linear import linear_probe, probe_accuracy

#: What the names of these numbers begin with in the log: they are of held-out examples.
PREFIX = "eval/"
# Choosing the penalty would take six fits; on the digits and on CIFAR-10 this one loses little.
_L2, _MAX_STEPS = 1e-3, 100

S = TypeVar("S", bound=Source)


@runtime_checkable
class QuickEvaluator(Protocol):
    """Measures variables during training; every process runs it."""

    def __call__(
        self,
        key: PRNGKeyArray,
        variables: Any,
        splits: Splits,
        shard_batch: ShardBatch,
        /,
    ) -> Mapping[str, float]:
        """Evaluate on a fixed subset.

        Args:
            key: Random key, the same at every call: numbers of two steps can be compared.
            variables: The trained variables.
            splits: The data.
            shard_batch: Puts a NumPy batch that every process holds on the devices.

        Returns:
            Numbers by name.
        """
        ...


def run_quick_evaluators(
    evaluators: Mapping[str, QuickEvaluator],
    key: PRNGKeyArray,
    variables: Any,
    splits: Splits,
    shard_batch: ShardBatch,
) -> dict[str, float]:
    """Run quick evaluators one after the other, in every process.

    Args:
        evaluators: By name, as a task declares them.
        key: Random key, the same for all of them and at every call.
        variables: The trained variables.
        splits: The data.
        shard_batch: Puts a batch on the devices.

    Returns:
        Their numbers by name, behind `eval/`.
    """
    found = {}
    for evaluate in evaluators.values():
        for name, value in evaluate(key, variables, splits, shard_batch).items():
            found[PREFIX + name] = float(value)
    return found


def quick_subset(source: S, limit: int) -> S:
    """Choose a fixed part of a source, of every class its share.

    Args:
        source: The examples.
        limit: How many at most.

    Returns:
        The part; the source itself if it is no larger.
    """
    if len(source) <= limit:
        return source
    return source.subset(stratified_subset(source.labels, len(source), limit))  # pyright: ignore


def quick_probes(
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[np.ndarray, " m"],
    *,
    num_classes: int,
    k: int = 20,
) -> dict[str, float]:
    """Score a k-NN vote and a linear probe of one fixed penalty.

    The probes of :func:`run_probes` fitted to fewer examples: for the course of a run, not for
    comparing with published numbers.

    Args:
        train_features: Frozen features.
        train_labels: Their classes, -1 where unknown.
        test_features: Features to classify.
        test_labels: Their true classes, -1 where unknown.
        num_classes: Number of classes.
        k: Neighbors that vote.

    Returns:
        The accuracies `knn` and `linear`; nothing where one of the sets has no labels.

    Examples:
        >>> x, y = np.arange(20.0, dtype=np.float32)[:, None], np.arange(20) // 10
        >>> quick_probes(x - 9.5, y, x - 9.5, y, num_classes=2, k=1)
        {'knn': 1.0, 'linear': 1.0}
        >>> quick_probes(x, y, x, y - 10, num_classes=2)
        {}
    """
    known, asked = train_labels >= 0, test_labels >= 0
    if not known.any() or not asked.any():
        return {}
    fitted, labels = train_features[known], train_labels[known]
    scored, true = test_features[asked], test_labels[asked]
    probe = linear_probe(fitted, labels, num_classes=num_classes, l2=_L2, max_steps=_MAX_STEPS)
    return {
        "knn": knn_accuracy(fitted, labels, scored, true, num_classes=num_classes, k=k),
        "linear": probe_accuracy(probe, scored, true),
    }
