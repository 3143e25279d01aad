"""Spectra against float64 sums and scipy; invariance as a theorem; where it fails, a control."""

import re

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import special
from scipy.spatial.transform import Rotation

from pointcloud_jax import spectra as sp
from pointcloud_jax.geometry import sphere
from pointcloud_jax.spectra import blocks
from pointcloud_jax.testing import assert_invariant

RADII = np.linspace(0, 3, 5)
FINE = sphere.lebedev(15)
COARSE = sphere.fibonacci(6)
EVERY = np.ones((2, 24), bool)
WEIGHTS = {"fine": 1.0, "coarse": 0.7, "debye": -0.5, "binned": 0.3, "degrees": 0.9}


def cloud(*shape, seed=0):
    """Random clouds of radius 1, stretched so that they have a shape."""
    points = np.random.default_rng(seed).normal(size=(*shape, 3)) * [1, 0.6, 0.3]
    points -= points.mean(-2, keepdims=True)
    points /= np.linalg.norm(points, axis=-1).max(-1)[..., None, None]
    return points.astype(np.float32)


def rotation(seed):
    return Rotation.random(random_state=seed).as_matrix()


def spectra(points, mask):
    return {
        "fine": sp.dasft(points, FINE, RADII, mask=mask),
        "coarse": sp.dasft(points, COARSE, 4 * RADII, mask=mask),
        "debye": sp.debye_spectrum(points, RADII, mask=mask),
        "binned": sp.debye_spectrum(points, RADII, num_bins=64, mask=mask),
        "degrees": sp.degree_spectrum(points, RADII, max_degree=8, mask=mask),
    }


def _evaluate(points, mask):
    """Spectra, and the gradient of one number made from them by cosines of the index."""

    def total(points):
        values = spectra(points, mask)
        number = 0.0
        for name, value in values.items():
            ripple = jnp.cos(jnp.arange(value.size, dtype=jnp.float32)).reshape(value.shape)
            number += WEIGHTS[name] * (ripple * value).sum()
        return number, values

    (_, values), gradient = jax.value_and_grad(total, has_aux=True)(points)
    return values, gradient


evaluate = jax.jit(_evaluate)


def test_dasft_agrees_with_the_plain_sum_in_float64():
    points = cloud(2, 24)
    phase = np.einsum("bnc,kc,m->bnkm", points.astype(float), COARSE.directions, 4 * RADII)
    energy = np.abs(np.exp(1j * phase).mean(1)) ** 2
    expected = np.einsum("bkm,k->bm", energy, COARSE.weights)
    np.testing.assert_allclose(evaluate(points, EVERY)[0]["coarse"], expected, atol=2e-6)


def test_three_formulas_of_the_averaged_spectrum_agree():
    points = cloud(2, 24)
    values, _ = evaluate(points, EVERY)
    distances = np.linalg.norm(points[:, :, None].astype(float) - points[:, None], axis=-1)
    expected = np.sinc(distances[..., None] * RADII / np.pi).mean((1, 2))
    # Sums over hundreds of terms in float32, in whatever order the compiler takes.
    np.testing.assert_allclose(values["debye"], expected, atol=5e-6)
    np.testing.assert_allclose(values["fine"], expected, atol=5e-6)
    np.testing.assert_allclose(values["degrees"].sum(1), expected, atol=5e-6)
    np.testing.assert_allclose(values["binned"], expected, atol=2e-3)
    assert abs(values["binned"] - expected).max() > 1e-6  # it is another computation


def test_the_degree_spectrum_agrees_with_scipy():
    points = cloud(2, 24)
    value = evaluate(points, EVERY)[0]["degrees"][0]
    x, y, z = points[0].T.astype(float)
    norm = np.linalg.norm(points[0].astype(float), axis=1)
    theta, phi = np.arccos(z / norm), np.arctan2(y, x)
    for degree in range(9):
        bessel = special.spherical_jn(degree, norm[:, None] * RADII)
        harmonics = [special.sph_harm_y(degree, m, theta, phi) for m in range(-degree, degree + 1)]
        amplitude = np.einsum("mn,nr->mr", harmonics, bessel) / 24
        expected = 4 * np.pi * (np.abs(amplitude) ** 2).sum(0)
        np.testing.assert_allclose(value[degree], expected, atol=1e-6)


@hypothesis.given(st.integers(0, 2**31 - 1))
def test_spectra_do_not_change_under_rotation_reflection_and_permutation(seed):
    def exact(points):
        values = evaluate(points, EVERY)[0]
        return {name: values[name] for name in ("fine", "debye", "binned", "degrees")}

    assert_invariant(
        exact,
        jax.random.key(seed),
        points=cloud(2, 24, seed=seed % 7),
        under=("rotation", "reflection", "permutation"),
        draws=1,
        tolerance=5e-6,
    )


def test_a_coarse_rule_is_not_invariant():
    """Negative control: the same comparison sees a rule of the published kind fail."""
    with pytest.raises(AssertionError, match="under rotation the result changes by"):
        assert_invariant(
            lambda points: evaluate(points, EVERY)[0]["coarse"],
            jax.random.key(0),
            points=cloud(2, 24),
            tolerance=0.01,
        )


def test_gradients_turn_with_the_cloud():
    points = cloud(2, 24)

    # The coarse rule takes part in the gradient and is no invariant: subtract its share.
    turn = rotation(3).astype(np.float32)
    shares = [coarse_share(p) for p in (points, points @ turn.T)]
    gradients = [evaluate(p, EVERY)[1] for p in (points, points @ turn.T)]
    invariant = [gradient - share for gradient, share in zip(gradients, shares, strict=True)]
    np.testing.assert_allclose(invariant[0] @ turn.T, invariant[1], atol=2e-4)


def coarse_share(points):
    r"""dG/dv_j = -(2 r / n) sum_d w_d omega_d Im(conj(phi_d) exp(i r omega_d.v_j)), in float64."""
    ripple = WEIGHTS["coarse"] * np.cos(np.arange(10)).reshape(2, 5)
    phase = np.einsum("bnc,kc,m->bnkm", points.astype(float), COARSE.directions, 4 * RADII)
    wave = np.exp(1j * phase)
    inner = (wave.mean(1).conj()[:, None] * wave).imag
    return (
        -2
        / 24
        * np.einsum(
            "bnkm,k,kc,bm->bnc", inner, COARSE.weights, COARSE.directions, 4 * RADII * ripple
        )
    )


def test_the_gradient_agrees_with_finite_differences_of_float64_sums():
    points = cloud(2, 24)
    gradient = evaluate(points, EVERY)[1]
    direction = np.asarray(gradient) / np.linalg.norm(gradient)

    def number(points):
        values = evaluate(points.astype(np.float32), EVERY)[0]
        return sum(
            WEIGHTS[name] * (np.cos(np.arange(value.size)).reshape(value.shape) * value).sum()
            for name, value in values.items()
        )

    step = 3e-3
    difference = (number(points + step * direction) - number(points - step * direction)) / 2 / step
    np.testing.assert_allclose(np.linalg.norm(gradient), difference, rtol=5e-3)


def test_translation_changes_the_degrees_alone():
    points = cloud(2, 24)
    before = evaluate(points, EVERY)[0]
    after = evaluate(points + np.float32([0.1, -0.2, 0.3]), EVERY)[0]
    for name in ("debye", "binned", "fine", "coarse"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)
    assert abs(after["degrees"] - before["degrees"]).max() > 0.01


def test_the_degree_spectrum_tells_apart_what_pair_distances_cannot():
    """Two homometric sets: different, with one and the same list of distances."""
    marks = np.array([[0, 1, 4, 10, 12, 17], [0, 1, 8, 11, 13, 17]]) / 9
    points = np.zeros((2, 24, 3), np.float32)
    points[..., 0] = np.repeat(marks - marks.mean(1, keepdims=True), 4, axis=1)
    values = evaluate(points, EVERY)[0]
    np.testing.assert_allclose(values["debye"][0], values["debye"][1], atol=2e-6)
    assert abs(values["degrees"][0] - values["degrees"][1]).max() > 0.001


def test_a_mask_equals_slicing_and_absent_points_may_hold_anything():
    points = cloud(2, 24)
    mask = np.broadcast_to(np.arange(24) < 15, (2, 24))
    spoiled = np.where(mask[..., None], points, np.float32(7e3))
    masked, gradient = evaluate(spoiled, mask)
    sliced, sliced_gradient = jax.jit(lambda p: _evaluate(p, None))(points[:, :15])
    for name in masked:
        np.testing.assert_allclose(masked[name], sliced[name], atol=5e-6, err_msg=name)
    assert not gradient[:, 15:].any()
    np.testing.assert_allclose(gradient[:, :15], sliced_gradient, atol=1e-4)


@pytest.mark.parametrize("kind", ["equal", "origin", "twice"])
def test_degenerate_clouds_have_finite_spectra_and_gradients(kind):
    points = cloud(2, 24)
    points = {
        "equal": np.full_like(points, 0.3),
        "origin": np.zeros_like(points),
        "twice": np.concatenate([points[:, :12]] * 2, axis=1),
    }[kind]
    for leaf in jax.tree.leaves(evaluate(points, EVERY)):
        assert np.isfinite(leaf).all()


def test_the_gradient_at_the_origin_is_the_limit_from_outside():
    """j_1 and Y_1 are both degenerate there; their product has a gradient."""
    points = cloud(2, 24)
    points[:, 0] = 0
    at_zero = evaluate(points, EVERY)[1][:, 0]
    points[:, 0] = 1e-4
    np.testing.assert_allclose(at_zero, evaluate(points, EVERY)[1][:, 0], atol=2e-3)
    assert abs(at_zero).max() > 0.02


def test_an_empty_cloud_gives_zeros_and_not_nan():
    values, gradient = evaluate(cloud(2, 24), ~EVERY)
    assert not any(leaf.any() for leaf in jax.tree.leaves((values, gradient)))


def test_blocks_change_nothing(monkeypatch):
    points = cloud(2, 24)
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", 350)
    pieces, whole = jax.jit(lambda p: spectra(p, None))(points), evaluate(points, EVERY)[0]
    for name in whole:
        np.testing.assert_allclose(pieces[name], whole[name], atol=5e-6, err_msg=name)


def test_sums_of_a_block_of_directions_are_taken_once_and_their_gradient_is_that_of_the_whole(
    monkeypatch,
):
    points, rule, radii = cloud(2, 24), sphere.fibonacci(10), np.linspace(0, 8, 5)
    step = jax.grad(lambda points: jnp.square(sp.dasft(points, rule, radii)).sum())
    whole = step(points)
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", 100)  # five blocks of two directions
    step = jax.grad(lambda points: jnp.square(sp.dasft(points, rule, radii)).sum())
    np.testing.assert_allclose(step(points), whole, atol=5e-6)
    text = jax.jit(step).trace(points).lower(lowering_platforms=("cuda",)).as_text()
    # Cosines and sines forward, and none again on the way back.
    assert len(re.findall(r"stablehlo.reduce\(.*tensor<2x24x2x5xf32>", text)) == 2


def test_no_tensor_of_points_directions_and_radii_is_formed():
    rule, radii = sphere.fibonacci(64), np.linspace(0, 12, 64)
    points = jax.ShapeDtypeStruct((4, 1024, 3), jnp.float32)

    def loss(points):
        return sp.dasft(points, rule, radii).sum()

    memory = jax.jit(jax.grad(loss)).lower(points).compile().memory_analysis()
    # A handful of arrays of points and directions; with radii each would be 64 times larger.
    assert memory.temp_size_in_bytes < 8 * 4 * 1024 * 64 * 4


@pytest.mark.parametrize("spec", [("data",), (None, "data")])
def test_spectra_of_clouds_sharded_over_explicit_axes(spec):
    """Over clouds, and over the points of each."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    points = cloud(2, 24)

    @jax.jit
    def both(points):
        def total(points):
            return jnp.square(sp.dasft(points, COARSE, RADII)).sum()

        return sp.dasft(points, COARSE, RADII, mask=points[..., 0] < 2), jax.grad(total)(points)

    expected = both(points)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(points, NamedSharding(mesh, PartitionSpec(*spec)))
        found = both(sharded)
        assert jax.typeof(found[0]).sharding.spec == PartitionSpec(spec[0], None)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_half_precision_points_give_float32_spectra():
    shape = jax.ShapeDtypeStruct((2, 24, 3), jnp.bfloat16)
    for leaf in jax.eval_shape(spectra, shape, EVERY).values():
        assert leaf.dtype == jnp.float32


def test_bad_clouds_are_named(unchecked):
    good, nan = np.zeros((2, 5, 3), np.float32), np.zeros((2, 5, 3), np.float32)
    nan[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"3 coordinates on the last axis, got \(2, 5, 2\)"):
        sp.dasft(good[..., :2], FINE, RADII)
    with pytest.raises(ValueError, match=r"in 1 of 10, first in cloud \(1,\)"):
        sp.dasft(nan, FINE, RADII)
    with pytest.raises(ValueError, match="max_degree must be at least 0, got -1"):
        sp.degree_spectrum(good, RADII, max_degree=-1)
    with pytest.raises(ValueError, match="num_bins must be at least 2, got 1"):
        sp.pair_histogram(good, num_bins=1)
