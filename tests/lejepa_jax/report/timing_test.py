import pytest

from lejepa_jax.report.timing import speed, speed_facts


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
