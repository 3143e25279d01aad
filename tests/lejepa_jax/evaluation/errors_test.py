import numpy as np
from sklearn.metrics import confusion_matrix as reference

from lejepa_jax.evaluation.errors import class_accuracies, confusion_matrix


def test_the_confusion_matrix_is_that_of_scikit_learn_without_unlabeled_examples():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(-1, 4, 200), rng.integers(0, 5, 200)
    known = labels >= 0
    expected = reference(labels[known], predicted[known], labels=range(5))
    got = confusion_matrix(labels, predicted, num_classes=5)
    np.testing.assert_array_equal(got, expected)
    accuracies = class_accuracies(got)
    assert np.isnan(accuracies[4])
    np.testing.assert_allclose(accuracies[:4], np.diag(expected)[:4] / expected.sum(1)[:4])
