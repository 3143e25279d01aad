"""Whole groups held out: speakers, patients, instruments that a probe was never fitted to."""

import numpy as np
from jaxtyping import Int

from lejepa_jax.data.fields.reading import FieldOptions, FieldSets, Records


def named_groups(groups: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
    """Give the group of each field as text.

    Args:
        groups: One a field, numbers or names.
        names: Of the groups that are numbered from 0, if they have names.

    Returns:
        Their names.

    Examples:
        >>> named_groups(np.array([1, 0]), np.array(["ann", "bob"])).tolist()
        ['bob', 'ann']
    """
    groups = np.ravel(np.asarray(groups))
    if names is None or groups.dtype.kind not in "iu":
        return groups.astype(str)
    names = np.ravel(np.asarray(names)).astype(str)
    if len(groups) and not 0 <= groups.min() <= groups.max() < len(names):
        raise ValueError(f"groups must be numbers below {len(names)}, one for each of their names")
    return names[groups]


def hold_out_groups(sets: FieldSets, options: FieldOptions) -> FieldSets:
    """Make the test part of all fields of some groups, whatever parts there were.

    The training part is what it was without these groups. With `unlabeled_held_out` it keeps their
    training fields without labels: an encoder sees them, a probe is not fitted to them. A
    validation part keeps its other groups; fields of other groups of the old test part are left
    out.

    Args:
        sets: What a reader found.
        options: Which groups: `hold_out`, of the array or column `group`.

    Returns:
        The new parts; the same ones where no group is held out.

    Raises:
        ValueError: If groups are not known, one does not exist, or nothing is left to train on.
    """
    if not options.hold_out:
        return sets
    known: dict[str, np.ndarray] = {}
    for name, records in sets.splits.items():
        if records.groups is None:
            raise ValueError(
                f"hold_out wants the {options.group!r} of each field: an array of that name in "
                "npz or hdf5, or a column in csv or parquet"
            )
        known[name] = records.groups
    there = sorted({str(x) for groups in known.values() for x in groups})
    if missing := sorted(set(options.hold_out) - set(there)):
        shown = ", ".join(there[:20])
        raise ValueError(f"hold_out must name a {options.group} of {shown}, got {missing[0]!r}")
    held = {name: np.isin(groups, options.hold_out) for name, groups in known.items()}
    train, taken = sets.splits["train"], held["train"]
    if taken.all():
        raise ValueError("hold_out leaves nothing to train on")
    tested = [part_of(sets.splits[k], np.flatnonzero(v)) for k, v in held.items() if v.any()]
    parts = {"train": part_of(train, np.flatnonzero(~taken)), "test": joined(tested)}
    if "validation" in sets.splits and not held["validation"].all():
        rows = np.flatnonzero(~held["validation"])
        parts["validation"] = part_of(sets.splits["validation"], rows)
    total = len(parts["test"].labels)
    text = f"{total} fields, all of {options.group} {', '.join(options.hold_out)}"
    if options.unlabeled_held_out:
        parts["train"] = train._replace(labels=np.where(taken, -1, train.labels).astype(np.int32))
        text += f"; training sees {taken.sum()} of them, without labels"
    return sets._replace(splits=parts, info={**sets.info, "held out": text})


def part_of(records: Records, rows: Int[np.ndarray, " m"]) -> Records:
    """Give some of the records.

    Args:
        records: Of a split.
        rows: Their numbers.

    Returns:
        The records at `rows`, in that order.

    Examples:
        >>> found = part_of(Records(lambda i: i, np.arange(3, dtype=np.int32)), np.array([2, 0]))
        >>> found.read(0), found.labels.tolist()
        (2, [2, 0])
    """
    path = records.path
    return Records(
        lambda i: records.read(int(rows[i])),
        records.labels[rows],
        lambda i: records.describe(int(rows[i])),
        None if path is None else lambda i: path(int(rows[i])),
        None if records.groups is None else records.groups[rows],
    )


def joined(parts: list[Records]) -> Records:
    """Put records of several splits after each other."""
    first, *others = parts
    if not others:
        return first
    ends = np.cumsum([len(part.labels) for part in parts])

    def find(i: int) -> tuple[Records, int]:
        which = int(np.searchsorted(ends, i, side="right"))
        return parts[which], int(i - (ends[which - 1] if which else 0))

    def read(i: int):
        part, row = find(i)
        return part.read(row)

    def describe(i: int) -> str:
        part, row = find(i)
        return part.describe(row)

    groups = [part.groups for part in parts if part.groups is not None]
    labels = np.concatenate([part.labels for part in parts])
    return Records(read, labels, describe, None, np.concatenate(groups))
