import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lejepa_jax.evaluation import suite as suites
from lejepa_jax.evaluation.errors import confusion_matrix
from lejepa_jax.evaluation.few_shot import FewShot, few_shot_accuracy
from lejepa_jax.evaluation.labels import shuffle_by_class
from lejepa_jax.evaluation.suite import probe_suite, run_probes

CLASSES = 10


def few_shot_rows(key, labels, shots, num_draws):
    """The labeled rows of each draw, from the sorted order alone."""
    starts = np.searchsorted(np.sort(labels), np.arange(CLASSES))
    for draw in jax.random.split(key, num_draws):
        order = np.asarray(shuffle_by_class(draw, jnp.asarray(labels), CLASSES)[0])
        yield order[starts[:, None] + np.arange(shots)].reshape(-1)


@pytest.fixture(scope="module")
def found(digits):
    return run_probes(jax.random.key(5), *digits, num_classes=CLASSES, num_draws=4)


@pytest.fixture(scope="module")
def suite(found):
    return found.scores


@pytest.mark.parametrize("shots", [1, 10])
def test_few_shot_probes_agree_with_scikit_learn_on_the_same_draws(digits, suite, shots):
    train, train_labels, test, test_labels = digits
    varies = train.std(axis=0) > 0
    scaler = StandardScaler().fit(train)  # all rows: no label needed
    key = jax.random.split(jax.random.key(5))[1]
    accuracies = []
    for rows in few_shot_rows(key, train_labels, shots, 4):
        assert np.all(np.bincount(train_labels[rows]) == shots)
        oracle = LogisticRegression(C=1 / (1e-3 * len(rows) * 64), max_iter=5000)
        oracle.fit(scaler.transform(train[rows]), train_labels[rows])
        accuracies.append(oracle.score(scaler.transform(test) * varies, test_labels))
    assert suite[f"few_shot_{shots}"] == pytest.approx(np.mean(accuracies), abs=0.01)
    assert suite[f"few_shot_{shots}_std"] == pytest.approx(np.std(accuracies), abs=0.01)


def test_draws_are_nested_and_depend_on_the_key_and_the_labels_alone(digits, key):
    labels = digits[1]
    few, many = (list(few_shot_rows(key, labels, s, 3)) for s in (2, 6))
    for small, large in zip(few, many, strict=True):
        assert set(small) < set(large)
        assert len(set(large)) == len(large)
    assert set(few[0]) != set(few[1])


def test_one_number_of_shots_alone_gives_what_the_suite_gives(digits, suite):
    key = jax.random.split(jax.random.key(5))[1]
    alone = few_shot_accuracy(key, *digits, num_classes=CLASSES, shots=5, num_draws=4)
    assert alone.mean == pytest.approx(suite["few_shot_5"], abs=0.002)
    # The units of the features change nothing: the same draws, standardized.
    train, train_labels, test, test_labels = digits
    moved = few_shot_accuracy(
        key,
        3 * train + 5,
        train_labels,
        3 * test + 5,
        test_labels,
        num_classes=CLASSES,
        shots=5,
        num_draws=4,
    )
    assert moved.mean == pytest.approx(alone.mean, abs=0.002)


def test_the_suite_names_every_probe_and_more_labels_help(suite):
    few = [f"few_shot_{s}{end}" for s in (1, 5, 10) for end in ("", "_std")]
    assert list(suite) == ["knn", "linear", *few]
    assert all(type(value) is float for value in suite.values())
    accuracies = [suite[name] for name in ("few_shot_1", "few_shot_5", "few_shot_10", "linear")]
    assert accuracies == sorted(accuracies)
    assert 0.4 < accuracies[0] < 0.75
    assert accuracies[-1] > 0.9
    assert suite["knn"] > 0.9


def test_shots_that_a_class_cannot_serve_are_left_out_and_logged(caplog, monkeypatch):
    monkeypatch.setattr(suites, "linear_predict", lambda *args, **kwargs: np.zeros(8, int))
    monkeypatch.setattr(
        suites,
        "few_shot_accuracies",
        lambda *args, shots, **kwargs: {s: FewShot(0.5, 0.1) for s in shots},
    )
    x, y = jnp.arange(8.0)[:, None], jnp.array([0, 0, 0, 0, 0, 0, 1, 1])
    suite = probe_suite(jax.random.key(0), x, y, x, y, num_classes=2, shots=(1, 2, 3), k=1)
    assert list(suite)[2::2] == ["few_shot_1", "few_shot_2"]
    assert "few_shot_3 is left out: class 1 has 2 training examples" in caplog.text


def test_the_errors_of_the_linear_probe_are_those_of_its_accuracy(digits, found):
    confusion = confusion_matrix(digits[3], found.predicted, num_classes=CLASSES)
    np.testing.assert_array_equal(confusion.sum(1), np.bincount(digits[3], minlength=CLASSES))
    assert np.trace(confusion) / confusion.sum() == pytest.approx(found.scores["linear"])


def test_features_that_are_not_finite_are_logged(caplog, monkeypatch):
    monkeypatch.setattr(suites, "linear_predict", lambda *args, **kwargs: np.zeros(8, int))
    monkeypatch.setattr(suites, "knn_accuracy", lambda *args, **kwargs: 0.5)
    x, y = np.arange(8.0, dtype=np.float32)[:, None], np.arange(8) % 2
    for value, logged in ((1.0, False), (np.inf, True), (np.nan, True)):
        caplog.clear()
        x[3] = value
        run_probes(jax.random.key(0), x, y, x, y, num_classes=2, shots=())
        assert ("not finite (NaN or Inf)" in caplog.text) == logged


def test_bad_arguments_are_named(key):
    x, y = jnp.arange(8.0)[:, None], jnp.array([0, 0, 0, 0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"shots must be at most .* got 3, and class 1 has 2"):
        few_shot_accuracy(key, x, y, x, y, num_classes=2, shots=3)
    with pytest.raises(ValueError, match=r"class 2 has 0"):
        few_shot_accuracy(key, x, y, x, y, num_classes=3, shots=1)
    with pytest.raises(ValueError, match=r"shots must be positive, got 0"):
        few_shot_accuracy(key, x, y, x, y, num_classes=2, shots=0)
    with pytest.raises(ValueError, match=r"num_draws must be positive, got 0"):
        few_shot_accuracy(key, x, y, x, y, num_classes=2, shots=1, num_draws=0)
    with pytest.raises(ValueError, match=r"train_labels must be between 0 and 1 .* got -1"):
        probe_suite(key, x, y - 1, x, y, num_classes=2)
    for l2 in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=f"l2 must be finite and not negative, got {l2}"):
            few_shot_accuracy(key, x, y, x, y, num_classes=2, shots=1, l2=l2)
