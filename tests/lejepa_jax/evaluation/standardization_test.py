import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from lejepa_jax.evaluation.standardization import standardize


def test_standardization_agrees_with_scikit_learn_and_zeroes_constant_features(digits):
    train, _, test, _ = digits
    scaler = StandardScaler().fit(train.astype(np.float64))
    ours_train, ours_test = standardize(train, test)
    varies = train.std(axis=0) > 0
    assert not varies.all()
    np.testing.assert_allclose(ours_train[:, varies], scaler.transform(train)[:, varies], atol=1e-4)
    np.testing.assert_allclose(ours_test[:, varies], scaler.transform(test)[:, varies], atol=1e-4)
    test_only = np.where(varies[None, :], test, np.float32(7.0))
    assert np.all(np.asarray(standardize(train, test_only)[1])[:, ~varies] == 0)


@given(scale=st.floats(0.01, 100.0), shift=st.floats(-50.0, 50.0))
def test_standardized_features_do_not_depend_on_units(scale, shift):
    x = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    expected = standardize(x, x)[1]
    moved = (scale * x + shift).astype(np.float32)
    # A shift much larger than the spread costs digits before the function sees the numbers.
    tolerance = 1e-4 + 1e-5 * abs(shift) / scale
    np.testing.assert_allclose(standardize(moved, moved)[1], expected, atol=tolerance)


def test_a_feature_that_varies_by_rounding_only_counts_as_constant():
    x = np.stack([np.arange(8), 1000 + 6e-5 * (np.arange(8) % 2)], axis=1).astype(np.float32)
    assert len(set(x[:, 1])) == 2
    assert np.all(np.asarray(standardize(x, x)[0])[:, 1] == 0)
