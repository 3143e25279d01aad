import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from lejepa_jax.evaluation import knn
from lejepa_jax.evaluation.knn import knn_accuracy, knn_predict

CLASSES = 10


@pytest.mark.parametrize("temperature", [0.07, 0.5, float("inf")])
def test_nearest_neighbors_agree_with_scikit_learn(digits, temperature):
    train, train_labels, test, _ = digits

    def weights(distance):  # on unit rows the cosine is 1 - distance^2 / 2
        return np.exp((1 - distance**2 / 2) / temperature)

    oracle = KNeighborsClassifier(n_neighbors=5, weights=weights, algorithm="brute")
    expected = oracle.fit(normalize(train), train_labels).predict(normalize(test))
    predicted = knn_predict(
        train, train_labels, test, num_classes=CLASSES, k=5, temperature=temperature
    )
    np.testing.assert_array_equal(predicted, expected)


def test_blocks_of_rows_give_the_answer_of_all_rows_at_once(digits, monkeypatch):
    train, labels, test, _ = digits
    whole = knn_predict(train, labels, test, num_classes=CLASSES)
    monkeypatch.setattr(knn, "_MAX_SIMILARITIES", 300 * 7)  # 7 rows a block, a remainder of 6
    assert len(test) % 7
    np.testing.assert_array_equal(knn_predict(train, labels, test, num_classes=CLASSES), whole)


def test_equal_distances_go_to_the_earlier_row_and_equal_votes_to_the_smaller_class():
    train = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    labels = jnp.array([2, 1, 0])
    query = jnp.array([[1.0, 0.0]])
    assert knn_predict(train, labels, query, num_classes=3, k=1)[0] == 2
    assert knn_predict(train, labels, query, num_classes=3, k=2)[0] == 1
    assert knn_predict(train, labels, query, num_classes=3, k=3, temperature=float("inf"))[0] == 0


@given(seed=st.integers(0, 1000))
def test_the_order_of_the_training_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    train = rng.normal(size=(30, 4)).astype(np.float32)
    labels = rng.integers(0, 3, 30).astype(np.int32)
    test, order = rng.normal(size=(9, 4)).astype(np.float32), rng.permutation(30)
    np.testing.assert_array_equal(
        knn_predict(train, labels, test, num_classes=3, k=5),
        knn_predict(train[order], labels[order], test, num_classes=3, k=5),
    )


def test_bad_arguments_are_named():
    x, y = jnp.arange(8.0)[:, None], jnp.array([0, 0, 0, 0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"test_labels must be between 0 and 1 .* got 2"):
        knn_accuracy(x, y, x, y + 1, num_classes=2)
    with pytest.raises(ValueError, match=r"k must be between 1 and .* \(8\), got 9"):
        knn_predict(x, y, x, num_classes=2, k=9)
    for temperature in (0.0, float("nan")):
        with pytest.raises(ValueError, match=f"temperature must be positive, got {temperature}"):
            knn_predict(x, y, x, num_classes=2, k=1, temperature=temperature)
