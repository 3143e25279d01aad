import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lejepa_jax import data


@hypothesis.given(
    st.lists(st.integers(0, 4), min_size=12, max_size=60), st.floats(0.05, 0.6), st.randoms()
)
def test_a_stratified_split_gives_every_class_its_share(labels, fraction, random):
    labels = np.array(labels)
    num_test = max(1, round(fraction * len(labels)))
    counts = np.bincount(labels, minlength=5)
    hypothesis.assume(num_test <= len(labels) - np.count_nonzero(counts))
    train, test = data.stratified_split(labels, num_test)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    assert len(test) == num_test
    held = np.bincount(labels[test], minlength=5)
    assert np.all(counts[counts > 0] > held[counts > 0])
    if counts[counts > 0].min() >= 5:
        assert np.all(np.abs(held - counts * num_test / len(labels)) < 1)
    np.testing.assert_array_equal(data.stratified_split(labels, num_test)[1], test)


def test_the_only_image_of_a_class_is_trained_on():
    train, _ = data.stratified_split(np.array([0, 1, 1, 1]), 2)
    assert 0 in train


def test_a_split_that_would_empty_a_class_is_refused():
    with pytest.raises(ValueError, match="num_test must leave an image of each of 3 classes"):
        data.stratified_split(np.array([0, 1, 2, 2]), 2)
