"""Colors, against colorsys."""

import colorsys
import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lejepa_jax.augment.colors import LUMA, recolor
from lejepa_jax.augment.draws import Draws
from lejepa_jax.augment.views import eval_view
from tests.lejepa_jax.augment.slow_views import (
    SHAPED,
    STILL,
    check_against_slow,
    keys_of,
    pictures,
    views_of,
)

recolor_of = jax.jit(recolor, static_argnames="spec")


def turned(colors, turn):
    """Colors [n, 3] with their hue turned, unclamped."""
    spec = dataclasses.replace(STILL, hue=0.5)
    u = Draws(*np.full(20, 0.5, np.float32))._replace(hue=np.float32(turn + 0.5))
    return np.asarray(recolor_of(u, jnp.float32(colors)[:, :, None], spec=spec))[:, 0]


@given(turn=st.floats(-0.5, 0.5))
def test_turning_the_hue_keeps_the_luma_and_turns_the_chroma_of_colorsys(turn):
    colors = np.array([[0.6, 0.4, 0.4], [0.45, 0.5, 0.4], [0.5, 0.5, 0.5]], np.float32)
    new = turned(colors, turn)
    np.testing.assert_allclose(new @ LUMA, colors @ LUMA, atol=1e-6)
    np.testing.assert_allclose(new[2], 0.5, atol=1e-6)
    np.testing.assert_allclose(turned(new, -turn), colors, atol=1e-5)
    for before, after in zip(colors, new, strict=True):
        _, i, q = colorsys.rgb_to_yiq(*before.tolist())
        chroma = complex(i, q) * complex(np.exp(-2j * math.pi * turn))
        # colorsys rounds its coefficients to two digits.
        _, i, q = colorsys.rgb_to_yiq(*after.tolist())
        assert abs(complex(i, q) - chroma) < 0.01


def test_turning_the_hue_goes_the_way_of_hsv():
    """Within 20 degrees for small turns of any saturated color."""
    for start in np.linspace(0, 1, 12, endpoint=False):
        color = 0.3 + 0.3 * np.float32(colorsys.hsv_to_rgb(start, 0.3, 1))
        hue = colorsys.rgb_to_hsv(*turned(color[None, :], 0.08)[0].tolist())[0]
        moved = (hue - start + 0.5) % 1 - 0.5
        assert 0.02 < moved < 0.08 + 20 / 360


def test_one_channel_takes_brightness_and_contrast_and_ignores_the_rest():
    spec = dataclasses.replace(SHAPED, mean=(0.4,), std=(0.2,), grayscale_prob=1.0)
    check_against_slow(pictures(2, channels=1), spec, atol=5e-5)


def test_colored_statistics_serve_gray_images_as_their_luma():
    gray = pictures(2, channels=1)
    color = jnp.repeat(gray, 3, -1)
    mean, std = (0.2, 0.4, 0.6), (0.1, 0.1, 0.1)
    spec = dataclasses.replace(STILL, mean=mean, std=std)
    (of_gray,), (of_color,) = (views_of(keys_of(gray), x, specs=(spec,)) for x in (gray, color))
    luma = np.asarray(of_color) @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(of_gray[..., 0], luma, atol=1e-5)
    still = eval_view(gray, 16, mean=mean, std=std)
    np.testing.assert_allclose(still, of_gray[0], atol=1e-5)
