import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.augment.fields import OPERATIONS, FieldView, eval_field, make_field_views
from lejepa_jax.augment.fields.windows import Window, read_windows
from lejepa_jax.data.fields import Normalization

RNG = np.random.default_rng(0)
SHAPES = {1: (24,), 2: (8, 8), 3: (4, 8, 8)}
# Something that each operation changes, and nothing else.
CHANGES = {
    "scale": {"scale": (0.3, 0.6)},
    "ratio": {"scale": (0.5, 0.5), "ratio": (0.5, 2.0)},
    "stretch": {"fit": "pad", "stretch": (0.5, 0.7)},
    "shift": {"fit": "pad", "scale": (0.3, 0.5), "shift": True},
    "flip": {"flip": 1.0},
    "turn": {"turn": 1.0},
    "polarity": {"polarity": 1.0},
    "gain": {"gain": (2.0, 3.0)},
    "channel_gain": {"channel_gain": (2.0, 3.0)},
    "offset": {"offset": 1.0},
    "gamma": {"gamma": (1.5, 2.0)},
    "equalizer": {"equalizer": 6.0},
    "blur": {"blur": (1.0, 2.0)},
    "noise": {"noise": 0.5},
    "channel_drop": {"channel_drop": 0.6},
    "erase": {"erase": (0.3, 0.5)},
}


def plain(channels=2, **options):
    given = {"mean": 0.0, "std": 1.0, "low": -4.0, "high": 4.0}
    return Normalization(**{k: (v,) * channels for k, v in given.items()}, **options)


def field(rank, count=3, channels=2):
    return jnp.asarray(RNG.normal(size=(count, *SHAPES[rank], channels)), jnp.float32)


def make(values, spec, normalization=None, *, extent=None, index=None):
    count = len(values)
    if extent is None:
        extent = np.tile(values.shape[1:-1], (count, 1))
    keys = example_keys(jax.random.key(0), jnp.arange(count) if index is None else index)
    own = normalization or plain(values.shape[-1])
    (views,) = jax.jit(
        lambda keys, values, extent: make_field_views(keys, values, extent, (spec,), own)
    )(keys, values, jnp.asarray(extent, jnp.int32))
    return jax.tree.map(np.asarray, views)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_view_that_does_nothing_is_the_normalized_field(rank):
    values = field(rank)
    own = dataclasses.replace(plain(), mean=(1.0, 2.0), std=(2.0, 4.0))
    for fit in ("resize", "pad"):
        found = make(values, FieldView(2, SHAPES[rank], fit=fit), own)
        expected = (np.asarray(values) - [1, 2]) / [2, 4]
        np.testing.assert_allclose(found.values, np.stack([expected] * 2), atol=1e-5)
        assert (found.measure == 1).all()


@pytest.mark.parametrize("rank", [1, 2])
def test_every_operation_of_the_table_changes_something_alone(rank):
    values = field(rank)
    before = make(values, FieldView(2, SHAPES[rank]))
    for name, operation in OPERATIONS.items():
        if rank not in operation.axes or name == "rotation":  # of spheres alone
            continue
        found = make(values, FieldView(2, SHAPES[rank], **CHANGES[name]))
        assert found.values.shape == before.values.shape
        assert np.isfinite(found.values).all()
        changed = np.abs(found.values - before.values).max((0, *range(2, rank + 3)))
        assert (changed > 1e-3).all(), name


def test_views_depend_on_the_example_and_on_nothing_beside_it():
    values = field(1)
    spec = FieldView(2, 16, scale=(0.3, 0.9), noise=0.3, flip=0.5, gain=(0.5, 2.0))
    whole = make(values, spec, index=jnp.array([4, 7, 9]))
    alone = make(values[1:2], spec, index=jnp.array([7]))
    np.testing.assert_allclose(alone.values[:, 0], whole.values[:, 1], atol=1e-6)
    other = make(values[1:2], spec, index=jnp.array([8]))
    assert np.abs(other.values - alone.values).max() > 0.1


def test_what_is_missing_stays_missing_and_never_becomes_a_number():
    values = field(2, channels=1)
    gone = values.at[:, 2:4, 1:3].set(-99)
    own = plain(1, missing=-99)
    spec = FieldView(2, (8, 8), blur=(1.0, 1.0))
    first = make(gone, spec, own)
    hole = np.zeros((8, 8), bool)
    hole[2:4, 1:3] = True
    assert (first.measure == np.where(hole, 0, 1)).all()
    assert (first.values[..., 0][:, :, hole] == 0).all()
    # And its value does not leak into its neighbors.
    other = make(values.at[:, 2:4, 1:3].set(7777), spec, plain(1, missing=7777))
    np.testing.assert_allclose(first.values, other.values, atol=1e-5)


def test_nan_is_missing_under_jit():
    values = np.array(field(1))
    values[:, 5, 0] = np.nan
    with jax.debug_nans(False):
        found = make(jnp.asarray(values), FieldView(1, 24))
    assert np.isfinite(found.values).all()
    assert (found.measure[..., 5] == 0.5).all()


def test_a_short_series_is_read_at_its_own_step_and_the_rest_is_missing():
    values = jnp.arange(24, dtype=jnp.float32)[None, :, None]
    spec = FieldView(8, 16, fit="pad", shift=True)
    found = make(values, spec, plain(1), extent=[[6]])
    for view, measure in zip(found.values[:, 0, :, 0], found.measure[:, 0], strict=True):
        there = np.flatnonzero(measure)
        assert 5 <= len(there) <= 6
        # Less than a sample beyond either end, that end is read.
        np.testing.assert_allclose(np.diff(view[there])[1:-1], 1, atol=1e-4)
        assert (view[measure == 0] == 0).all()
    starts = {int(np.flatnonzero(m)[0]) for m in found.measure[:, 0]}
    assert len(starts) > 3


def test_stretching_is_reading_faster():
    time = np.arange(64)
    values = jnp.asarray(np.sin(2 * np.pi * time / 16)[None, :, None], jnp.float32)
    found = make(values, FieldView(1, 32, fit="pad", stretch=(2.0, 2.0)), plain(1))
    spectrum = np.abs(np.fft.rfft(found.values[0, 0, :, 0]))
    assert spectrum.argmax() == 4  # 16 samples a turn have become 8


def test_long_axes_read_linearly_are_short_axes_read_by_a_matrix(monkeypatch):
    values, exists = field(1)[0], jnp.ones((24, 2))
    window = [Window(jnp.float32(3.3), jnp.float32(0.7), jnp.float32(0), jnp.float32(24))]
    by_matrix = read_windows(values, exists, window, (20,))
    monkeypatch.setattr("lejepa_jax.augment.fields.windows._MAX_MATRIX", 0)
    read = read_windows(values, exists, window, (20,))
    np.testing.assert_allclose(read[0], by_matrix[0], atol=1e-5)


def test_right_angle_turns_are_turns_and_the_equalizer_keeps_energy_where_it_is_nothing():
    values = field(2, count=12)
    found = make(values, FieldView(1, (8, 8), turn=1.0)).values[0]
    which = set()
    for own, turned in zip(np.asarray(values), found, strict=True):
        fits = [k for k in range(1, 4) if np.allclose(np.rot90(own, k), turned, atol=1e-5)]
        assert len(fits) == 1
        which |= set(fits)
    assert which == {1, 2, 3}


def test_evaluation_sees_everything_in_the_middle():
    values = jnp.arange(10, dtype=jnp.int16)[None, :, None]
    extent = jnp.array([[7]])
    padded = eval_field(values, extent, 9, plain(1), fit="pad")
    assert padded.values[0, :, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 0]
    cut = eval_field(values, extent, 3, plain(1), fit="pad")
    assert cut.values[0, :, 0].tolist() == [2, 3, 4]
    resized = eval_field(values, extent, 7, plain(1))
    np.testing.assert_allclose(resized.values[0, :, 0], np.arange(7), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"scale": (0.0, 1.0)}, r"scale must be a range \(low, high\) within \(0, 1\]"),
        ({"stretch": (2.0, 1.0)}, r"stretch must be a range"),
        ({"noise": -1.0}, "noise must be zero or more"),
        ({"fit": "squash"}, "fit must be resize, pad or sphere"),
        ({"erase": (0.5, 1.5)}, "erase must be a range"),
    ],
)
def test_values_out_of_range_are_refused(unchecked, options, error):
    with pytest.raises(ValueError, match=error):
        FieldView(**{"count": 1, "size": 8} | options)


def test_options_of_other_axes_are_refused():
    with pytest.raises(ValueError, match="equalizer is for series"):
        FieldView(1, 8, equalizer=3.0).sides(2)
    with pytest.raises(ValueError, match="turn wants the last two axes equally long"):
        FieldView(1, (4, 8), turn=0.5).sides(2)
    with pytest.raises(ValueError, match="size must be one number or 3"):
        FieldView(1, (4, 8)).sides(3)
