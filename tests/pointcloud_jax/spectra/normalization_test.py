"""Clouds brought to radius 1: for any cloud, with any mask, before and after a rotation."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pointcloud_jax.spectra.normalization import normalize_radius


@jax.jit
def _max(points, mask):
    return normalize_radius(points, mask=mask)


@jax.jit
def _rms(points, mask):
    return normalize_radius(points, statistic="rms", mask=mask)


_normalize = {"max": _max, "rms": _rms}


@hypothesis.given(st.integers(0, 1000), st.sampled_from(["max", "rms"]))
def test_normalized_clouds_are_centered_of_radius_one_and_commute_with_rotation(seed, statistic):
    points = np.random.default_rng(seed).normal(size=(2, 12, 3)).astype(
        np.float32
    ) * 40 + np.float32([3, 4, 5])
    mask = np.arange(12)[None, :] < np.array([[12], [8]])
    value = _normalize[statistic](points, mask=mask)
    np.testing.assert_allclose(np.sum(value, 1), 0, atol=1e-4)
    norm = np.linalg.norm(value, axis=-1)
    radius = norm.max(1) if statistic == "max" else np.sqrt((norm**2).sum(1) / [12, 8])
    np.testing.assert_allclose(radius, 1, atol=1e-5)
    turn = Rotation.random(random_state=seed).as_matrix().astype(np.float32)
    moved = _normalize[statistic](points @ turn.T, mask=mask)
    np.testing.assert_allclose(moved, np.asarray(value) @ turn.T, atol=1e-4)


@pytest.mark.parametrize("statistic", ["max", "rms"])
def test_an_empty_cloud_gives_zeros_and_not_nan(statistic):
    points = np.random.default_rng(0).normal(size=(2, 12, 3)).astype(np.float32)
    assert not _normalize[statistic](points, mask=np.zeros((2, 12), bool)).any()


def test_an_unknown_statistic_is_named(unchecked):
    with pytest.raises(ValueError, match="statistic must be one of max, rms, got 'min'"):
        normalize_radius(np.zeros((2, 5, 3), np.float32), statistic="min")
