import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lejepa_jax.evaluation.labels import stratified_mask


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
