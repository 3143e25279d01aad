"""Grids, measures, packing and the augmentation of positions."""

import hypothesis.strategies as st
import jax
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


def test_measures_of_a_finer_grid_fill_the_same_area():
    coarse = rope_jax.patch_grid((4, 4))
    fine = rope_jax.patch_grid((8, 8), train_shape=(8, 8))
    larger = rope_jax.patch_grid((8, 8), train_shape=(4, 4))
    np.testing.assert_allclose(coarse.measure.sum(), (2 * np.pi) ** 2, rtol=1e-6)
    np.testing.assert_allclose(fine.measure.sum(), (2 * np.pi) ** 2, rtol=1e-6)
    np.testing.assert_allclose(larger.measure.sum(), 4 * (2 * np.pi) ** 2, rtol=1e-6)


@pytest.mark.parametrize("rule", ["midpoint", "clenshaw_curtis", "gauss_legendre"])
def test_sphere_rules_integrate_polynomials(rule):
    grid = rope_jax.sphere_grid(9, 12, rule=rule)
    z = np.asarray(rope_jax.unit_vectors(grid.positions), np.float64)[:, 2]
    w = np.asarray(grid.measure, np.float64)
    assert w.min() > 0
    np.testing.assert_allclose(w.sum(), 4 * np.pi, rtol=1e-6)
    np.testing.assert_allclose(w @ z, 0, atol=1e-5)
    # The integral of z^2 over the sphere is 4 pi / 3; bands have an error, the rules have none.
    tolerance = 2e-2 if rule == "midpoint" else 1e-5
    np.testing.assert_allclose(w @ z**2, 4 * np.pi / 3, rtol=tolerance)
    if rule != "midpoint":
        np.testing.assert_allclose(w @ z**8, 4 * np.pi / 9, rtol=1e-4)
    north = grid.positions[0, 1]
    assert north > 1.3, "north comes first"


def test_healpix_has_equal_areas_distinct_centers_and_balance():
    for sides in (1, 2, 4):
        grid = rope_jax.healpix_grid(sides)
        u = np.asarray(rope_jax.unit_vectors(grid.positions), np.float64)
        assert len(u) == 12 * sides**2
        np.testing.assert_allclose(grid.measure.sum(), 4 * np.pi, rtol=1e-5)
        np.testing.assert_allclose(u.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(u.T @ u / len(u), np.eye(3) / 3, atol=0.02 if sides > 1 else 0.1)
        gaps = np.linalg.norm(u[:, None] - u[None], axis=-1) + 9 * np.eye(len(u))
        assert gaps.min() > 0.5 / sides


def test_a_torus_closes_for_integer_frequencies():
    grid = rope_jax.torus_grid((4, 6))
    encoding = rope_jax.uniform(8, 1, frequency=2.0)
    turned = grid.positions + 2 * np.pi
    one, two = encoding.prepare({}, grid.positions), encoding.prepare({}, turned)
    np.testing.assert_allclose(one.cos, two.cos, atol=1e-5)
    np.testing.assert_allclose(grid.measure.sum(), (2 * np.pi) ** 2, rtol=1e-6)


@given(offset=st.floats(-20, 20), period=st.sampled_from([1.0, 2 * np.pi]))
def test_wrapped_offsets_are_the_shortest_way(offset, period):
    out = float(rope_jax.wrap(jnp.array([offset], jnp.float32), period)[0])
    assert abs(out) <= period / 2 + 1e-5
    turns = (offset - out) / period
    assert abs(turns - round(turns)) < 1e-4


def test_scaling_and_turning_the_plane_shift_log_polar_coordinates():
    p = jax.random.normal(jax.random.key(0), (6, 2))
    angle, factor = 0.3, 1.7
    turn = factor * jnp.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    difference = rope_jax.log_polar(p @ turn, min_radius=1e-3) - rope_jax.log_polar(
        p, min_radius=1e-3
    )
    difference = np.asarray(difference)
    np.testing.assert_allclose(difference[:, 0], np.log(factor), atol=1e-5)
    np.testing.assert_allclose(np.exp(1j * difference[:, 1]), np.exp(1j * angle), atol=1e-5)
    slope = jax.grad(lambda p: rope_jax.log_polar(p, min_radius=0.1).sum())(jnp.zeros((1, 2)))
    assert bool(jnp.isfinite(slope).all())


def test_points_in_a_crowd_stand_for_less():
    line = jnp.concatenate([jnp.linspace(0, 1, 21), jnp.linspace(1.2, 3, 10)])[:, None]
    measure = rope_jax.points(line, num_neighbors=2).measure
    np.testing.assert_allclose(measure[25] / measure[10], 0.2 / 0.05, rtol=1e-3)
    np.testing.assert_allclose(measure.mean(), 1, rtol=1e-5)
    mask = jnp.arange(31) < 21
    masked = rope_jax.points(line, mask=mask, num_neighbors=2).measure
    np.testing.assert_array_equal(masked[21:], 0)
    np.testing.assert_allclose(masked[:21].mean(), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="between 1 and 30, got 31"):
        rope_jax.points(line, num_neighbors=31)


def test_packing_keeps_every_token_once():
    sets = [rope_jax.patch_grid(shape) for shape in ((2, 2), (1, 3), (1, 2), (1, 1))]
    packed = rope_jax.pack(sets, 5, share_rows=True)
    segments = np.asarray(packed.segments)
    assert segments.tolist() == [[0, 0, 0, 0, 3], [1, 1, 1, 2, 2]]
    for index, tokens in enumerate(sets):
        np.testing.assert_array_equal(packed.positions[segments == index], tokens.positions)
    assert packed.mask.shape == (2, 1, 5, 5)
    assert not bool(packed.mask[1, 0, 0, 3])
    assert bool(packed.mask[1, 0, 4, 3])
    alone = rope_jax.pack(sets, 5)
    np.testing.assert_array_equal(alone.measure[1, 3:], 0)
    with pytest.raises(ValueError, match="at least the longest set's 4, got 3"):
        rope_jax.pack(sets, 3)


def test_augmentation_stays_in_its_bounds_and_moves_all_tokens_alike():
    positions = rope_jax.patch_grid((2, 3)).positions
    keys = jax.random.split(jax.random.key(0), 64)
    augment = jax.jit(
        jax.vmap(
            lambda k: rope_jax.augment_positions(k, positions, shift=0.5, jitter=1.5, rescale=2.0)
        )
    )
    out = np.asarray(augment(keys))
    x = np.asarray(positions)
    scale = (out[:, 5] - out[:, 0]) / (x[5] - x[0])[None]
    assert scale.min() > 1 / 3 - 1e-5
    assert scale.max() < 3 + 1e-5
    assert scale[:, 0].max() / scale[:, 0].min() > 2
    ratio = scale[:, 0] / scale[:, 1]
    assert ratio.max() < 1.5**2 + 1e-4
    shift = out[:, 0] / scale - x[0][None]
    assert np.abs(shift).max() < 0.5 + 1e-4
    assert np.abs(shift).max() > 0.3
    same = rope_jax.augment_positions(keys[0], positions)
    np.testing.assert_allclose(same, positions, rtol=1e-6)
    with pytest.raises(ValueError, match="rescale >= 1"):
        rope_jax.augment_positions(keys[0], positions, rescale=0.5)


def test_perturbation_keeps_tokens_inside_their_patches():
    positions = rope_jax.patch_grid((8, 8), extent=1.0).positions
    out = rope_jax.perturb_positions(jax.random.key(0), positions, (0.25, 0.25), strength=2.0)
    moved = np.abs(np.asarray(out - positions))
    assert moved.max() <= 0.125 + 1e-6
    assert moved.std() > 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rope_jax.patch_grid((0, 2)), r"positive sizes, got \(0, 2\)"),
        (lambda: rope_jax.patch_grid((2, 2), train_shape=(2,)), r"2 positive sizes, got \(2,\)"),
        (lambda: rope_jax.patch_grid((2, 2), convention="corner"), "convention must be one of"),
        (lambda: rope_jax.patch_grid((2, 2), order="yx"), "order must be one of"),
        (lambda: rope_jax.sphere_grid(2, 2, rule="equal"), "rule must be one of"),
        (lambda: rope_jax.healpix_grid(0), "num_sides must be positive, got 0"),
    ],
)
def test_unknown_choices_and_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
