"""Grids of patches and on the torus."""

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import rope_jax


@given(train=st.integers(1, 16), test=st.integers(1, 40), extent=st.sampled_from([1.0, np.pi, 7.0]))
def test_spacing_of_patch_centers_is_the_same_at_every_resolution(train, test, extent):
    grid = rope_jax.patch_grid((1, test), train_shape=(1, train), extent=extent)
    x = np.asarray(grid.positions[:, 0], np.float64)
    np.testing.assert_allclose(np.diff(x), 2 * extent / train, rtol=1e-5)
    np.testing.assert_allclose(x, -x[::-1])


def test_linspace_is_the_papers_way_with_its_two_traps():
    def x(p, p0, convention):
        grid = rope_jax.patch_grid((1, p), train_shape=(1, p0), convention=convention)
        return np.asarray(grid.positions[:, 0], np.float64)

    for p0, p, ratio in ((14, 28, 0.963), (8, 16, 0.933)):
        spacing = [np.diff(x(size, p0, "linspace"))[0] for size in (p0, p)]
        np.testing.assert_allclose(spacing[1] / spacing[0], ratio, atol=5e-4)
    # The first and the last column get the same rotation; patch centers avoid it.
    ends = x(14, 14, "linspace")[[0, -1]]
    assert abs(np.exp(1j * ends[0]) - np.exp(1j * ends[1])) < 1e-6
    ends = x(14, 14, "centers")[[0, -1]]
    assert abs(np.exp(1j * ends[0]) - np.exp(1j * ends[1])) > 0.4


def test_columns_are_x_and_rows_are_y_on_a_grid_that_is_not_square():
    xy = rope_jax.patch_grid((2, 3), convention="integer").positions
    ij = rope_jax.patch_grid((2, 3), convention="integer", order="ij").positions
    np.testing.assert_array_equal(xy[:, 0], [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(xy[:, 1], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(ij, xy[:, ::-1])


def test_a_clip_has_x_y_t_and_its_own_extent_in_time():
    grid = rope_jax.patch_grid((2, 3, 4), extent=(1.0, 2.0, 3.0))
    assert grid.positions.shape == (24, 3)
    np.testing.assert_allclose(jnp.max(grid.positions, axis=0), [2.25, 4 / 3, 0.5], rtol=1e-6)
    np.testing.assert_allclose(grid.measure, np.full(24, 1.0 * 4 / 3 * 1.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("normalize", "widths"), [("separate", (3, 3)), ("max", (3, 1.5)), ("min", (6, 3))]
)
def test_sides_are_normalized_apart_or_together(normalize, widths):
    grid = rope_jax.patch_grid((2, 4), extent=1.5, normalize=normalize)
    x, y = np.asarray(grid.positions).T
    np.testing.assert_allclose((np.ptp(x) * 4 / 3, np.ptp(y) * 2), widths, rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(grid.measure), widths[0] * widths[1], rtol=1e-6)


@pytest.mark.parametrize("normalize", ["separate", "max", "min"])
def test_a_grid_anchored_at_its_corner_is_that_of_dinov3(normalize):
    sides = np.array([2, 5])
    by = {"separate": sides, "max": sides.max(), "min": sides.min()}[normalize]
    h, w = ((np.arange(side) + 0.5) for side in sides)
    grid = np.stack(np.meshgrid(h, w, indexing="ij"), -1).reshape(-1, 2)
    want = 2 * grid / np.broadcast_to(by, 2) - 1
    options = {"extent": 1.0, "normalize": normalize, "order": "ij"}
    got = rope_jax.patch_grid((2, 5), anchor="corner", **options)
    np.testing.assert_allclose(got.positions, want, atol=1e-6)
    # Ours differ by a shift, which relative encodings do not see.
    shift = got.positions - rope_jax.patch_grid((2, 5), **options).positions
    np.testing.assert_allclose(shift, np.tile(shift[:1], (10, 1)), atol=1e-6)
    assert (np.abs(shift[0]).max() > 0.1) == (normalize != "separate")


def test_measures_of_a_finer_grid_fill_the_same_area():
    coarse = rope_jax.patch_grid((4, 4))
    fine = rope_jax.patch_grid((8, 8), train_shape=(8, 8))
    larger = rope_jax.patch_grid((8, 8), train_shape=(4, 4))
    np.testing.assert_allclose(coarse.measure.sum(), (2 * np.pi) ** 2, rtol=1e-6)
    np.testing.assert_allclose(fine.measure.sum(), (2 * np.pi) ** 2, rtol=1e-6)
    np.testing.assert_allclose(larger.measure.sum(), 4 * (2 * np.pi) ** 2, rtol=1e-6)


def test_a_torus_closes_for_integer_frequencies():
    grid = rope_jax.torus_grid((4, 6))
    encoding = rope_jax.uniform(8, 1, frequency=2.0)
    once_around = grid.positions + 2 * np.pi
    one, two = encoding.prepare({}, grid.positions), encoding.prepare({}, once_around)
    np.testing.assert_allclose(one.cos, two.cos, atol=1e-5)
    np.testing.assert_allclose(grid.measure.sum(), (2 * np.pi) ** 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rope_jax.patch_grid((0, 2)), r"positive sizes, got \(0, 2\)"),
        (lambda: rope_jax.patch_grid((2, 2), train_shape=(2,)), r"2 positive sizes, got \(2,\)"),
        (lambda: rope_jax.patch_grid((2, 2), convention="corner"), "convention must be one of"),
        (lambda: rope_jax.patch_grid((2, 2), order="yx"), "order must be one of"),
        (
            lambda: rope_jax.patch_grid((2, 2), convention="integer", anchor="corner"),
            "anchor='corner' is for convention='centers', got 'integer'",
        ),
        (lambda: rope_jax.sphere_grid(2, 2, rule="equal"), "rule must be one of"),
        (lambda: rope_jax.torus_grid((0,)), r"shape must hold positive sizes, got \(0,\)"),
        (lambda: rope_jax.sphere_grid(0, 2), r"num_longitudes must hold .* got \(0, 2\)"),
        (lambda: rope_jax.pack([], 3), "at least one set of tokens, got none"),
        (
            lambda: rope_jax.log_measure(jnp.ones(2), num_prefix=1, prefix_measure=0.0),
            "prefix_measure must be positive, got 0.0",
        ),
        (lambda: rope_jax.healpix_grid(0), "num_sides must be positive, got 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_unknown_choices_and_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
