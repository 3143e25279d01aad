"""Bad records: examples that could not be read, and how many of them are tolerated."""

import threading
from collections.abc import Iterable
from typing import NamedTuple


class BadRecord(NamedTuple):
    """An example that could not be read: where it is and why."""

    name: str
    reason: str


class TooManyBadRecords(ValueError):
    """More examples are unreadable than `max_bad_records` allows; maybe found amid training."""


class Ledger:
    """Unreadable examples met so far, shared by the splits of a load and by threads.

    Args:
        title: The name of the data set, for the error.
        limit: How many are tolerated.
        noun: What the examples are, for the error.

    Raises:
        ValueError: For a negative limit.

    Examples:
        >>> ledger = Ledger("scans", limit=1, noun="clouds")
        >>> ledger.add([BadRecord("a.npy", "empty")])
        >>> ledger.add([BadRecord("b.npy", "empty")])
        Traceback (most recent call last):
            ...
        lejepa_jax.data.records.TooManyBadRecords: scans has unreadable clouds, 2 so far, where
            max_bad_records allows 1: a.npy (empty); b.npy (empty)
    """

    def __init__(self, title: str, limit: int, noun: str = "examples"):
        if limit < 0:
            raise ValueError(f"max_bad_records must not be negative, got {limit}")
        self._title, self._limit, self._noun = title, limit, noun
        self._reasons: dict[str, str] = {}  # by name, since a bad image is met again every epoch
        self._lock = threading.Lock()

    def add(self, records: Iterable[BadRecord]) -> None:
        """Enter records.

        Raises:
            TooManyBadRecords: If there are now more of them than are tolerated.
        """
        with self._lock:
            self._reasons.update(records)
            bad = [f"{name} ({reason})" for name, reason in sorted(self._reasons.items())]
        if len(bad) > self._limit:
            shown = "; ".join(bad[:5]) + ("; ..." if len(bad) > 5 else "")
            raise TooManyBadRecords(
                f"{self._title} has unreadable {self._noun}, {len(bad)} so far, where "
                f"max_bad_records allows {self._limit}: {shown}"
            )

    def records(self) -> tuple[BadRecord, ...]:
        """Return what was entered, by name."""
        with self._lock:
            return tuple(BadRecord(*item) for item in sorted(self._reasons.items()))
