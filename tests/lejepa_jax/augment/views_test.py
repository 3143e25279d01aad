"""Views against the same operations done one after the other by PIL, scipy and numpy."""

import colorsys
import dataclasses
import inspect
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, PartitionSpec
from PIL import Image

from lejepa_jax.augment.colors import LUMA, recolor
from lejepa_jax.augment.draws import Draws, example_keys
from lejepa_jax.augment.presets import digits_view, global_view, local_view
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.views import eval_view, make_views
from lejepa_jax.augment.windows import sample_window

views_of = jax.jit(make_views, static_argnames="specs")
window_of = jax.jit(sample_window, static_argnames="spec")
recolor_of = jax.jit(recolor, static_argnames="spec")

# Nothing but a resize to 16 pixels.
STILL = ViewSpec(count=1, size=16, scale=(1.0, 1.0), flip=0.0)
# Everything that shapes, in colors so mild that nothing is clamped on smooth gray-ish images.
SHAPED = ViewSpec(
    count=3, size=16, scale=(0.3, 1.0), brightness=0.2, contrast=0.3, saturation=0.5, hue=0.2,
    jitter_prob=0.8, grayscale_prob=0.3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7),
)  # fmt: skip


def pictures(count=2, height=24, width=20, channels=3, low=90, high=150):
    """Smooth images with detail at every place, well inside the range of values."""
    noise = np.random.default_rng(7).normal(size=(count, height, width, channels))
    smooth = scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5, 0))
    unit = (smooth - smooth.min()) / np.ptp(smooth)
    return jnp.asarray(np.round(low + (high - low) * unit).astype(np.uint8))


def keys_of(images, seed=0):
    return example_keys(jax.random.key(seed), jnp.arange(len(images)))


def draws_of(key, number):
    """The uniform numbers of one view, as documented: the key folded, then drawn at once."""
    numbers = jax.random.uniform(jax.random.fold_in(key, number), (len(Draws._fields),))
    return Draws(*np.asarray(numbers))


def slow_window(u, aspect, spec):
    """Left, top, width, height in units of the image, from area and ratio in true aspect."""
    limit = 1 + 2 * spec.pad
    area = spec.scale[0] + (spec.scale[1] - spec.scale[0]) * float(u.area)
    # The image has height 1 and width `aspect`; a window of ratio r fits between these.
    fits = area * aspect / limit**2, aspect * limit**2 / area
    low, high = np.log(np.clip(spec.ratio, *fits))
    ratio = math.exp(low + (high - low) * float(u.ratio))
    width = math.sqrt(area * aspect * ratio) / aspect
    height = math.sqrt(area * aspect / ratio)
    left = -spec.pad + (limit - width) * float(u.x)
    top = -spec.pad + (limit - height) * float(u.y)
    return left, top, width, height


def pil_resize(image, box, size):
    """Antialiased bilinear resize of a window (left, top, right, bottom) in pixels, in floats."""
    planes = [
        Image.fromarray(np.ascontiguousarray(image[..., k])).resize(
            (size, size), Image.Resampling.BILINEAR, box=box
        )
        for k in range(image.shape[-1])
    ]
    return np.stack([np.asarray(p) for p in planes], -1)


def slow_view(u, image, spec, aspect=1.0):
    """One operation after the other, in the order of the published recipe."""
    image = (np.asarray(image) / 255).astype(np.float32)
    high, wide, channels = image.shape
    left, top, width, height = slow_window(u, aspect, spec)
    border = math.ceil(spec.pad * max(high, wide)) + 8 if spec.pad else 0
    margin = ((border, border), (border, border), (0, 0))
    padded = np.pad(image, margin, constant_values=spec.fill)
    box = [left * wide, top * high, (left + width) * wide, (top + height) * high]
    box = np.array(box) + border
    # Rounding may put the box a hair outside, which PIL refuses.
    box = np.clip(box, 0, [padded.shape[1], padded.shape[0]] * 2)
    view = pil_resize(padded, tuple(box), spec.size).astype(np.float64)
    if u.flip < spec.flip:
        view = view[:, ::-1]

    def factor(number, strength):
        return 1 + strength * (2 * float(number) - 1)

    luma = np.array([0.299, 0.587, 0.114]) if channels == 3 else np.ones(1)
    if u.jitter < spec.jitter_prob:
        view = view * factor(u.brightness, spec.brightness)
        contrast = factor(u.contrast, spec.contrast)
        view = contrast * view + (1 - contrast) * (view @ luma).mean()
        saturation = factor(u.saturation, spec.saturation)
        view = saturation * view + (1 - saturation) * (view @ luma)[..., None]
        if channels == 3:
            angle = 2 * math.pi * spec.hue * (2 * float(u.hue) - 1)
            yiq = np.array([luma, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
            y, i, q = np.moveaxis(view @ yiq.T, -1, 0)
            chroma = (i + 1j * q) * np.exp(-1j * angle)
            view = np.stack([y, chroma.real, chroma.imag], -1) @ np.linalg.inv(yiq).T
    if u.gray < spec.grayscale_prob:
        view = np.repeat((view @ luma)[..., None], channels, -1)
    view = np.clip(view, 0, 1)
    if u.blur < spec.blur_prob:
        sigma = spec.blur_sigma[0] + (spec.blur_sigma[1] - spec.blur_sigma[0]) * float(u.sigma)
        radius = spec.size - 1 if spec.blur_kernel is None else spec.blur_kernel // 2
        for axis in (0, 1):
            view = scipy.ndimage.gaussian_filter1d(
                view, sigma, axis=axis, mode="mirror", radius=radius
            )
    if u.solarize < spec.solarize_prob:
        view = np.where(view >= spec.solarize_threshold, 1 - view, view)
    return (view - np.array(spec.mean)) / np.array(spec.std)


def check_against_slow(images, spec, atol, aspect=None, seed=0):
    keys = keys_of(images, seed)
    (fast,) = views_of(keys, images, specs=(spec,), aspect=aspect)
    shape = (spec.count, len(images), spec.size, spec.size, images.shape[-1])
    assert fast.shape == shape
    assert fast.dtype == jnp.float32
    for i, image in enumerate(images):
        for number in range(spec.count):
            true = 1.0 if aspect is None else float(aspect[i])
            slow = slow_view(draws_of(keys[i], number), image, spec, true)
            np.testing.assert_allclose(fast[number, i], slow, atol=atol)


def test_a_view_equals_crop_flip_jitter_and_grayscale_done_one_by_one():
    check_against_slow(pictures(3), SHAPED, atol=3e-5, aspect=jnp.ones(3))


def test_windows_keep_their_ratio_in_images_that_were_stored_squashed():
    aspect = jnp.array([0.4, 1.0, 2.5])
    check_against_slow(pictures(3), SHAPED, atol=3e-5, aspect=aspect, seed=1)


@pytest.mark.parametrize(
    ("kernel", "contrast", "atol"),
    # Contrast takes the mean gray of the blurred view: only there do the two differ.
    [(5, 0.0, 5e-5), (None, 0.3, 5e-3)],
)
def test_blur_folded_into_the_resize_equals_blur_done_last(kernel, contrast, atol):
    spec = dataclasses.replace(SHAPED, blur_prob=0.6, blur_kernel=kernel, contrast=contrast)
    check_against_slow(pictures(4), spec, atol)


def test_solarisation_inverts_from_the_threshold_on():
    spec = dataclasses.replace(SHAPED, solarize_prob=0.5, solarize_threshold=0.475)
    images = pictures(4)
    keys = keys_of(images)
    (fast,) = views_of(keys, images, specs=(spec,))
    slow = np.stack([
        np.stack([slow_view(draws_of(k, v), i, spec) for k, i in zip(keys, images, strict=True)])
        for v in range(spec.count)
    ])  # fmt: skip
    # A value a rounding away from the threshold may fall on either side.
    assert np.mean(np.abs(fast - slow) > 5e-5) < 1e-3
    inverted = [[draws_of(k, v).solarize < 0.5 for k in keys] for v in range(spec.count)]
    assert 0 < np.mean(inverted) < 1


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
    """Where the image is finer than the view (48), it is smoothed first, as scipy is told to."""
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


def test_gates_open_with_their_probability_and_independently():
    gates = dataclasses.replace(
        STILL, count=4, size=4, flip=0.3, hue=0.1, jitter_prob=0.6, grayscale_prob=0.2
    )
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[..., :2, :] = (120, 80, 60)
    image[..., 2:, :] = (60, 80, 140)
    images = jnp.asarray(np.repeat(image, 500, 0))
    (views,) = views_of(keys_of(images), images, specs=(gates,))
    views = np.asarray(views).reshape(-1, 4, 4, 3)
    flipped = views[:, 0, 0, 2] > views[:, 0, 0, :2].mean(-1)
    gray = np.ptp(views[:, 0, 0], axis=-1) < 1e-4
    flipped = np.where(gray, views[:, 0, 0, 0] < views[:, 0, 3, 0], flipped)
    left, right = image[0, 0, 0] / 255, image[0, 0, 3] / 255
    same = np.where(flipped[:, None], right, left)
    still = np.abs(views[:, 0, 0] - same).max(-1) < 1e-5
    assert np.mean(flipped) == pytest.approx(0.3, abs=0.04)
    assert np.mean(gray) == pytest.approx(0.2, abs=0.035)
    assert np.mean(still[~gray]) == pytest.approx(0.4, abs=0.045)
    assert np.mean(flipped[~gray & still]) == pytest.approx(0.3, abs=0.07)


def test_noise_and_erasing_do_what_they_say():
    spec = dataclasses.replace(
        STILL, size=32, noise=0.1, erase_prob=0.5, erase_scale=(0.2, 0.2), mean=(0.3,), std=(0.5,)
    )
    images = jnp.full((64, 8, 8, 1), 204, jnp.uint8)
    (views,) = views_of(keys_of(images), images, specs=(spec,))
    erased = np.asarray(views[0, ..., 0] == 0)
    parts = erased.mean((1, 2))
    assert 0.3 < np.mean(parts > 0) < 0.7
    # 32 pixels a side measure an area of 0.2 to a few percent.
    np.testing.assert_allclose(parts[parts > 0], 0.2, atol=0.025)
    kept = np.asarray(views[0, ..., 0])[~erased] * 0.5 + 0.3
    assert kept.mean() == pytest.approx(0.8, abs=2e-3)
    assert kept.std() == pytest.approx(0.1, rel=0.02)


def test_views_are_numbered_through_the_specs_and_options_change_nothing_else():
    images = pictures(2)
    keys = keys_of(images)
    plain = ViewSpec(count=4, size=8)
    two, four = (dataclasses.replace(plain, count=n) for n in (2, 4))
    (whole,) = views_of(keys, images, specs=(four,))
    first, second = views_of(keys, images, specs=(two, two))
    np.testing.assert_allclose(jnp.concatenate([first, second]), whole, atol=1e-6)
    assert float(jnp.abs(whole[0] - whole[1]).max()) > 1e-2

    odd = dataclasses.replace(four, solarize_prob=0.5, solarize_threshold=0.0)
    (solarised,) = views_of(keys, images, specs=(odd,))
    hit = np.array([[draws_of(k, v).solarize < 0.5 for k in keys] for v in range(4)])
    assert 0 < hit.mean() < 1
    np.testing.assert_allclose(solarised[~hit], whole[~hit], atol=1e-6)


def test_views_are_the_same_on_one_device_and_sharded_over_eight():
    images, key = pictures(16), jax.random.key(3)
    specs = (dataclasses.replace(SHAPED, blur_prob=0.5),)
    aspect = jnp.linspace(0.5, 2.0, 16)
    index = jnp.arange(16) + 1000
    whole = views_of(example_keys(key, index), images, specs=specs, aspect=aspect)

    def local(index, images, aspect):
        return make_views(example_keys(key, index), images, specs, aspect=aspect)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    batch = PartitionSpec("data")
    sharded = jax.jit(
        jax.shard_map(
            local, mesh=mesh, in_specs=(batch,) * 3, out_specs=PartitionSpec(None, "data")
        )
    )(index, images, aspect)
    mapped = jax.jit(jax.vmap(local, out_axes=1))(
        *(x.reshape(8, 2, *x.shape[1:]) for x in (index, images, aspect))
    )
    for one, other, third in zip(whole, sharded, mapped, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
        np.testing.assert_allclose(one, third.reshape(one.shape), atol=1e-6)


def test_one_channel_takes_brightness_and_contrast_and_ignores_the_rest():
    spec = dataclasses.replace(SHAPED, mean=(0.4,), std=(0.2,), grayscale_prob=1.0)
    check_against_slow(pictures(2, channels=1), spec, atol=5e-5)


@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_the_evaluation_view_is_the_central_square_in_true_aspect(crop):
    images, aspect = pictures(3), jnp.array([0.5, 1.0, 1.7])
    height, width = images.shape[1:3]
    views = jax.jit(eval_view, static_argnums=1, static_argnames=("mean", "std", "crop"))(
        images, 12, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), aspect=aspect, crop=crop
    )
    for i, true in enumerate(np.asarray(aspect)):
        across, down = crop * min(1, 1 / true), crop * min(1, true)
        box = (
            width * (1 - across) / 2, height * (1 - down) / 2,
            width * (1 + across) / 2, height * (1 + down) / 2,
        )  # fmt: skip
        slow = pil_resize(np.asarray(images[i] / 255, np.float32), box, 12)
        slow = (slow - np.array([0.1, 0.2, 0.3])) / np.array([0.5, 0.6, 0.7])
        np.testing.assert_allclose(views[i], slow, atol=2e-5)


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


def test_wrong_arrays_are_refused():
    images = pictures(2)
    keys = keys_of(images)
    two = dataclasses.replace(STILL, mean=(0.0,) * 2, std=(1.0,) * 2)
    # jaxtyping refuses wrong ranks and dtypes already; without it these checks do.
    views, square = inspect.unwrap(make_views), inspect.unwrap(eval_view)
    for bad in (images[0], images[..., :2], images.astype(jnp.float32)):
        with pytest.raises(ValueError, match="images must be uint8"):
            views(keys, bad, (STILL,))
    with pytest.raises(ValueError, match=r"keys must hold one key an image, \(2,\)"):
        views(keys[:1], images, (STILL,))
    with pytest.raises(ValueError, match="aspect must hold one number an image"):
        views(keys, images, (STILL,), aspect=jnp.ones(3))
    with pytest.raises(ValueError, match="specs must hold at least one"):
        views(keys, images, ())
    with pytest.raises(ValueError, match="mean and std must have 1 or 1 numbers"):
        views(keys, images[..., :1], (two,))
    with pytest.raises(ValueError, match="size must be at least 1"):
        square(images, 0)
    with pytest.raises(ValueError, match="crop must be above 0"):
        square(images, 8, crop=1.5)


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


def test_views_are_the_same_where_64_bits_are_enabled():
    program = """
import dataclasses, hashlib, jax, jax.numpy as jnp, numpy as np
from lejepa_jax.augment import eval_view, example_keys, global_view, make_views
images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 9, 12, 3)), jnp.uint8)
spec = dataclasses.replace(
    global_view(2, 8), noise=0.1, erase_prob=0.5, rotation=10.0, pad=0.1, saturation=np.float64(0.2)
)
wide = dataclasses.replace(global_view(2, 8), area="torchvision")
keys = example_keys(jax.random.key(0), jnp.arange(2))
views = jax.jit(make_views, static_argnames="specs")(keys, images, specs=(spec, wide))
views += (eval_view(images, 4, mean=spec.mean, std=spec.std),)
print(jnp.arange(2.0).dtype, *[(v.dtype, hashlib.sha1(np.asarray(v)).hexdigest()) for v in views])
"""
    said = []
    for enabled in ("0", "1"):
        environment = {**os.environ, "JAX_ENABLE_X64": enabled}
        command = [sys.executable, "-c", program]
        said.append(subprocess.check_output(command, env=environment, text=True).split(" ", 1))
    (narrow, views), (wide, views_of_64) = said
    assert (narrow, wide) == ("float32", "float64")
    assert views == views_of_64
    assert "float64" not in views


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
