"""Summaries of covariance against NumPy, under merging, masks and devices."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from lejepa_jax.diagnostics.covariance import (
    frequent_directions,
    isotropy_penalty,
    merge_covariances,
    project_covariance,
    sample_covariance,
    summary_spectrum,
    whiten,
)
from lejepa_jax.objectives.directions import orthogonal_directions, unit_directions
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.statistics.multivariate import henze_zirkler

D, R = 6, 3
TEST_MATRIX = orthogonal_directions(jax.random.key(9), D, R).T
SCALES = jnp.array([3.0, 2.0, 1.0, 0.3, 0.1, 0.05])
# Off center, and of unequal variances.
SAMPLES = jax.random.normal(jax.random.key(0), (48, D)) * SCALES[None, :] + 2
MASK = jnp.arange(48) % 5 != 0

SUMMARIES = {
    "exact": jax.jit(sample_covariance, static_argnames="axis_name"),
    "projected": jax.jit(functools.partial(project_covariance, test_matrix=TEST_MATRIX)),
    "frequent": jax.jit(functools.partial(frequent_directions, num_rows=R)),
}
merge = jax.jit(functools.partial(merge_covariances, test_matrix=TEST_MATRIX))
spectrum = jax.jit(functools.partial(summary_spectrum, test_matrix=TEST_MATRIX))


def scatter(x):
    x = np.asarray(x, np.float64)
    return (x - x.mean(0)).T @ (x - x.mean(0))


def check_against_numpy(name, summary, x):
    expected = scatter(x)
    np.testing.assert_allclose(summary.count, len(x))
    np.testing.assert_allclose(summary.mean, np.asarray(x).mean(0), rtol=1e-5)
    if name == "exact":
        np.testing.assert_allclose(summary.scatter, expected, atol=2e-4)
    elif name == "projected":
        np.testing.assert_allclose(summary.product, expected @ TEST_MATRIX, atol=2e-4)
        np.testing.assert_allclose(summary.trace, np.trace(expected), rtol=1e-5)
    else:
        rows = np.asarray(summary.rows, np.float64)
        gap = np.linalg.eigvalsh(expected - rows.T @ rows)
        assert gap.min() > -1e-3
        assert gap.max() < summary.slack + 1e-3
        tails = [np.linalg.eigvalsh(expected)[: D - j].sum() / (R + 1 - j) for j in range(R + 1)]
        assert summary.slack < min(tails) + 1e-3


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_summary_agrees_with_numpy_and_a_mask_equals_slicing(name):
    check_against_numpy(name, SUMMARIES[name](SAMPLES), SAMPLES)
    check_against_numpy(name, SUMMARIES[name](SAMPLES, mask=MASK), SAMPLES[MASK])


@pytest.mark.parametrize("name", SUMMARIES)
@hypothesis.given(cuts=st.lists(st.integers(1, 47), min_size=1, max_size=4, unique=True))
def test_a_stream_in_pieces_equals_the_whole(name, cuts):
    masks = [
        (jnp.arange(48) >= low) & (jnp.arange(48) < high)
        for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), 48], strict=True)
    ]
    pieces = [SUMMARIES[name](SAMPLES, mask=mask) for mask in masks]
    start = jax.tree.map(jnp.zeros_like, pieces[0])
    check_against_numpy(name, functools.reduce(merge, pieces, start), SAMPLES)
    # In another grouping.
    backwards = functools.reduce(lambda a, b: merge(b, a), reversed(pieces))
    check_against_numpy(name, backwards, SAMPLES)


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_batch_without_valid_samples_changes_nothing(name):
    before = SUMMARIES[name](SAMPLES, mask=MASK)
    empty = SUMMARIES[name](SAMPLES, mask=jnp.zeros(48, bool))
    check_against_numpy(name, merge(before, empty), SAMPLES[MASK])


@pytest.mark.parametrize("name", SUMMARIES)
@pytest.mark.parametrize("check_vma", [True, False])
def test_eight_devices_with_unequal_counts_summarize_the_global_batch(name, check_vma):
    functions = {
        "exact": sample_covariance,
        "projected": functools.partial(project_covariance, test_matrix=TEST_MATRIX),
        "frequent": functools.partial(frequent_directions, num_rows=R),
    }
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.shard_map(
        lambda x, mask: functions[name](x, mask=mask, axis_name="data"),
        mesh=mesh,
        in_specs=PartitionSpec("data"),
        out_specs=PartitionSpec(),
        check_vma=check_vma,
    )
    # The second device has no valid sample.
    mask = MASK & ~((jnp.arange(48) >= 6) & (jnp.arange(48) < 12))
    check_against_numpy(name, jax.jit(spread)(SAMPLES, mask), SAMPLES[mask])


def test_spectra_are_exact_or_below():
    truth = np.sort(np.linalg.eigvalsh(scatter(SAMPLES) / 48))[::-1]
    np.testing.assert_allclose(spectrum(SUMMARIES["exact"](SAMPLES)), truth, rtol=1e-3, atol=1e-4)
    for name in ("projected", "frequent"):
        values = np.asarray(spectrum(SUMMARIES[name](SAMPLES)))
        assert (values <= truth[:R] * 1.001).all()
        assert values[0] > 0.7 * truth[0]


@pytest.mark.parametrize("name", ["projected", "frequent"])
def test_a_sketch_of_a_cloud_of_low_rank_is_exact(name):
    low = SAMPLES.at[:, 2:].set(SAMPLES[:, :1])
    truth = np.sort(np.linalg.eigvalsh(scatter(low) / 48))[::-1]
    np.testing.assert_allclose(spectrum(SUMMARIES[name](low)), truth[:R], rtol=2e-3, atol=1e-3)


def test_whitened_clouds_have_mean_zero_and_unit_covariance():
    white = jax.jit(whiten)(SAMPLES)
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(white.T @ white / 48, np.eye(D), atol=2e-4)


def test_henze_zirkler_of_the_whitened_cloud_knows_no_affine_map():
    x = jax.random.normal(jax.random.key(3), (48, 3))
    moved = jnp.matmul(x, jnp.array([[2.0, 1, 0], [0, 1, 1], [1, 0, -1]]), precision="highest") + 1
    before, after = (jax.jit(lambda x: henze_zirkler(whiten(x)))(x) for x in (x, moved))
    np.testing.assert_allclose(before, after, rtol=1e-4)


def test_the_penalty_is_what_many_slices_tend_to_and_has_its_gradient():
    x = SAMPLES[:20]
    directions = unit_directions(jax.random.key(1), D, 200_000)

    def sliced(x):
        y = jnp.matmul(x, directions.T, precision="highest")
        return (jnp.square(y.mean(0)) + jnp.square(y.var(0) - 1)).mean()

    value, gradient = jax.value_and_grad(isotropy_penalty)(x)
    expected, expected_gradient = jax.jit(jax.value_and_grad(sliced))(x)
    np.testing.assert_allclose(value, expected, rtol=1e-2)
    np.testing.assert_allclose(gradient, expected_gradient, atol=0.02 * np.abs(gradient).max())


def test_second_moments_miss_the_corners_of_a_cube_that_sigreg_sees():
    corners = jnp.sign(jax.random.normal(jax.random.key(0), (512, 2)))
    white = whiten(corners)
    assert isotropy_penalty(white) < 1e-6
    assert sigreg(jax.random.key(1), white, num_slices=32) > 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: sample_covariance(x[None]),
            r"samples must have shape \(n, d\), got \(1, 48, 6\)",
        ),
        (lambda x: frequent_directions(x, 0), "num_rows must be positive, got 0"),
        (lambda x: project_covariance(x, jnp.eye(3)), r"test_matrix must have shape \(6, r\)"),
        (
            lambda x: merge_covariances(sample_covariance(x), frequent_directions(x, 2)),
            "second must be a Covariance of 6 features, got FrequentDirections of 6",
        ),
        (
            lambda x: merge_covariances(*2 * [project_covariance(x, TEST_MATRIX)]),
            "test_matrix must be given to merge projected covariances",
        ),
        (
            lambda x: summary_spectrum(project_covariance(x, TEST_MATRIX)),
            "test_matrix must be given for a projected covariance",
        ),
    ],
)
def test_bad_input_is_named(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call(SAMPLES)
