"""What is worth knowing of a run beside its results: its data and its speed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lejepa_jax.data.source import ImageSource
from lejepa_jax.data.splits import Splits


def data_facts(splits: Splits) -> dict[str, str]:
    """Say what a data set is, for the report.

    Args:
        splits: The data.

    Returns:
        Texts by name: how many examples there are, what was noticed when they were loaded, how many
        could not be read since.

    Examples:
        >>> from lejepa_jax.data import from_arrays
        >>> images = np.zeros((3, 8, 8, 1), np.uint8)
        >>> splits = Splits("tiny", from_arrays(images), from_arrays(images[:1]), (), {})
        >>> list(data_facts(splits).values())
        ['tiny', '3 to train on, 1 held out', 'none', '8 x 8 pixels, 1 channel']
    """
    train, test = splits.train, splits.test
    facts = {
        "data set": splits.name,
        "examples": f"{len(train):,} to train on, {len(test):,} held out",
        "classes": str(train.num_classes or "none"),
    }
    if isinstance(train, ImageSource):
        size, channels = train.image_size, train.channels
        facts["images"] = f"{size} x {size} pixels, {channels} channel{'s' * (channels > 1)}"
    facts |= {name: str(text) for name, text in splits.info.items()}
    if train.bad_records:  # of all splits of a load
        facts["unreadable"] = f"{len(train.bad_records):,}, left out"
    return facts


def speed(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Sum up how fast a run was.

    Args:
        rows: Logged rows.

    Returns:
        Median, 90th and 99th percentile of the seconds a step took (means between two rows, the
        first one left out, which holds the compilation), examples a second at the median, the share
        of time that steps waited for data, seconds of compilation and bytes of a device at most, as
        far as they were logged.

    Examples:
        >>> rows = [{"seconds_per_step": s, "examples_per_second": 1 / s} for s in (9, 1, 2, 2)]
        >>> speed(rows)["step_seconds_median"], speed(rows)["examples_per_second"]
        (2.0, 0.5)
    """
    timed = [row for row in rows if "seconds_per_step" in row]
    later = timed[1:] or timed
    seconds = [row["seconds_per_step"] for row in later]
    if not seconds:
        return {}
    median, high, highest = (float(x) for x in np.percentile(seconds, [50, 90, 99]))
    found = {
        "step_seconds_median": median,
        "step_seconds_90": high,
        "step_seconds_99": highest,
    }
    # Logs of earlier versions count images.
    rates = [row.get("examples_per_second", row.get("images_per_second")) for row in later]
    batches = [r * s for r, s in zip(rates, seconds, strict=True) if r is not None]
    if batches:
        found["examples_per_second"] = float(np.median(batches)) / median
    for name, pick in (("data_wait", np.mean), ("compile_seconds", max), ("device_bytes", max)):
        values = [row[name] for row in rows if name in row]
        if values:
            found[name] = float(pick(values))
    return found


def speed_facts(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Say how fast a run was, as a person reads it.

    Args:
        rows: Logged rows.

    Returns:
        Texts by name; nothing where nothing was logged.

    Examples:
        >>> speed_facts([{"seconds_per_step": 0.5, "examples_per_second": 128.0}])
        {'examples a second, median': '128', 'seconds a step: median, 90 %, 99 %': '0.5, 0.5, 0.5'}
    """
    found = speed(rows)
    if not found:
        return {}
    facts = {}
    if "examples_per_second" in found:
        facts["examples a second, median"] = f"{found['examples_per_second']:,.0f}"
    facts["seconds a step: median, 90 %, 99 %"] = ", ".join(
        f"{found[f'step_seconds_{which}']:.3g}" for which in ("median", "90", "99")
    )
    if "data_wait" in found:
        facts["waiting for data"] = f"{100 * found['data_wait']:.1f} % of the time"
    if found.get("compile_seconds"):
        facts["compiling and first step"] = f"{found['compile_seconds']:.1f} s"
    if "device_bytes" in found:
        facts["memory of a device, at most"] = f"{found['device_bytes'] / 2**30:.2f} GiB"
    return facts
