import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.data.fields import FieldOptions, Normalization, load_fields, measure_channels
from lejepa_jax.data.fields.reading import FieldSets, Records

RNG = np.random.default_rng(0)


def source_of(fields, **options):
    def reader(request):
        labels = np.full(len(fields), -1, np.int32)
        return FieldSets({"train": Records(fields.__getitem__, labels)}, ())

    rank = fields[0].ndim - 1
    splits = load_fields("made", num_axes=rank, reader=reader, options=FieldOptions(**options))
    return splits.train


def test_statistics_are_those_of_all_values_that_exist_however_it_is_read():
    fields = [RNG.normal(3e4, 7, (n, 2)).astype(np.float32) for n in (5, 9, 3, 7, 11, 8)]
    fields[1][2, 0] = np.nan
    fields[4][:, 1] = np.nan
    sources = source_of(fields), source_of(fields, memory_limit=1)
    for source in sources:
        found, facts = measure_channels(source)
        joined = np.concatenate([fields[i] for i in source.records.tolist()]).astype(np.float64)
        # The extent of a field is that of all stored ones: nothing is cut here.
        np.testing.assert_allclose(found.mean, np.nanmean(joined, 0), rtol=1e-12)
        np.testing.assert_allclose(found.std, np.nanstd(joined, 0), rtol=1e-9)
        np.testing.assert_allclose(found.low, np.nanmin(joined, 0))
        missing = int(np.isnan(joined).sum())
        assert facts["missing"] == f"{missing:,} values are missing (NaN), they are masked"


def test_integers_far_from_zero_keep_their_deviation():
    fields = [np.full((4, 1), 2**30 + i, np.int32) for i in range(10)]
    source = source_of(fields)
    found, facts = measure_channels(source)
    np.testing.assert_allclose(found.std[0], np.std(source.records), rtol=1e-12)
    assert found.mean[0] == 2**30 + source.records.mean()
    assert facts["rounding"] == "values beyond 2^24 are rounded to float32 on the devices"


def test_percentiles_clip_and_the_moments_are_those_of_the_clipped():
    values = RNG.normal(size=(20, 500, 1)).astype(np.float32)
    values[::3, 0] = 1e6
    source = source_of(list(values))
    found, _ = measure_channels(source, percentiles=(1.0, 99.0))
    kept = values[source.records].astype(np.float64)
    low, high = np.percentile(kept, (1, 99))
    np.testing.assert_allclose((found.low[0], found.high[0]), (low, high), rtol=1e-6)
    np.testing.assert_allclose(found.mean[0], np.clip(kept, low, high).mean(), rtol=1e-6)
    np.testing.assert_allclose(found.std[0], np.clip(kept, low, high).std(), rtol=1e-6)


def test_a_value_that_stands_for_none_is_missing_on_the_device_too():
    fields = [np.array([[1], [-99], [3]], np.int16)] * 5
    found, _ = measure_channels(source_of(fields), missing=-99)
    assert found.mean == (2.0,)
    x, exists = found.apply(jnp.asarray(fields[0])[None], jnp.array([[3]]))
    assert exists[0, :, 0].tolist() == [1, 0, 1]
    assert x[0, :, 0].tolist() == [-1, 0, 1]


def test_a_channel_without_values_is_refused_and_a_constant_one_said():
    empty = [np.array([[1.0, np.nan]], np.float32)] * 5
    with pytest.raises(ValueError, match=r"channels \[1\] of made have no value anywhere"):
        measure_channels(source_of(empty))
    _, facts = measure_channels(source_of([np.ones((3, 1), np.float32)] * 5))
    assert facts["constant"] == "channels [0] do not vary"


def test_refusals():
    with pytest.raises(ValueError, match="std must be positive"):
        Normalization(mean=(0.0,), std=(0.0,), low=(0.0,), high=(0.0,))
    with pytest.raises(ValueError, match="one number for each channel"):
        Normalization(mean=(0.0,), std=(1.0, 1.0), low=(0.0,), high=(0.0,))
    with pytest.raises(ValueError, match="clip must be two percentiles"):
        FieldOptions(clip=(99.0, 1.0))
