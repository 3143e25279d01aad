import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from lejepa_jax.evaluation import linear
from lejepa_jax.evaluation.labels import stratified_mask
from lejepa_jax.evaluation.linear import (
    linear_accuracy,
    linear_predict,
    linear_probe,
    probe_accuracy,
    probe_logits,
    select_l2,
)

CLASSES = 10


@pytest.mark.parametrize("l2", [1e-2, 1e-4])
def test_the_linear_probe_agrees_with_scikit_learn(digits, l2):
    train, train_labels, test, test_labels = digits
    probe = linear_probe(train, train_labels, num_classes=CLASSES, l2=l2, tolerance=1e-5)
    scaler = StandardScaler().fit(train)
    oracle = LogisticRegression(C=1 / (l2 * train.size), tol=1e-7, max_iter=5000)
    oracle.fit(scaler.transform(train), train_labels)
    ours = jax.nn.softmax(probe_logits(probe, train), axis=-1)
    theirs = oracle.predict_proba(scaler.transform(train))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    varies = train.std(axis=0) > 0  # scikit-learn leaves what test has in a constant feature
    accuracy = oracle.score(scaler.transform(test) * varies, test_labels)
    assert probe_accuracy(probe, test, test_labels) == pytest.approx(accuracy, abs=0.005)


def test_the_penalty_with_the_best_likelihood_on_held_out_labels_is_chosen(digits, key):
    train, labels, _, _ = digits
    grid = (1e-1, 1e-3, 1e-5, 1e-7)
    held_out = np.asarray(stratified_mask(key, labels, 0.2, num_classes=CLASSES))
    x = StandardScaler().fit_transform(train)
    losses = []
    for l2 in grid:
        oracle = LogisticRegression(C=1 / (l2 * (~held_out).sum() * 64), max_iter=5000)
        oracle.fit(x[~held_out], labels[~held_out])
        losses.append(log_loss(labels[held_out], oracle.predict_proba(x[held_out])))
    chosen = select_l2(key, train, labels, num_classes=CLASSES, grid=grid)
    assert chosen == grid[int(np.argmin(losses))]
    assert chosen not in (grid[0], grid[-1])


def test_test_labels_do_not_choose_the_penalty(digits, key, monkeypatch):
    train, train_labels, test, test_labels = digits
    seen = []
    monkeypatch.setattr(linear, "select_l2", lambda key, x, y, **_: seen.append((x, y)) or 1e-4)
    linear_accuracy(key, train, train_labels, test, test_labels, num_classes=CLASSES)
    assert len(seen) == 1
    assert seen[0][0] is train
    assert seen[0][1] is train_labels


def test_the_accuracy_is_that_of_the_predictions(digits, key):
    train, train_labels, test, test_labels = digits
    options = {"num_classes": CLASSES, "l2": 1e-4}
    predicted = linear_predict(key, train, train_labels, test, **options)
    accuracy = linear_accuracy(key, *digits, **options)
    assert accuracy == np.mean(np.asarray(predicted) == test_labels)
    probe = linear_probe(train, train_labels, **options)
    np.testing.assert_array_equal(predicted, probe_logits(probe, test).argmax(-1))


def test_bad_arguments_are_named(key):
    x, y = jnp.arange(8.0)[:, None], jnp.array([0, 0, 0, 0, 0, 0, 1, 1])
    for l2 in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"l2 must be finite and not negative, got {l2}"):
            linear_probe(x, y, num_classes=2, l2=l2)
        with pytest.raises(ValueError, match=f"grid must be finite and not negative, got {l2}"):
            select_l2(key, x, y, num_classes=2, grid=(0.1, l2))
    with pytest.raises(ValueError, match=r"max_steps must be positive, got 0"):
        linear_probe(x, y, num_classes=2, l2=0.1, max_steps=0)
    with pytest.raises(ValueError, match=r"two examples of some class"):
        select_l2(key, x[:2], jnp.array([0, 1]), num_classes=2)
    with pytest.raises(ValueError, match=r"grid must hold"):
        select_l2(key, x, y, num_classes=2, grid=())
    with pytest.raises(ValueError, match=r"validation_fraction must be in \(0, 1\), got 1"):
        select_l2(key, x, y, num_classes=2, validation_fraction=1.0)
    with pytest.raises(ValueError, match=r"train_labels must not be empty"):
        linear_probe(x[:0], y[:0], num_classes=2, l2=0.1)
