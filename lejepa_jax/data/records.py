"""Bad records: examples that could not be read, and how many of them are tolerated."""

import re
import threading
from collections.abc import Iterable, Mapping
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
        self.title, self._limit, self.noun = printable(title), limit, noun
        self._reasons: dict[str, str] = {}  # by name, since a bad image is met again every epoch
        self._lock = threading.Lock()

    def add(self, records: Iterable[BadRecord], out_of: int | None = None) -> None:
        """Enter records.

        Args:
            records: What could not be read.
            out_of: How many examples were tried, where that says something of the whole set: if
                most of them are bad, then so is the set, whatever is tolerated.

        Raises:
            TooManyBadRecords: If there are now more of them than are tolerated.
        """
        records = tuple(records)
        with self._lock:
            self._reasons.update(records)
            bad = self._reasons.copy()
        if len(bad) > self._limit:
            raise TooManyBadRecords(
                f"{self.title} has unreadable {self.noun}, {len(bad)} so far, where "
                f"max_bad_records allows {self._limit}: {_summary(bad)}"
            )
        if out_of is not None and 2 * len(records) > out_of:
            raise TooManyBadRecords(
                f"{self.title} has unreadable {self.noun}, {len(records)} of the {out_of} tried, "
                f"too many to leave out: {_summary(dict(records))}"
            )

    def records(self) -> tuple[BadRecord, ...]:
        """Return what was entered, by name."""
        with self._lock:
            return tuple(BadRecord(*item) for item in sorted(self._reasons.items()))


def _summary(bad: Mapping[str, str]) -> str:
    """Bad records in one line; of many, those that differ in the numbers of the reason are one."""
    if len(bad) <= 5:
        return "; ".join(f"{name} ({reason})" for name, reason in sorted(bad.items()))
    kinds: dict[str, list[str]] = {}
    for name, reason in sorted(bad.items()):
        kinds.setdefault(re.sub(r"\d+", "#", reason), []).append(f"{name} ({reason})")
    most_first = sorted(kinds.values(), key=len, reverse=True)
    shown = [
        examples[0] + (f" and {len(examples) - 1} more like it" if examples[1:] else "")
        for examples in most_first
    ]
    return "; ".join(shown[:5]) + ("; ..." if shown[5:] else "")


def printable(text: str) -> str:
    r"""Escape what cannot be shown in a line of text: control characters and bytes not in UTF-8.

    Names of files and classes come from outside. Sources give them as they are; whoever shows them
    escapes them, with this and with what the medium asks for besides (HTML, markup).

    Args:
        text: A name, with surrogates where the system's name is not UTF-8.

    Returns:
        The same, on one line.

    Examples:
        >>> print(printable("a\nb \x1b[31m"))
        a\nb \x1b[31m
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
