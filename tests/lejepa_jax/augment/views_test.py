"""Views against the same operations done one after the other by PIL, scipy and numpy."""

import dataclasses
import inspect
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from lejepa_jax.augment.draws import example_keys
from lejepa_jax.augment.specs import ViewSpec
from lejepa_jax.augment.views import eval_view, make_views
from tests.lejepa_jax.augment.slow_views import (
    SHAPED,
    STILL,
    check_against_slow,
    draws_of,
    keys_of,
    pictures,
    pil_resize,
    slow_view,
    views_of,
)


def test_a_view_equals_crop_flip_jitter_and_grayscale_done_one_by_one():
    check_against_slow(pictures(3), SHAPED, atol=3e-5, aspect=jnp.ones(3))


@pytest.mark.parametrize(
    ("kernel", "contrast", "atol"),
    # Contrast takes the mean gray of the blurred view: only there do the two differ.
    [(5, 0.0, 5e-5), (None, 0.3, 5e-3)],
)
def test_blur_folded_into_the_resize_equals_blur_done_last(kernel, contrast, atol):
    spec = dataclasses.replace(SHAPED, blur_prob=0.6, blur_kernel=kernel, contrast=contrast)
    check_against_slow(pictures(4), spec, atol)


def test_solarization_inverts_from_the_threshold_on():
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
    (solarized,) = views_of(keys, images, specs=(odd,))
    hit = np.array([[draws_of(k, v).solarize < 0.5 for k in keys] for v in range(4)])
    assert 0 < hit.mean() < 1
    np.testing.assert_allclose(solarized[~hit], whole[~hit], atol=1e-6)


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
