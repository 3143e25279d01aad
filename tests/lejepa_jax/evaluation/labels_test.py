import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lejepa_jax.evaluation.few_shot import few_shot_accuracy
from lejepa_jax.evaluation.knn import knn_accuracy
from lejepa_jax.evaluation.labels import stratified_mask
from lejepa_jax.evaluation.linear import linear_accuracy
from lejepa_jax.evaluation.suite import run_probes


@given(labels=st.lists(st.integers(0, 3), min_size=24, max_size=24), fraction=st.floats(0.05, 0.95))
def test_a_stratified_part_holds_its_share_of_every_class(labels, fraction):
    labels = np.array(labels, np.int32)
    mask = np.asarray(stratified_mask(jax.random.key(3), labels, fraction, num_classes=4))
    for c in range(4):
        count, marked = int((labels == c).sum()), int(mask[labels == c].sum())
        if count > 1:
            assert 1 <= marked <= count - 1
            assert abs(marked - fraction * count) <= 1.0
        else:
            assert marked == 0


KEY = jax.random.key(0)
PROBES = {
    "knn": lambda *data: knn_accuracy(*data, num_classes=2, k=1),
    "linear": lambda *data: linear_accuracy(KEY, *data, num_classes=2, l2=0.1),
    "few_shot": lambda *data: few_shot_accuracy(KEY, *data, num_classes=2, shots=1),
    "suite": lambda *data: run_probes(KEY, *data, num_classes=2),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", PROBES)
def test_labels_that_do_not_fit_their_features_are_refused(name):
    x, y = jnp.arange(8.0)[:, None], np.arange(8) % 2
    for wrong, message in (
        ((x, y[:7], x, y), "train_features must have shape (7, d), a row for each of train_labels"),
        ((x, y, x[:5], y), "test_features must have shape (8, d), a row for each of test_labels"),
        ((x[:, 0], y, x, y), "train_features must have shape (8, d)"),
        ((x, y / 2, x, y), "train_labels must be whole numbers on one axis, got float64"),
        ((x, y, x, np.eye(2)[y]), "test_labels must be whole numbers on one axis, got float64"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            PROBES[name](*wrong)
