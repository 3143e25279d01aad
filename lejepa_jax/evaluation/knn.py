"""Nearest neighbors among frozen features."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from lejepa_jax.evaluation.labels import check_labels

# Largest number of similarities held at a time: 256 MiB of float32.
_MAX_SIMILARITIES = 2**26
_HIGHEST = lax.Precision.HIGHEST


def _unit_rows(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


@partial(jax.jit, static_argnames=("k", "num_classes", "block"))
def _knn_predict(
    train: Array,
    labels: Array,
    test: Array,
    temperature: Array,
    *,
    k: int,
    num_classes: int,
    block: int,
) -> Int[Array, " m"]:
    train, test = _unit_rows(train.astype(jnp.float32)), _unit_rows(test.astype(jnp.float32))

    def predict(row):
        cosine = jnp.matmul(train, row, precision=_HIGHEST)
        top, index = lax.top_k(cosine, k)  # equal values: the smaller index first
        # A common factor changes no vote, and keeps exp(1 / 0.01) from overflowing. Not top[0]:
        # a slice of the result makes XLA on CPU sort the whole row, ten times slower.
        votes = jnp.exp((top - jnp.max(top)) / temperature)
        score = jnp.zeros(num_classes, jnp.float32).at[labels[index]].add(votes)
        return jnp.argmax(score).astype(jnp.int32)  # equal votes: the smaller class

    return lax.map(predict, test, batch_size=block)


def knn_predict(
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
) -> Int[Array, " m"]:
    r"""Predict the class of each test row by a weighted vote of its nearest training rows.

    With :math:`\mathcal N_k(x)` the :math:`k` training rows of largest cosine,

    .. math:: \hat y(x) = \arg\max_c \sum_{i \in \mathcal N_k(x)} e^{\cos(x, x_i) / \tau}\,
        1[y_i = c] .

    Test rows are handled in blocks, so that no more than 2^26 similarities exist at a time.
    Among equal cosines the training row of smaller index is nearer, among equal votes the smaller
    class wins: the same input gives the same answer.

    Args:
        train_features: Rows that vote.
        train_labels: Their classes, 0 to `num_classes - 1`.
        test_features: Rows to classify.
        num_classes: Number of classes.
        k: Number of neighbors that vote.
        temperature: The :math:`\tau` above; `inf` gives every neighbor the same vote.

    Returns:
        The predicted class of each test row.

    Raises:
        ValueError: `k` is not in 1 to n, or the temperature is not positive.

    Examples:
        >>> train = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> knn_predict(train, jnp.array([0, 0, 1]), jnp.array([[0.1, 2.0]]), num_classes=2, k=1)
        Array([1], dtype=int32)

    References:
        Z. Wu, Y. Xiong, S. Yu, D. Lin, Unsupervised Feature Learning via Non-Parametric Instance
        Discrimination, arXiv 1805.01978, 2018, Section 3.4 (the cosine vote and its temperature).
    """
    if not 1 <= k <= len(train_features):
        raise ValueError(
            f"k must be between 1 and the number of training rows ({len(train_features)}), got {k}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return _knn_predict(
        jnp.asarray(train_features),
        jnp.asarray(train_labels, jnp.int32),
        jnp.asarray(test_features),
        jnp.float32(temperature),
        k=k,
        num_classes=num_classes,
        block=int(np.clip(_MAX_SIMILARITIES // len(train_features), 1, 1024)),
    )


def knn_accuracy(
    train_features: Float[Array | np.ndarray, "n d"],
    train_labels: Int[Array | np.ndarray, " n"],
    test_features: Float[Array | np.ndarray, "m d"],
    test_labels: Int[Array | np.ndarray, " m"],
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Fraction of test rows that :func:`knn_predict` gets right.

    Args:
        train_features: Rows that vote.
        train_labels: Their classes.
        test_features: Rows to classify.
        test_labels: Their true classes.
        num_classes: Number of classes.
        k: Number of neighbors that vote; all rows when there are fewer.
        temperature: Sharpness of the votes, see :func:`knn_predict`.

    Returns:
        The accuracy, in [0, 1].

    Raises:
        ValueError: A label is outside 0 to `num_classes - 1`, or see :func:`knn_predict`.

    Examples:
        >>> x, y = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([0, 1])
        >>> knn_accuracy(x, y, x, y, num_classes=2, k=1)
        1.0
    """
    train_labels = check_labels("train_labels", train_labels, num_classes, train_features)
    test_labels = check_labels("test_labels", test_labels, num_classes, test_features)
    predicted = knn_predict(
        train_features,
        train_labels,
        test_features,
        num_classes=num_classes,
        k=min(k, len(train_features)),
        temperature=temperature,
    )
    return float(np.mean(np.asarray(predicted) == test_labels))
