import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

from lejepa_jax.evaluation import probes

CLASSES = 10


@pytest.fixture(scope="module")
def digits():
    """600 scans, 300 of them to fit on, with the constant border pixels kept."""
    images, labels = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(images))[:600]
    x, y = images[rows].astype(np.float32), labels[rows].astype(np.int32)
    return x[:300], y[:300], x[300:], y[300:]


def test_standardization_agrees_with_scikit_learn_and_zeroes_constant_features(digits):
    train, _, test, _ = digits
    scaler = StandardScaler().fit(train.astype(np.float64))
    ours_train, ours_test = probes.standardize(train, test)
    varies = train.std(axis=0) > 0
    assert not varies.all()
    np.testing.assert_allclose(ours_train[:, varies], scaler.transform(train)[:, varies], atol=1e-4)
    np.testing.assert_allclose(ours_test[:, varies], scaler.transform(test)[:, varies], atol=1e-4)
    test_only = np.where(varies[None, :], test, np.float32(7.0))
    assert np.all(np.asarray(probes.standardize(train, test_only)[1])[:, ~varies] == 0)


@given(scale=st.floats(0.01, 100.0), shift=st.floats(-50.0, 50.0))
def test_standardized_features_do_not_depend_on_units(scale, shift):
    x = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    expected = probes.standardize(x, x)[1]
    moved = (scale * x + shift).astype(np.float32)
    # A shift much larger than the spread costs digits before the function sees the numbers.
    tolerance = 1e-4 + 1e-5 * abs(shift) / scale
    np.testing.assert_allclose(probes.standardize(moved, moved)[1], expected, atol=tolerance)


def test_a_feature_that_varies_by_rounding_only_counts_as_constant():
    x = np.stack([np.arange(8), 1000 + 6e-5 * (np.arange(8) % 2)], axis=1).astype(np.float32)
    assert len(set(x[:, 1])) == 2
    assert np.all(np.asarray(probes.standardize(x, x)[0])[:, 1] == 0)


@pytest.mark.parametrize(
    ("metric", "temperature", "weights"),
    [
        ("euclidean", None, "uniform"),
        ("euclidean", 0.07, lambda distance: 1 / (distance + 0.07)),
        # On unit rows the cosine is 1 - distance^2 / 2.
        ("cosine", 0.07, lambda distance: np.exp((1 - distance**2 / 2) / 0.07)),
    ],
)
def test_nearest_neighbors_agree_with_scikit_learn(digits, metric, temperature, weights):
    train, train_labels, test, _ = digits
    oracle = KNeighborsClassifier(n_neighbors=5, weights=weights, algorithm="brute")
    unit = normalize if metric == "cosine" else np.array
    expected = oracle.fit(unit(train), train_labels).predict(unit(test))
    predicted = probes.knn_predict(
        train, train_labels, test, num_classes=CLASSES, k=5, metric=metric, temperature=temperature
    )
    np.testing.assert_array_equal(predicted, expected)


def test_blocks_of_rows_give_the_answer_of_all_rows_at_once(digits, monkeypatch):
    train, labels, test, _ = digits
    whole = probes.knn_predict(train, labels, test, num_classes=CLASSES)
    monkeypatch.setattr(probes, "_MAX_SIMILARITIES", 300 * 7)  # 7 rows a block, a remainder of 6
    assert len(test) % 7
    np.testing.assert_array_equal(
        probes.knn_predict(train, labels, test, num_classes=CLASSES), whole
    )


def test_equal_distances_go_to_the_earlier_row_and_equal_votes_to_the_smaller_class():
    train = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    labels = jnp.array([2, 1, 0])
    query = jnp.array([[1.0, 0.0]])
    assert probes.knn_predict(train, labels, query, num_classes=3, k=1)[0] == 2
    assert probes.knn_predict(train, labels, query, num_classes=3, k=2)[0] == 1
    assert probes.knn_predict(train, labels, query, num_classes=3, k=3, temperature=None)[0] == 0


@given(seed=st.integers(0, 1000))
def test_the_order_of_the_training_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    train = rng.normal(size=(30, 4)).astype(np.float32)
    labels = rng.integers(0, 3, 30).astype(np.int32)
    test, order = rng.normal(size=(9, 4)).astype(np.float32), rng.permutation(30)
    np.testing.assert_array_equal(
        probes.knn_predict(train, labels, test, num_classes=3, k=5),
        probes.knn_predict(train[order], labels[order], test, num_classes=3, k=5),
    )


def test_a_large_common_offset_does_not_change_euclidean_neighbors():
    rng = np.random.default_rng(2)
    train = rng.normal(size=(30, 4)).astype(np.float32)
    labels, test = np.arange(30, dtype=np.int32), train + 0.01
    predicted = probes.knn_predict(
        train + 1000, labels, test + 1000, num_classes=30, k=1, metric="euclidean"
    )
    np.testing.assert_array_equal(predicted, labels)


@pytest.mark.parametrize("l2", [1e-2, 1e-4])
def test_the_linear_probe_agrees_with_scikit_learn(digits, l2):
    train, train_labels, test, test_labels = digits
    probe = probes.linear_probe(train, train_labels, num_classes=CLASSES, l2=l2, tolerance=1e-5)
    scaler = StandardScaler().fit(train)
    oracle = LogisticRegression(C=1 / (l2 * train.size), tol=1e-7, max_iter=5000)
    oracle.fit(scaler.transform(train), train_labels)
    ours = jax.nn.softmax(probes.probe_logits(probe, train), axis=-1)
    theirs = oracle.predict_proba(scaler.transform(train))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    varies = train.std(axis=0) > 0  # scikit-learn leaves what test has in a constant feature
    accuracy = oracle.score(scaler.transform(test) * varies, test_labels)
    assert probes.probe_accuracy(probe, test, test_labels) == pytest.approx(accuracy, abs=0.005)


def test_the_penalty_with_the_best_likelihood_on_held_out_labels_is_chosen(digits, key):
    train, labels, _, _ = digits
    grid = (1e-1, 1e-3, 1e-5, 1e-7)
    held_out = np.asarray(probes.stratified_mask(key, labels, 0.2, num_classes=CLASSES))
    x = StandardScaler().fit_transform(train)
    losses = []
    for l2 in grid:
        oracle = LogisticRegression(C=1 / (l2 * (~held_out).sum() * 64), max_iter=5000)
        oracle.fit(x[~held_out], labels[~held_out])
        losses.append(log_loss(labels[held_out], oracle.predict_proba(x[held_out])))
    chosen = probes.select_l2(key, train, labels, num_classes=CLASSES, grid=grid)
    assert chosen == grid[int(np.argmin(losses))]
    assert chosen not in (grid[0], grid[-1])


def test_test_labels_do_not_choose_the_penalty(digits, key, monkeypatch):
    train, train_labels, test, test_labels = digits
    seen = []
    monkeypatch.setattr(probes, "select_l2", lambda key, x, y, **_: seen.append((x, y)) or 1e-4)
    probes.linear_accuracy(key, train, train_labels, test, test_labels, num_classes=CLASSES)
    assert len(seen) == 1
    assert seen[0][0] is train
    assert seen[0][1] is train_labels


def test_adamw_comes_near_the_minimum_of_lbfgs(digits, key):
    train, train_labels, test, test_labels = digits
    probe = probes.linear_probe_adamw(
        key, train, train_labels, num_classes=CLASSES, batch_size=64, learning_rate=0.01
    )
    reference = probes.linear_probe(train, train_labels, num_classes=CLASSES, l2=1e-5)
    ours = probes.probe_accuracy(probe, test, test_labels)
    assert ours >= probes.probe_accuracy(reference, test, test_labels) - 0.02


@given(labels=st.lists(st.integers(0, 3), min_size=24, max_size=24), fraction=st.floats(0.05, 0.95))
def test_a_stratified_part_holds_its_share_of_every_class(labels, fraction):
    labels = np.array(labels, np.int32)
    mask = np.asarray(probes.stratified_mask(jax.random.key(3), labels, fraction, num_classes=4))
    for c in range(4):
        count, marked = int((labels == c).sum()), int(mask[labels == c].sum())
        if count > 1:
            assert 1 <= marked <= count - 1
            assert abs(marked - fraction * count) <= 1.0
        else:
            assert marked == 0


def few_shot_rows(key, labels, shots, num_draws):
    """The labeled rows of each draw, from the sorted order alone."""
    starts = np.searchsorted(np.sort(labels), np.arange(CLASSES))
    for draw in jax.random.split(key, num_draws):
        order = np.asarray(probes._shuffle_by_class(draw, jnp.asarray(labels), CLASSES)[0])
        yield order[starts[:, None] + np.arange(shots)].reshape(-1)


@pytest.fixture(scope="module")
def suite(digits):
    return probes.probe_suite(jax.random.key(5), *digits, num_classes=CLASSES, num_draws=4)


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
    alone = probes.few_shot_accuracy(key, *digits, num_classes=CLASSES, shots=5, num_draws=4)
    assert alone.mean == pytest.approx(suite["few_shot_5"], abs=0.002)
    # The units of the features change nothing: the same draws, standardized.
    train, train_labels, test, test_labels = digits
    moved = probes.few_shot_accuracy(
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
    monkeypatch.setattr(probes, "linear_accuracy", lambda *args, **kwargs: 0.5)
    monkeypatch.setattr(
        probes,
        "_few_shot_accuracies",
        lambda *args, shots, **kwargs: {s: probes.FewShot(0.5, 0.1) for s in shots},
    )
    x, y = jnp.arange(8.0)[:, None], jnp.array([0, 0, 0, 0, 0, 0, 1, 1])
    suite = probes.probe_suite(jax.random.key(0), x, y, x, y, num_classes=2, shots=(1, 2, 3), k=1)
    assert list(suite)[2::2] == ["few_shot_1", "few_shot_2"]
    assert "few_shot_3 is left out: class 1 has 2 training examples" in caplog.text


def test_bad_arguments_are_named(key):
    x, y = jnp.arange(8.0)[:, None], jnp.array([0, 0, 0, 0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"shots must be at most .* got 3, and class 1 has 2"):
        probes.few_shot_accuracy(key, x, y, x, y, num_classes=2, shots=3)
    with pytest.raises(ValueError, match=r"class 2 has 0"):
        probes.few_shot_accuracy(key, x, y, x, y, num_classes=3, shots=1)
    with pytest.raises(ValueError, match=r"shots must be positive, got 0"):
        probes.few_shot_accuracy(key, x, y, x, y, num_classes=2, shots=0)
    with pytest.raises(ValueError, match=r"num_draws must be positive, got 0"):
        probes.few_shot_accuracy(key, x, y, x, y, num_classes=2, shots=1, num_draws=0)
    with pytest.raises(ValueError, match=r"train_labels must be between 0 and 1 .* got -1"):
        probes.probe_suite(key, x, y - 1, x, y, num_classes=2)
    with pytest.raises(ValueError, match=r"test_labels must be between 0 and 1 .* got 2"):
        probes.knn_accuracy(x, y, x, y + 1, num_classes=2)
    with pytest.raises(ValueError, match=r"k must be between 1 and .* \(8\), got 9"):
        probes.knn_predict(x, y, x, num_classes=2, k=9)
    with pytest.raises(ValueError, match=r"temperature must be positive or None, got 0"):
        probes.knn_predict(x, y, x, num_classes=2, k=1, temperature=0.0)
    with pytest.raises(ValueError, match=r"l2 must not be negative, got -1"):
        probes.linear_probe(x, y, num_classes=2, l2=-1.0)
    with pytest.raises(ValueError, match=r"two examples of some class"):
        probes.select_l2(key, x[:2], jnp.array([0, 1]), num_classes=2)
    with pytest.raises(ValueError, match=r"grid must hold"):
        probes.select_l2(key, x, y, num_classes=2, grid=())
    with pytest.raises(ValueError, match=r"validation_fraction must be in \(0, 1\), got 1"):
        probes.select_l2(key, x, y, num_classes=2, validation_fraction=1.0)
    with pytest.raises(ValueError, match=r"l2 must be None with solver='adamw'"):
        probes.linear_accuracy(key, x, y, x, y, num_classes=2, l2=0.1, solver="adamw")
    with pytest.raises(ValueError, match=r"epochs must be positive, got 0"):
        probes.linear_probe_adamw(key, x, y, num_classes=2, epochs=0)
    with pytest.raises(ValueError, match=r"batch_size must be positive, got 0"):
        probes.linear_probe_adamw(key, x, y, num_classes=2, batch_size=0)
    with pytest.raises(ValueError, match=r"train_labels must not be empty"):
        probes.linear_probe(x[:0], y[:0], num_classes=2, l2=0.1)
