import pytest

from lejepa_jax import data


def test_a_bad_record_met_again_counts_once():
    ledger = data.Ledger("shelf", limit=1, noun="clouds")
    ledger.add([data.BadRecord("a", "empty")])
    ledger.add([data.BadRecord("a", "empty")])
    assert [record.name for record in ledger.records()] == ["a"]
    with pytest.raises(data.TooManyBadRecords, match="shelf has unreadable clouds, 2 so far"):
        ledger.add([data.BadRecord("b", "not finite")])
