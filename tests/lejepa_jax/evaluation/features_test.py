import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from lejepa_jax.data import from_arrays
from lejepa_jax.evaluation.features import fetch, map_examples, stratified_subset

NUMBERS = np.arange(13)
LABELS = (NUMBERS % 3 - 1).astype(np.int32)
SOURCE = from_arrays(np.broadcast_to(NUMBERS[:, None, None], (13, 2, 2)).astype(np.uint8), LABELS)


class Torn(type(SOURCE)):
    """A source whose fourth example cannot be read: the next one stands in for it."""

    def gather(self, indices):
        return super().gather(np.where(indices == 3, 4, indices))


@jax.jit
def brightest(batch):
    return {"image": batch["image"].max((1, 2, 3)), "twice": 2 * batch["index"]}


def shard(batch):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    return jax.device_put(batch, NamedSharding(mesh, P("data")))


@pytest.mark.parametrize("batch_size", [8, 16])
def test_every_example_is_mapped_once_and_in_order_over_all_devices(batch_size):
    found = map_examples(brightest, SOURCE, shard, batch_size=batch_size)
    np.testing.assert_array_equal(found.outputs["image"], NUMBERS)
    np.testing.assert_array_equal(found.outputs["twice"], 2 * NUMBERS)
    np.testing.assert_array_equal(found.label, LABELS)
    np.testing.assert_array_equal(found.index, NUMBERS)
    assert all(type(x) is np.ndarray for x in jax.tree.leaves(found))


def test_what_stands_in_for_an_unreadable_example_is_left_out():
    torn = from_arrays(np.asarray(SOURCE.gather(NUMBERS)["image"]), LABELS)
    torn.__class__ = Torn
    found = map_examples(brightest, torn, shard, batch_size=8)
    np.testing.assert_array_equal(found.index, np.delete(NUMBERS, 3))
    np.testing.assert_array_equal(found.outputs["image"], np.delete(NUMBERS, 3))


def test_arrays_come_home_from_wherever_they_are():
    numbers = np.arange(16.0, dtype=np.float32)
    np.testing.assert_array_equal(fetch(shard(jnp.asarray(numbers))), numbers)
    np.testing.assert_array_equal(fetch(numbers), numbers)
    assert type(fetch(jnp.asarray(numbers))) is np.ndarray


@given(labels=st.lists(st.integers(-1, 3), min_size=1, max_size=40), limit=st.integers(1, 40))
def test_a_subset_has_of_every_class_its_share(labels, limit):
    labels = np.array(labels, np.int32)
    chosen = stratified_subset(labels, len(labels), limit)
    size = min(limit, len(labels))
    assert len(set(chosen)) == len(chosen) == size
    assert np.all(np.diff(chosen) > 0)
    # Examples without a label come last.
    known = min(limit, int(np.sum(labels >= 0)))
    assert np.sum(labels[chosen] >= 0) == known
    for c in np.unique(labels[labels >= 0]):
        share = known * np.mean(labels[labels >= 0] == c)
        assert abs(np.sum(labels[chosen] == c) - share) < 1


def test_without_labels_or_a_limit_a_subset_is_spread_or_whole():
    assert list(stratified_subset(None, 9, 3)) == [0, 3, 6]
    assert list(stratified_subset(LABELS, 13, None)) == list(range(13))


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="limit must be positive, got 0"):
        stratified_subset(LABELS, 13, 0)
