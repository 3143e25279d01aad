import numpy as np
import pytest

from lejepa_jax.data import BadRecord, Parts, Splits, from_arrays, hold_out
from lejepa_jax.report.facts import data_facts, speed, speed_facts


@pytest.mark.parametrize("name", ["examples_per_second", "images_per_second"])
def test_the_first_row_which_holds_the_compilation_does_not_count(name):
    rows = [{"seconds_per_step": s, name: 64 / s, "data_wait": 0.1} for s in (90, 1, 2, 4)]
    rows[0]["compile_seconds"] = 88.0
    found = speed(rows)
    assert found["step_seconds_median"] == 2
    assert found["examples_per_second"] == 32
    assert found["compile_seconds"] == 88
    assert found["data_wait"] == pytest.approx(0.1)
    assert speed_facts(rows)["waiting for data"] == "10.0 % of the time"


def test_rows_without_times_have_no_speed():
    assert speed([]) == speed([{"step": 1}, {"step": 2}]) == {}
    assert speed_facts([{"step": 1}]) == {}


def test_rows_with_times_alone_have_no_rate():
    assert "examples_per_second" not in speed([{"seconds_per_step": 1.0}] * 3)


def test_data_are_described_by_what_was_noticed_when_they_were_loaded():
    images = np.zeros((20, 8, 8, 3), np.uint8)
    labels = np.arange(20) % 2
    parts = Parts(from_arrays(images, labels), info={"ignored": "<notes>.txt"})
    splits = hold_out("a<b", parts, test_fraction=0.2)
    facts = data_facts(splits)
    assert facts["data set"] == "a<b"
    assert facts["examples"] == "16 to train on, 4 held out"
    assert facts["images"] == "8 x 8 pixels, 3 channels"
    assert facts["ignored"] == "<notes>.txt"
    assert facts["classes"].startswith("2 of 8 examples")
    assert "unreadable" not in facts
    assert all(type(text) is str for text in facts.values())


def test_examples_that_could_not_be_read_are_counted():
    class Worn(list):  # any sequence of examples, which need not be images
        num_classes = 0
        bad_records = (BadRecord("one.ply", "torn"),)

    facts = data_facts(Splits("worn", Worn([1, 2]), Worn([3]), (), {}))
    assert facts["unreadable"] == "1, left out"
    assert facts["classes"] == "none"
    assert "images" not in facts
