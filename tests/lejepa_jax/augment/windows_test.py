"""Windows and their pixels, against PIL, scipy and numpy."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from lejepa_jax.augment.draws import Draws
from lejepa_jax.augment.presets import digits_view, global_view, local_view
from lejepa_jax.augment.windows import sample_window
from tests.lejepa_jax.augment.slow_views import (
    SHAPED,
    STILL,
    check_against_slow,
    draws_of,
    keys_of,
    pictures,
    pil_resize,
    slow_window,
    views_of,
)

window_of = jax.jit(sample_window, static_argnames="spec")


def test_windows_keep_their_ratio_in_images_that_were_stored_squashed():
    aspect = jnp.array([0.4, 1.0, 2.5])
    check_against_slow(pictures(3), SHAPED, atol=3e-5, aspect=aspect, seed=1)


@pytest.mark.parametrize(("side", "fill"), [(6, 0.0), (40, 0.8)])
def test_a_window_that_leaves_the_image_reads_the_fill(side, fill):
    spec = dataclasses.replace(
        STILL, count=4, scale=(0.7, 1.4), pad=0.125, fill=fill, ratio=(0.7, 1.5)
    )
    check_against_slow(pictures(4, side, side, 1), spec, atol=3e-5)


def test_a_still_view_of_the_image_at_its_own_size_is_the_image():
    images = pictures(2, 16, 16, 1)
    (view,) = views_of(keys_of(images), images, specs=(STILL,))
    np.testing.assert_allclose(view[0], np.asarray(images) / 255, atol=1e-6)


@pytest.mark.parametrize("side", [12, 48])
def test_a_rotated_view_equals_scipy_reading_the_turned_window(side):
    """Where the image is finer than the view (48), it is smoothed first, as for scipy."""
    spec = dataclasses.replace(STILL, count=3, scale=(0.5, 1.0), flip=0.5, rotation=40.0, fill=0.25)
    images, aspect = pictures(2, side, side, 1), jnp.array([1.0, 1.6])
    keys = keys_of(images)
    (fast,) = views_of(keys, images, specs=(spec,), aspect=aspect)
    for i in range(2):
        for number in range(3):
            u, true = draws_of(keys[i], number), float(aspect[i])
            left, top, width, height = slow_window(u, true, spec)
            image = np.asarray(images[i, ..., 0]) / 255
            grid = np.arange(side)
            for axis, extent in ((0, height), (1, width)):
                radius = max(extent * side / spec.size, 1.0)
                matrix = np.clip(1 - np.abs(grid[:, None] - grid) / radius, 0, None)
                matrix /= matrix.sum(1, keepdims=True)
                image = np.moveaxis(np.tensordot(matrix, image, (1, axis)), 0, axis)
            steps = (np.arange(spec.size) + 0.5) / spec.size - 0.5
            # Complex numbers in units of the image's true height.
            offset = steps[None, :] * width * true + 1j * steps[:, None] * height
            if u.flip < spec.flip:
                offset = -offset.conj()
            offset *= np.exp(1j * math.radians(spec.rotation) * (2 * float(u.angle) - 1))
            xs = (left + width / 2 + offset.real / true) * side - 0.5
            ys = (top + height / 2 + offset.imag) * side - 0.5
            slow = scipy.ndimage.map_coordinates(
                image, [ys, xs], order=1, mode="grid-constant", cval=spec.fill
            )
            np.testing.assert_allclose(fast[number, i, ..., 0], slow, atol=5e-5)


def test_a_rotated_view_can_be_blurred():
    images = pictures(2, 16, 16, 1)
    turned = dataclasses.replace(STILL, count=2, rotation=30.0)
    blurred = dataclasses.replace(turned, blur_prob=1.0, blur_sigma=(1.0, 1.0))
    sharp, soft = (views_of(keys_of(images), images, specs=(s,))[0] for s in (turned, blurred))
    wanted = scipy.ndimage.gaussian_filter(sharp, (0, 0, 1, 1, 0), mode="mirror", truncate=15)
    np.testing.assert_allclose(soft, wanted, atol=2e-5)


UNIT = st.floats(0, 0.99999)


@given(
    spec=st.sampled_from([global_view(), local_view(), digits_view()]),
    log_aspect=st.floats(-1.5, 1.5),
    numbers=st.tuples(UNIT, UNIT, UNIT, UNIT),
)
def test_windows_stay_within_their_bounds_with_the_area_they_drew(spec, log_aspect, numbers):
    aspect = math.exp(log_aspect)
    u = Draws(*np.float32([*numbers, *[0.5] * 16]))
    x, y, width, height = map(float, window_of(u, jnp.float32(aspect), spec=spec))
    for center, extent in ((x, width), (y, height)):
        assert center - extent / 2 >= -spec.pad - 1e-6
        assert center + extent / 2 <= 1 + spec.pad + 1e-6
    area = spec.scale[0] + (spec.scale[1] - spec.scale[0]) * numbers[0]
    assert width * height == pytest.approx(area, rel=1e-5)
    limit = (1 + 2 * spec.pad) ** 2
    low, high = np.clip(spec.ratio, area * aspect / limit, aspect * limit / area)
    assert low * 0.9999 <= width * aspect / height <= high * 1.0001


def slow_torchvision_window(tries, aspect, spec):
    """The first of ten windows of an image of so many pixels that fits, without rounding."""
    height = 1000.0
    width = aspect * height
    for area, ratio in tries:
        target = (spec.scale[0] + (spec.scale[1] - spec.scale[0]) * area) * width * height
        low, high = np.log(spec.ratio)
        drawn = math.exp(low + (high - low) * ratio)
        w, h = math.sqrt(target * drawn), math.sqrt(target / drawn)
        if w <= width and h <= height:
            return w / width, h / height
    if aspect < spec.ratio[0]:
        return 1.0, width / spec.ratio[0] / height
    if aspect > spec.ratio[1]:
        return height * spec.ratio[1] / width, 1.0
    return 1.0, 1.0


@given(log_aspect=st.floats(-2.5, 2.5), seed=st.integers(0, 2**20))
def test_torchvision_windows_are_the_first_that_fit(log_aspect, seed):
    spec = dataclasses.replace(STILL, scale=(0.3, 1.0), area="torchvision")
    aspect = math.exp(log_aspect)
    tries = np.random.default_rng(seed).random((10, 2)).astype(np.float32)
    u = Draws(*np.full(20, 0.25, np.float32))
    x, y, *extent = map(
        float, window_of(u, jnp.float32(aspect), spec=spec, tries=jnp.asarray(tries))
    )
    wanted = slow_torchvision_window(tries.astype(float), aspect, spec)
    np.testing.assert_allclose(extent, wanted, rtol=1e-4)
    np.testing.assert_allclose((x, y), 0.5 - 0.25 * (1 - np.array(extent)), rtol=1e-4)


@pytest.mark.parametrize(
    ("aspect", "area", "beyond"), [(1.0, 0.59, 0.0), (1.5, 0.505, 0.159), (2.0, 0.428, 0.476)]
)
def test_torchvision_windows_keep_the_ratio_and_see_less(aspect, area, beyond):
    """The figures of the table in `ViewSpec`."""
    uniform = dataclasses.replace(STILL, scale=(0.3, 1.0))
    torchvision = dataclasses.replace(uniform, area="torchvision")
    numbers = np.random.default_rng(0).random((20000, 40)).astype(np.float32)

    def windows(spec):
        def window(row):
            return sample_window(Draws(*row[:20]), aspect, spec, row[20:].reshape(10, 2))

        _, _, width, height = jax.vmap(window)(jnp.asarray(numbers))
        ratio = np.asarray(width * aspect / height)
        outside = (ratio < 3 / 4 * 0.999) | (ratio > 4 / 3 * 1.001)
        return float((width * height).mean()), float(outside.mean())

    for spec, wanted in ((uniform, (0.65, beyond)), (torchvision, (area, 0.0))):
        np.testing.assert_allclose(windows(spec), wanted, atol=0.01)


def test_torchvision_views_read_the_window_drawn_from_a_key_of_their_own():
    spec = dataclasses.replace(STILL, count=3, scale=(0.3, 1.0), area="torchvision")
    images, aspect = pictures(2), jnp.array([1.0, 2.0])
    keys = keys_of(images)
    (fast,) = views_of(keys, images, specs=(spec,), aspect=aspect)
    high, wide = images.shape[1:3]
    for i in range(2):
        for number in range(3):
            u = draws_of(keys[i], number)
            key = jax.random.fold_in(keys[i], number + 2**30)
            tries = np.asarray(jax.random.uniform(key, (10, 2)), np.float64)
            width, height = slow_torchvision_window(tries, float(aspect[i]), spec)
            left, top = (1 - width) * float(u.x) * wide, (1 - height) * float(u.y) * high
            box = left, top, min(left + width * wide, wide), min(top + height * high, high)
            slow = pil_resize(np.asarray(images[i] / 255, np.float32), box, spec.size)
            np.testing.assert_allclose(fast[number, i], slow, atol=3e-5)
