"""Statistics of each channel, in one pass over the training part."""

import numpy as np

from lejepa_jax.data.fields.normalization import Normalization
from lejepa_jax.data.fields.source import FieldSource

# Values of a channel that percentiles are taken of, and the fields that they are from.
_SAMPLED, _SAMPLED_FIELDS = 2**18, 1024
_BATCH_BYTES = 2**26


def measure_channels(
    source: FieldSource,
    *,
    percentiles: tuple[float, float] | None = None,
    missing: float | None = None,
) -> tuple[Normalization, dict[str, str]]:
    """Find mean, deviation and range of each channel of a data set.

    One pass in float64, batch by batch (two with percentiles); padding, NaN and `missing` do not
    count. A channel that does not vary is divided by 1.

    Args:
        source: The training part.
        percentiles: Clip at these of each channel, from up to 2^18 values of up to 1,024 fields
            evenly spread; mean and deviation are those of the clipped values.
        missing: A value that stands for none.

    Returns:
        The statistics, and facts for the log.

    Raises:
        ValueError: If a channel has no value anywhere, or percentiles are equal.
    """
    channels = source.channels
    low = high = None
    if percentiles is not None:
        low, high = _percentiles(source, percentiles, missing)
    count, mean, moment = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    smallest, largest = np.full(channels, np.inf), np.full(channels, -np.inf)
    gone, pivot = 0, None
    size = max(1, min(256, _BATCH_BYTES // max(source.layout.num_bytes, 1)))
    for start in range(0, len(source), size):
        batch = source.gather(np.arange(start, min(start + size, len(source))))
        for values, extent in zip(batch["values"], batch["extent"], strict=True):
            x = values[tuple(slice(n) for n in extent)].reshape(-1, channels).astype(np.float64)
            there = _exists(x, missing)
            n = there.sum(0)
            gone += there.size - int(n.sum())
            if low is not None:
                x = np.clip(x, low, high)
            if pivot is None:
                # Moments about some value: those of integers far from zero then stay exact.
                pivot = np.where(there.any(0), x[there.argmax(0), np.arange(channels)], 0.0)
            smallest = np.minimum(smallest, np.where(there, x, np.inf).min(0))
            largest = np.maximum(largest, np.where(there, x, -np.inf).max(0))
            x = x - pivot
            own = np.where(there, x, 0.0).sum(0) / np.maximum(n, 1)
            spread = (np.where(there, x - own, 0.0) ** 2).sum(0)
            # Chan, Golub and LeVeque: moments of two parts make those of the whole.
            total = np.maximum(count + n, 1)
            step = own - mean
            moment += spread + step**2 * count * n / total
            mean += step * n / total
            count += n
    if (count == 0).any():
        empty = np.flatnonzero(count == 0).tolist()
        raise ValueError(f"channels {empty} of {source.ledger.title} have no value anywhere")
    std = np.sqrt(moment / count)
    mean = mean if pivot is None else mean + pivot
    constant = std <= 1e-12 * np.maximum(np.abs(mean), 1e-30)
    facts = {"missing": f"{gone:,} values are missing (NaN), they are masked"} if gone else {}
    if constant.any():
        facts["constant"] = f"channels {np.flatnonzero(constant).tolist()} do not vary"
    if source.layout.dtype.kind in "iu" and max(np.abs(smallest).max(), largest.max()) > 2**24:
        facts["rounding"] = "values beyond 2^24 are rounded to float32 on the devices"
    found = Normalization(
        mean=tuple(mean.tolist()),
        std=tuple(np.where(constant, 1.0, std).tolist()),
        low=tuple((smallest if low is None else low).tolist()),
        high=tuple((largest if high is None else high).tolist()),
        clip=low is not None,
        missing=missing,
    )
    return found, facts


def _exists(x: np.ndarray, missing: float | None) -> np.ndarray:
    there = np.isfinite(x)
    return there if missing is None else there & (x != missing)


def _percentiles(
    source: FieldSource, percentiles: tuple[float, float], missing: float | None
) -> tuple[np.ndarray, np.ndarray]:
    some = np.unique(np.linspace(0, len(source) - 1, _SAMPLED_FIELDS).astype(np.int64))
    each = max(1, _SAMPLED // len(some))
    samples: list[list[np.ndarray]] = [[] for _ in range(source.channels)]
    for i in some.tolist():
        batch = source.gather(np.array([i]))
        values = batch["values"][0][tuple(slice(n) for n in batch["extent"][0])]
        x = values.reshape(-1, source.channels).astype(np.float64)
        there = _exists(x, missing)
        for c, kept in enumerate(samples):
            own = x[there[:, c], c]
            kept.append(own[:: max(1, -(-len(own) // each))])
    joined = [np.concatenate(kept) for kept in samples]
    if any(not len(own) for own in joined):
        raise ValueError(f"{source.ledger.title} has a channel without any value")
    found = np.array([np.percentile(own, percentiles) for own in joined])
    if (found[:, 0] >= found[:, 1]).any():
        raise ValueError(f"clip must leave a range, got percentiles {found.tolist()}")
    return found[:, 0], found[:, 1]
