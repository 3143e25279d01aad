import json

import grain
import hypothesis
import hypothesis.strategies as st
import numpy as np
import orbax.checkpoint as ocp
import pytest

from lejepa_jax import data
from tests.lejepa_jax.data.pictures import folder, numbered


def indices(iterator, steps: int) -> np.ndarray:
    return np.concatenate([next(iterator)["index"] for _ in range(steps)])


@hypothesis.given(st.integers(1, 17), st.integers(0, 2**40), st.booleans())
def test_batches_cut_the_sequence_of_epochs_into_equal_pieces(batch_size, seed, shuffle):
    n = 17
    iterator = data.batches(
        numbered(n), batch_size=batch_size, seed=seed, shuffle=shuffle, prefetch=0
    )
    epochs = [data.epoch_order(seed, e, n) if shuffle else np.arange(n) for e in range(4)]
    steps = 3 * n // batch_size
    np.testing.assert_array_equal(
        indices(iterator, steps), np.concatenate(epochs)[: steps * batch_size]
    )


@hypothesis.given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 50))
def test_an_epoch_visits_everything_once_in_an_order_of_its_own(seed, epoch, n):
    order = data.epoch_order(seed, epoch, n)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n >= 20:
        assert not np.array_equal(order, data.epoch_order(seed, epoch + 1, n))
        assert not np.array_equal(order, data.epoch_order(seed + 1, epoch, n))


def test_the_order_never_changes_between_versions():
    np.testing.assert_array_equal(data.epoch_order(7, 3, 10), [2, 4, 7, 3, 5, 1, 8, 9, 0, 6])


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_together_hold_the_batch_of_one(process_count):
    source = numbered(11)
    whole = data.batches(source, batch_size=8, seed=5)
    parts = [
        data.batches(source, batch_size=8, seed=5, process_index=p, process_count=process_count)
        for p in range(process_count)
    ]
    for _ in range(5):
        expected, got = next(whole), [next(part) for part in parts]
        for key, value in expected.items():
            np.testing.assert_array_equal(np.concatenate([g[key] for g in got]), value)


def test_a_row_is_the_image_that_its_index_says():
    batch = next(data.batches(numbered(11), batch_size=8, seed=1))
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["index"])
    np.testing.assert_array_equal(batch["label"], batch["index"] % 3)
    types = {key: value.dtype.name for key, value in batch.items()}
    assert types == {"image": "uint8", "label": "int32", "index": "int32", "aspect": "float32"}


def test_an_iterator_resumes_from_its_state_or_its_step():
    source = numbered(10)
    first = data.batches(source, batch_size=4, seed=3)
    indices(first, 7)
    state = json.loads(json.dumps(first.get_state()))
    rest = indices(first, 6)
    second = data.batches(source, batch_size=4, seed=3)
    next(second)
    second.set_state(state)
    np.testing.assert_array_equal(indices(second, 6), rest)
    third = data.batches(source, batch_size=4, seed=3, start=7, prefetch=0)
    assert third.get_state() == state
    np.testing.assert_array_equal(indices(third, 6), rest)


def test_a_checkpoint_holds_the_iterator(tmp_path):
    source = numbered(10)
    first = data.batches(source, batch_size=4, seed=3)
    indices(first, 3)
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(first)))
        manager.wait_until_finished()
        rest = indices(first, 4)
        second = data.batches(source, batch_size=4, seed=3)
        restore = grain.checkpoint.CheckpointRestore(second)
        second = manager.restore(3, args=ocp.args.Composite(data=restore))["data"]
    np.testing.assert_array_equal(indices(second, 4), rest)


def test_steps_end_the_iteration_wherever_it_began():
    source = numbered(10)
    assert len(list(data.batches(source, batch_size=4, seed=0, steps=5))) == 5
    assert len(list(data.batches(source, batch_size=4, seed=0, steps=5, start=3))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 12}, r"batch_size must not exceed the number of examples \(10\), got 12"),
        ({"batch_size": 0}, "batch_size must be a positive multiple"),
        ({"batch_size": 6, "process_count": 4}, r"multiple of process_count \(4\), got 6"),
        ({"batch_size": 4, "process_count": 2, "process_index": 2}, r"must be in \[0, 2\), got 2"),
        ({"batch_size": 4, "seed": -1}, "got seed=-1"),
        ({"batch_size": 4, "start": 4, "steps": 3}, "start=4, steps=3"),
        ({"batch_size": 4, "prefetch": -1}, "prefetch must not be negative, got -1"),
    ],
)
def test_batches_that_cannot_be_made_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        data.batches(numbered(10), **{"seed": 0, **options})


@pytest.mark.parametrize("process_count", [1, 2])
@pytest.mark.parametrize("n", [1, 7, 8])
def test_evaluation_sees_every_image_once_in_batches_of_one_shape(n, process_count):
    parts = [
        list(
            data.eval_batches(
                numbered(n), batch_size=4, process_index=p, process_count=process_count
            )
        )
        for p in range(process_count)
    ]
    seen = []
    for step in zip(*parts, strict=True):
        batch = {key: np.concatenate([part[key] for part in step]) for key in step[0]}
        assert batch["image"].shape == (4, 2, 2, 1)
        seen += batch["index"][batch["mask"]].tolist()
    assert seen == list(range(n))


@pytest.mark.parametrize("prefetch", [0, 4])
def test_a_source_that_goes_bad_amid_training_says_so_by_its_class(tmp_path, prefetch):
    folder(tmp_path, 6)
    options = data.DataOptions(memory_limit=0)
    source = data.load(f"folder:{tmp_path}", image_size=4, options=options).train
    iterator = data.batches(source, batch_size=4, seed=0, prefetch=prefetch)
    next(iterator)
    for file in (tmp_path / "cat").iterdir():
        file.write_bytes(b"")
    with pytest.raises(data.TooManyBadRecords, match="where max_bad_records allows 0: 'cat/"):
        indices(iterator, 8)
