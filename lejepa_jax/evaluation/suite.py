"""All probes of one set of frozen features."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lejepa_jax.evaluation.few_shot import few_shot_accuracies
from lejepa_jax.evaluation.knn import knn_accuracy
from lejepa_jax.evaluation.labels import check_labels
from lejepa_jax.evaluation.linear import linear_predict

_logger = logging.getLogger(__name__)


class ProbeResults(NamedTuple):
    """What the probes found.

    Attributes:
        scores: Accuracies in [0, 1]: `knn`, `linear`, and for each number of shots `few_shot_S`
            with its standard deviation over draws, `few_shot_S_std`.
        predicted: Class of each test row by the linear probe, see :func:`confusion_matrix`.
    """

    scores: dict[str, float]
    predicted: Int[np.ndarray, " m"]


def run_probes(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[Array | np.ndarray, " m"],
    *,
    num_classes: int,
    shots: Sequence[int] = (1, 5, 10),
    num_draws: int = 10,
    k: int = 20,
    l2: float | None = None,
    few_shot_l2: float = 1e-3,
) -> ProbeResults:
    """Run every probe on one set of features.

    Called with the same key and labels for an encoder, the untrained encoder and the pixels, it
    gives numbers that can be compared: the validation part and the few labeled examples are the
    same.

    Args:
        key: Draws the validation part and the few labeled examples.
        train_features: Frozen features.
        train_labels: Their classes; a row without label is the caller's to drop.
        test_features: Features to classify.
        test_labels: Their true classes.
        num_classes: Number of classes.
        shots: Labels a class; a number that some class cannot serve is left out and logged.
        num_draws: Draws of the labeled examples.
        k: Neighbors that vote.
        l2: Penalty of the linear probe; `None` chooses it on a validation part.
        few_shot_l2: Penalty of the few-shot probes.

    Returns:
        Accuracies, and the classes that the linear probe predicts.

    Raises:
        ValueError: A label is out of range or an option is invalid, see the single probes.

    Examples:
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> found = run_probes(jax.random.key(0), x, y, x, y, num_classes=2, shots=(10, 99), k=1)
        >>> list(found.scores), found.predicted.sum()
        (['knn', 'linear', 'few_shot_10', 'few_shot_10_std'], np.int64(10))
    """
    train_labels = check_labels("train_labels", train_labels, num_classes, train_features)
    test_labels = check_labels("test_labels", test_labels, num_classes, test_features)
    # Uploaded once for all probes.
    train_features, test_features = jnp.asarray(train_features), jnp.asarray(test_features)
    data = (train_features, train_labels, test_features, test_labels)
    if not bool(jnp.isfinite(train_features).all() & jnp.isfinite(test_features).all()):
        _logger.warning("some features are not finite (NaN or Inf): what the probes find is chance")
    linear_key, few_shot_key = jax.random.split(key)
    knn = knn_accuracy(*data, num_classes=num_classes, k=k)
    predicted = linear_predict(linear_key, *data[:3], num_classes=num_classes, l2=l2)
    predicted = np.asarray(predicted)
    scores = {"knn": knn, "linear": float(np.mean(predicted == test_labels))}
    counts = np.bincount(train_labels, minlength=num_classes)
    smallest = int(counts.argmin())
    served = tuple(s for s in shots if 1 <= s <= counts[smallest])
    for s in shots:
        if s not in served:
            _logger.warning(
                "few_shot_%d is left out: class %d has %d training examples",
                s,
                smallest,
                counts[smallest],
            )
    if served:
        few = few_shot_accuracies(
            few_shot_key,
            *data,
            num_classes=num_classes,
            shots=served,
            num_draws=num_draws,
            l2=few_shot_l2,
        )
        for s, result in few.items():
            scores[f"few_shot_{s}"] = result.mean
            scores[f"few_shot_{s}_std"] = result.std
    return ProbeResults(scores, predicted)


def probe_suite(
    key: PRNGKeyArray,
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[Array | np.ndarray, " m"],
    *,
    num_classes: int,
    **options: Any,
) -> dict[str, float]:
    """Give the scores of :func:`run_probes` alone.

    Args:
        key: Draws the validation part and the few labeled examples.
        train_features: Frozen features.
        train_labels: Their classes.
        test_features: Features to classify.
        test_labels: Their true classes.
        num_classes: Number of classes.
        **options: Further options of :func:`run_probes`.

    Returns:
        Accuracies in [0, 1].

    Raises:
        ValueError: See :func:`run_probes`.

    Examples:
        >>> x, y = jnp.arange(20.0)[:, None], (jnp.arange(20) >= 10).astype(jnp.int32)
        >>> list(probe_suite(jax.random.key(0), x, y, x, y, num_classes=2, shots=()))
        ['knn', 'linear']
    """
    data = (train_features, train_labels, test_features, test_labels)
    return run_probes(key, *data, num_classes=num_classes, **options).scores
