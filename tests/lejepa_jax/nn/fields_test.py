import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn.fields import Field, causal_mask
from lejepa_jax.nn.layers import patchify
from lejepa_jax.nn.transformers.positions import grid_positions, sincos_grid, sincos_table
from lejepa_jax.nn.transformers.vision_transformer import ViT

SHAPES = {1: (6,), 2: (4, 6), 3: (2, 4, 6)}


def make(num_axes=1, **options):
    defaults = {"width": 24, "depth": 2, "num_heads": 2, "patch_size": 2, "in_channels": 2}
    defaults |= {"image_size": SHAPES[num_axes], "pooling": "mean", "position": "axial"}
    return ViT(num_axes=num_axes, **{**defaults, **options}, rngs=nnx.Rngs(0))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(graphdef, method, state, inputs):
    return getattr(nnx.merge(graphdef, state), method)(inputs)


def apply(model, inputs, method="__call__"):
    return np.asarray(_apply(*nnx.split(model)[:1], method, nnx.split(model)[1], inputs))


def values(shape, seed=0, channels=2, count=2):
    draw = np.random.default_rng(seed).normal(size=(count, *shape, channels))
    return jnp.asarray(draw, jnp.float32)


@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_patches_are_blocks_of_the_field_in_the_order_of_the_grid(num_axes):
    x = values(SHAPES[num_axes])
    found = np.asarray(patchify(x, 2))
    grid = tuple(side // 2 for side in SHAPES[num_axes])
    assert found.shape == (2, *grid, 2**num_axes * 2)
    for place in np.ndindex(*grid):
        block = np.asarray(x)[(slice(None), *(slice(2 * i, 2 * i + 2) for i in place))]
        np.testing.assert_array_equal(found[(slice(None), *place)], block.reshape(2, -1))


@pytest.mark.parametrize("position", ["learned", "sincos", "axial"])
@pytest.mark.parametrize("num_axes", [1, 3])
def test_fields_of_one_and_three_axes_are_encoded_on_another_grid_too(num_axes, position):
    model = make(num_axes, position=position)
    larger = tuple(2 * side for side in SHAPES[num_axes])
    assert apply(model, values(SHAPES[num_axes])).shape == (2, 24)
    found = apply(model, values(larger))
    assert found.shape == (2, 24)
    assert np.isfinite(found).all()


def test_a_volume_of_one_slice_is_seen_as_its_plane():
    plane, volume = make(2, patch_size=2), make(3, patch_size=(1, 2, 2), image_size=(1, 4, 6))
    for name in ("patch_embedding", "blocks", "norm"):
        setattr(volume, name, getattr(plane, name))
    plane.position = volume.position = "none"
    x = values((4, 6))
    np.testing.assert_array_equal(apply(plane, x), apply(volume, x[:, None]))


def test_sincos_of_two_axes_is_the_published_table():
    np.testing.assert_array_equal(sincos_grid((3, 2), 8), sincos_table(3, 2, 8))


def test_what_is_missing_changes_nothing_and_equal_measures_are_none():
    model, x = make(), values((6,))
    whole = Field(x, jnp.ones(x.shape[:2]))
    np.testing.assert_allclose(apply(model, whole), apply(model, x), atol=1e-5)
    half = whole._replace(measure=whole.measure.at[:, 4:].set(0))
    other = half._replace(values=x.at[:, 4:].set(9.0))
    np.testing.assert_allclose(apply(model, half), apply(model, other), atol=1e-6)
    assert np.abs(apply(model, half) - apply(model, whole)).max() > 1e-3


@pytest.mark.parametrize("pooling", ["mean", "cls", "attention"])
def test_a_patch_given_twice_at_half_its_measure_counts_once(pooling):
    """A sampling that is finer in one part only: what weights are for."""
    model = make(position="none", pooling=pooling)
    x = values((6,))
    twice = jnp.concatenate([x, x[:, 4:]], 1)
    measure = jnp.broadcast_to(jnp.array([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5])[None], (2, 8))
    expected = apply(model, Field(x, jnp.ones((2, 6))))
    np.testing.assert_allclose(apply(model, Field(twice, measure)), expected, atol=1e-5)
    if pooling != "cls":  # what is compared can tell the two apart
        assert np.abs(apply(model, twice) - expected).max() > 1e-4


def test_shifting_a_series_shifts_its_tokens_where_positions_are_relative():
    """Whole turns on a ring: a shift by a patch is a shift of the tokens."""
    model = make(position="axial(base=1.0)", image_size=(8,))
    x = values((8,))
    moved = apply(model, jnp.roll(x, 2, axis=1), "tokens")
    np.testing.assert_allclose(moved, np.roll(apply(model, x, "tokens"), 1, axis=1), atol=1e-5)


def test_with_thick_slices_the_depth_is_as_long_as_it_is():
    model = make(3, image_size=(4, 4, 6), spacing=(6.0, 1.0, 1.0))
    places = grid_positions("centers", model.grid, model.grid, spacing=model.spacing)
    found = np.ptp(np.asarray(places), axis=0)  # columns, rows, depth
    # Patches are 2, 2 and 12 wide, and the volume is 24 deep, which is a whole turn.
    np.testing.assert_allclose(found, 2 * np.pi / 24 * np.array([4, 2, 12]), rtol=1e-5)
    assert np.isfinite(apply(model, values((4, 4, 6)))).all()


def test_causal_tokens_do_not_see_what_comes_later():
    model, x = make(causal=True, num_registers=1), values((6,))
    later = x.at[:, 4:].add(1.0)
    before, after = (apply(model, field, "tokens") for field in (x, later))
    np.testing.assert_allclose(before[:, :2], after[:, :2], atol=1e-6)
    assert np.abs(before[:, 2] - after[:, 2]).max() > 1e-3


def test_frames_see_themselves_whole():
    mask = causal_mask((2, 2), 1)
    assert mask[1:3, 1:3].all()
    assert not mask[1:3, 3:].any()
    assert mask[:, 0].all()
    assert not mask[0, 1:].any()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_axes": 4}, "num_axes must be 1, 2 or 3, got 4"),
        ({"patch_size": (2, 2)}, r"patch_size must be one number or 1, got \(2, 2\)"),
        ({"causal": True, "pooling": "cls"}, 'pooling must be "mean" or "attention" with causal'),
        ({"spacing": (1.0, 2.0)}, "spacing must have 1 positive numbers"),
    ],
)
def test_refusals(unchecked, options, error):
    options = {"width": 4, "depth": 1, "num_heads": 1, "num_axes": 1} | options
    with pytest.raises(ValueError, match=error):
        ViT(**options, rngs=nnx.Rngs(0))


def test_a_series_for_an_encoder_of_images_is_refused(unchecked):
    with pytest.raises(ValueError, match="series must have shape"):
        make()(jnp.ones((2, 4, 4, 2)))
