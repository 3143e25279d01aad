"""Additive encodings against the tables they replace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rope_jax


@pytest.mark.parametrize("method", ["cubic", "linear"])
def test_learned_table_is_itself_in_training_and_resized_beyond(method):
    encoding = rope_jax.learned_absolute(4, 2, grid=(3, 4), method=method)
    params = encoding.init(jax.random.key(0))
    embed = jax.jit(encoding.embed)
    at_home = embed(params, rope_jax.patch_grid((3, 4)).positions)
    np.testing.assert_allclose(at_home, params["table"].reshape(12, 8), atol=1e-6)
    finer = rope_jax.patch_grid((6, 6), train_shape=(3, 4)).positions
    want = jax.image.resize(params["table"], (6, 6, 8), method)
    np.testing.assert_allclose(embed(params, finer), want.reshape(36, 8), atol=1e-6)


def test_clamped_table_repeats_its_border():
    encoding = rope_jax.learned_absolute(4, 1, grid=(2, 2), resize="clamp", method="linear")
    params = encoding.init(jax.random.key(0))
    far = encoding.embed(params, jnp.array([[-9.0, -9.0], [9.0, -9.0]]))
    np.testing.assert_allclose(far, params["table"][0], atol=1e-7)


def test_rotate_of_an_additive_encoding_is_the_identity():
    encoding = rope_jax.sincos(8, 1)
    x = jnp.ones((3, 1, 8))
    assert encoding.rotate(encoding.prepare({}, jnp.zeros((3, 2))), x) is x


def test_sincos_agrees_with_the_formula_in_both_spacings_and_orders():
    p = np.array([[3.0, 5.0], [0.0, 11.0]])
    for spacing, steps in (("open", np.arange(2) / 2), ("closed", np.arange(2) / 1)):
        angles = p[:, :, None] * 10_000.0**-steps
        blocked = np.stack([np.sin(angles), np.cos(angles)], 2).reshape(2, 8)
        encoding = rope_jax.sincos(4, 2, spacing=spacing)
        np.testing.assert_allclose(
            encoding.embed({}, jnp.asarray(p, jnp.float32)), blocked, atol=2e-6
        )
        mixed = rope_jax.sincos(4, 2, spacing=spacing, order="interleaved")
        want = np.stack([np.sin(angles), np.cos(angles)], 3).reshape(2, 8)
        np.testing.assert_allclose(mixed.embed({}, jnp.asarray(p, jnp.float32)), want, atol=2e-6)


def test_scale_turns_our_centers_into_their_integers():
    grid = rope_jax.patch_grid((1, 4))
    scaled = rope_jax.sincos(4, 1, scale=4 / (2 * np.pi)).embed({}, grid.positions)
    integers = jnp.stack([jnp.arange(4.0) - 1.5, jnp.zeros(4)], -1)
    np.testing.assert_allclose(scaled, rope_jax.sincos(4, 1).embed({}, integers), atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"grid must have num_axes = 2 sizes, got \(4,\)"):
        rope_jax.learned_absolute(4, 1, grid=(4,))
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        rope_jax.sincos(6, 1)


@pytest.mark.parametrize("shape", [(6, 8), (3, 4), (5, 5), (12, 4)])
def test_a_grid_that_fits_inside_the_extent_is_not_squeezed(shape):
    # A finer grid over the same image, as jax.image.resize sees it.
    encoding = rope_jax.learned_absolute(4, 1, grid=(3, 4))
    params = encoding.init(jax.random.key(0))
    got = jax.jit(encoding.embed)(params, rope_jax.patch_grid(shape).positions)
    want = jax.image.resize(params["table"], (*shape, 4), "cubic", antialias=False)
    np.testing.assert_allclose(got, want.reshape(-1, 4), atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (6, 8), (3, 9)])
def test_a_grid_beyond_the_extent_is_squeezed_onto_the_table(shape):
    encoding = rope_jax.learned_absolute(4, 1, grid=(3, 4))
    params = encoding.init(jax.random.key(0))
    positions = rope_jax.patch_grid(shape, train_shape=(3, 4)).positions
    got = jax.jit(encoding.embed)(params, positions)
    want = jax.image.resize(params["table"], (*shape, 4), "cubic", antialias=False)
    np.testing.assert_allclose(got, want.reshape(-1, 4), atol=1e-6)


def torch_bicubic(table, size):
    """PyTorch's bicubic interpolation along one axis, align_corners off, no antialiasing."""
    a, old = -0.75, len(table)
    out = []
    for i in range(size):
        x = (i + 0.5) * old / size - 0.5
        taps = np.arange(int(np.floor(x)) - 1, int(np.floor(x)) + 3)
        t = np.abs(x - taps)
        inner = (a + 2) * t**3 - (a + 3) * t**2 + 1
        outer = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
        weights = np.where(t <= 1, inner, outer)
        border = table[np.clip(taps, 0, old - 1)]  # repeats
        out.append(np.tensordot(weights, border, axes=1))
    return np.stack(out)


def test_the_cubic_of_pytorch_is_that_of_ported_models():
    encoding = rope_jax.learned_absolute(4, 1, grid=(3, 4), method="torch_cubic")
    params = encoding.init(jax.random.key(0))
    got = jax.jit(encoding.embed)(params, rope_jax.patch_grid((5, 7)).positions)
    want = torch_bicubic(np.asarray(params["table"], np.float64), 5)
    want = np.stack([torch_bicubic(row, 7) for row in want])
    np.testing.assert_allclose(got, want.reshape(-1, 4), atol=1e-6)


def test_sines_may_come_first_as_in_timm():
    p = np.array([[3.0, 5.0], [0.0, 11.0]])
    angles = p[:, :, None] * 10_000.0 ** -(np.arange(2) / 2)
    want = np.concatenate([np.sin(angles).reshape(2, 4), np.cos(angles).reshape(2, 4)], 1)
    encoding = rope_jax.sincos(4, 2, order="sines_first")
    np.testing.assert_allclose(encoding.embed({}, jnp.asarray(p, jnp.float32)), want, atol=2e-6)
