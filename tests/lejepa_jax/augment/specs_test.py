"""Specifications of views."""

import dataclasses
import math

import pytest

from tests.lejepa_jax.augment.slow_views import STILL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"size": 0}, "size"),
        ({"scale": (0.5, 1.1)}, r"scale must be a range .* got \(0.5, 1.1\)"),
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"ratio": (2.0, 1.0)}, "ratio"),
        ({"flip": 1.5}, "flip must be between 0 and 1, got 1.5"),
        ({"blur_prob": -0.1}, "blur_prob"),
        ({"hue": 0.6}, "hue"),
        ({"brightness": -1.0}, "brightness"),
        ({"rotation": 200.0}, "rotation"),
        ({"noise": math.nan}, "noise"),
        ({"scale": (math.nan, 1.0)}, "scale"),
        ({"ratio": (0.5, math.inf)}, "ratio"),
        ({"blur_sigma": (0.1, math.inf)}, "blur_sigma"),
        ({"mean": (math.nan,)}, "mean must be finite"),
        ({"std": (math.nan,)}, "std must be positive"),
        ({"std": (math.inf,)}, "std must be positive"),
        ({"blur_kernel": 4}, "blur_kernel must be odd or None, got 4"),
        ({"std": (0.0,)}, "std must be positive"),
        ({"mean": (0.0, 0.0, 0.0)}, "mean and std must be of one length"),
    ],
)
def test_a_specification_outside_its_ranges_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(STILL, **change)
