"""The characteristic function against plain NumPy in float64, and its own symmetries."""

import functools
import re

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax import ecf, sample_count
from lejepa_jax.statistics.characteristic import accelerator, cpu, sincos
from lejepa_jax.statistics.characteristic.grid import sums_on_grid
from lejepa_jax.statistics.characteristic.horner import Grid

GRID = np.linspace(0, 3, 17)


def plain_ecf(x, t, mask=None):
    """Float64, with the (n, k, m) tensor that the library never forms."""
    x = np.asarray(x, np.float64)
    weights = np.ones(x.shape[:-1]) if mask is None else np.asarray(mask, np.float64)
    terms = np.exp(1j * x[..., None] * np.asarray(t, np.float64))
    return (weights[..., None, None] * terms).sum(-3) / weights.sum(-1)[..., None, None]


def draw(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


class TestValues(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_grid_agrees_with_plain_float64(self):
        x = 2 * draw(300, 3)
        phi = self.variant(lambda x: ecf(x, GRID))(x)
        expected = plain_ecf(x, GRID)
        np.testing.assert_allclose(phi.real, expected.real, atol=1e-6)
        np.testing.assert_allclose(phi.imag, expected.imag, atol=1e-6)


@pytest.mark.parametrize(
    "t",
    [
        np.linspace(0, 5, 9),
        np.linspace(0.3, 7, 12),  # off zero: the first term is no longer 1
        np.linspace(2, -2, 5),
        np.array([0.0, 0.1, 1.0, 1.5]),  # no grid: one frequency at a time
        np.array([0.7]),
        np.array([0.0, 0.7]),
    ],
    ids=["grid", "offset", "descending", "uneven", "one", "two"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_value_and_gradient_agree_with_float64_at_any_frequencies(t, masked):
    x = draw(2, 37, 2)
    mask = jnp.arange(37)[None, :] < jnp.array([37, 20])[:, None] if masked else None
    phi, pullback = jax.vjp(lambda x: ecf(x, t, mask=mask), x)
    expected = plain_ecf(x, t, mask)
    np.testing.assert_allclose(phi.real, expected.real, atol=2e-6)
    np.testing.assert_allclose(phi.imag, expected.imag, atol=2e-6)

    bar = (draw(*phi.real.shape, seed=1), draw(*phi.real.shape, seed=2))
    (x_bar,) = pullback(type(phi)(*bar))
    weights = np.ones((2, 37)) if mask is None else np.asarray(mask, np.float64)
    terms = np.exp(1j * np.asarray(x, np.float64)[..., None] * t) * t
    gradient = -np.asarray(bar[0])[:, None] * terms.imag + np.asarray(bar[1])[:, None] * terms.real
    gradient *= (weights / weights.sum(-1, keepdims=True))[..., None, None]
    np.testing.assert_allclose(x_bar, gradient.sum(-1), atol=2e-6)


@hypothesis.given(n=st.sampled_from([1, 2, 127, 128, 129, 300]), k=st.integers(1, 3))
def test_blocks_of_any_size_change_nothing(n, k):
    x = draw(n, k)
    phi = ecf(x, GRID)
    np.testing.assert_allclose(phi.real, plain_ecf(x, GRID).real, atol=2e-6)


def test_a_mask_equals_slicing():
    x = draw(40, 3)
    mask = jnp.arange(40) < 23
    chex.assert_trees_all_close(ecf(x, GRID, mask=mask), ecf(x[:23], GRID), atol=1e-6)


@pytest.mark.parametrize("poison", [jnp.nan, jnp.inf])
@pytest.mark.parametrize("t", [GRID, np.array([0.0, 0.1, 1.0])], ids=["grid", "uneven"])
def test_what_is_masked_reaches_neither_value_nor_gradient(t, poison):
    x, mask = draw(40, 3), jnp.arange(40) % 3 > 0

    @jax.jit
    def value_and_gradient(x):
        phi, pullback = jax.vjp(lambda x: ecf(x, t, mask=mask), x)
        return phi, *pullback(phi)

    with jax.debug_nans(False):
        spoiled = value_and_gradient(jnp.where(mask[:, None], x, poison))
    chex.assert_trees_all_close(spoiled, value_and_gradient(x), atol=1e-6)


def test_frequencies_known_only_while_running_give_the_same_and_have_a_gradient():
    x = draw(20, 2)
    at = jax.jit(lambda t: ecf(x, t))
    chex.assert_trees_all_close(at(jnp.asarray(GRID, jnp.float32)), ecf(x, GRID), atol=2e-6)
    gradient = jax.grad(lambda t: ecf(x, t).real.sum())(jnp.array([0.5]))
    np.testing.assert_allclose(gradient[0], -(x * jnp.sin(0.5 * x)).mean(0).sum(), rtol=1e-5)


def test_memory_never_holds_samples_times_slices_times_frequencies():
    x = jax.ShapeDtypeStruct((2048, 256), jnp.float32)

    def loss(x):
        return sum(part.sum() for part in ecf(x, np.linspace(0, 3, 65)))

    memory = jax.jit(jax.grad(loss)).lower(x).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 3 * 2048 * 256 * 4


def test_sample_count_of_an_empty_mask_is_one():
    assert sample_count((4,), mask=jnp.zeros(4, bool)) == 1


@pytest.mark.parametrize(
    ("x", "mask", "message"),
    [
        (np.zeros(3, np.float32), None, "at least 2 axes"),
        (np.zeros((3, 2), np.int32), None, "floating dtype, got int32"),
        (np.zeros((0, 2), np.float32), None, r"got shape \(0, 2\)"),
        (np.zeros((3, 2), np.float32), np.zeros(2, bool), r"mask must have shape \(3,\)"),
    ],
)
def test_bad_projections_are_named(x, mask, message, unchecked):
    with pytest.raises(ValueError, match=message):
        ecf(jnp.asarray(x), GRID, mask=mask)


@pytest.mark.parametrize("largest", [1.0, 8000.0, 1e6])
def test_cosine_and_sine_of_near_and_far_angles_are_those_of_float64(largest):
    # One sample a slice and frequencies 0 and 1: the function is the sample's own cosine and sine.
    angles = np.random.default_rng(0).uniform(-largest, largest, (1, 2000)).astype(np.float32)
    angles[0, :3] = 0, np.float32(np.pi / 4), np.float32(-np.pi / 2)
    phi = ecf(jnp.asarray(angles), np.array([0.0, 1.0]))
    np.testing.assert_allclose(phi.real[:, 1], np.cos(angles[0].astype(np.float64)), atol=2e-7)
    np.testing.assert_allclose(phi.imag[:, 1], np.sin(angles[0].astype(np.float64)), atol=2e-7)


@pytest.mark.parametrize(
    "form",
    [
        cpu.block_sums,
        accelerator.power_sums,
        functools.partial(accelerator.direct_sums, unit_complex=sincos.native),
        functools.partial(accelerator.direct_sums, unit_complex=sincos.polynomials),
    ],
    ids=["cpu", "tpu", "gpu", "several tpus, sharded by the compiler"],
)
@pytest.mark.parametrize(("start", "step", "num"), [(0.0, 3 / 16, 17), (-2.0, 0.1, 70)])
def test_every_platform_has_the_same_sums(form, start, step, num):
    x, mask = 2 * draw(2, 40, 3), jnp.arange(40)[None] < jnp.array([[40], [23]])
    grid = Grid(start, step, num)
    terms = np.exp(1j * np.asarray(x, np.float64)[..., None] * (start + step * np.arange(num)))
    for weights in (None, mask.astype(jnp.float32)):
        cos, sin = jax.jit(lambda x, w: form(x, w, grid))(x, weights)
        expected = (terms if weights is None else terms * np.asarray(mask)[..., None, None]).sum(1)
        np.testing.assert_allclose(cos / 40, expected.real / 40, atol=2e-6)
        np.testing.assert_allclose(sin / 40, expected.imag / 40, atol=2e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("num_samples", "num_slices", "num"), [(6, 1024, 3), (40, 3, 70)], ids=["parts", "side by side"]
)
def test_rows_of_any_length_have_the_sums_and_gradients_of_float64(
    num_samples, num_slices, num, masked
):
    x, t = draw(num_samples, num_slices), 0.1 * np.arange(num)
    mask = jnp.arange(num_samples) < num_samples - 3 if masked else None
    phi, pullback = jax.vjp(lambda x: ecf(x, t, mask=mask), x)
    expected = plain_ecf(x, t, mask)
    np.testing.assert_allclose(phi.real, expected.real, atol=2e-6)
    np.testing.assert_allclose(phi.imag, expected.imag, atol=2e-6)
    bar = [np.asarray(draw(*phi.real.shape, seed=seed)) for seed in (1, 2)]
    (x_bar,) = pullback(type(phi)(*map(jnp.asarray, bar)))
    terms = np.exp(1j * np.asarray(x, np.float64)[..., None] * t) * t
    gradient = (bar[1] * terms.real - bar[0] * terms.imag).sum(-1)
    weights = np.ones(num_samples) if mask is None else np.asarray(mask, np.float64)
    gradient *= (weights / weights.sum())[:, None]
    np.testing.assert_allclose(x_bar, gradient, atol=2e-6 * np.abs(gradient).max() + 2e-6)


@pytest.mark.parametrize("by_compiler", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_second_derivatives_pass_through_the_forms_of_every_platform(by_compiler, masked):
    """Without a compiler that shards, as on one device, TPU has a form of its own."""
    x, tangent = draw(20, 3), draw(20, 3, seed=1)
    weights = (jnp.arange(20) % 3 > 0).astype(jnp.float32) if masked else None
    grid = Grid(0.0, 0.3, 12)

    def fast(x):
        cos, sin = sums_on_grid(x, weights, grid, by_compiler)
        return (jnp.square(cos) + cos * sin).sum()

    def plain(x):
        angle = x[..., None] * jnp.asarray(grid.frequencies(), jnp.float32)[None, None, :]
        terms = jnp.cos(angle), jnp.sin(angle)
        if weights is not None:
            terms = [term * weights[:, None, None] for term in terms]
        cos, sin = (term.sum(0) for term in terms)
        return (jnp.square(cos) + cos * sin).sum()

    _, found = jax.jit(lambda x: jax.jvp(jax.grad(fast), (x,), (tangent,)))(x)
    _, expected = jax.jit(lambda x: jax.jvp(jax.grad(plain), (x,), (tangent,)))(x)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("platform", "reductions"), [("tpu", 1), ("cuda", 2), ("rocm", 2)])
def test_accelerators_pass_over_the_samples_once_a_reduction_and_without_a_loop(
    platform, reductions
):
    x = jax.ShapeDtypeStruct((64, 8), jnp.float32)
    sums = functools.partial(sums_on_grid, weights=None, grid=Grid(0, 0.2, 17), by_compiler=False)
    text = jax.jit(sums).trace(x).lower(lowering_platforms=(platform,)).as_text()
    assert len(re.findall(r"stablehlo.reduce\(.*tensor<64x8", text)) == reductions
    assert "stablehlo.while" not in text


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_no_accelerator_gathers_what_the_compiler_shards(platform):
    # Eight devices here, so that a sum without an axis name may be one across them.
    x = jax.ShapeDtypeStruct((64, 8), jnp.float32)
    text = jax.jit(lambda x: ecf(x, GRID)).trace(x).lower(lowering_platforms=(platform,)).as_text()
    assert len(re.findall(r"stablehlo.reduce\(.*tensor<64x8x17", text)) == 2


def test_cosine_and_sine_by_polynomials_stay_close_while_a_rounding_of_the_angle_is_little():
    angles = np.random.default_rng(0).uniform(-(2.0**21), 2.0**21, 4000).astype(np.float32)
    expected = np.exp(1j * angles.astype(np.float64))
    for function in (sincos.polynomials, jax.jit(sincos.polynomials)):
        cos, sin = function(jnp.asarray(angles))
        error = np.maximum(abs(cos - expected.real), abs(sin - expected.imag))
        assert (error <= np.spacing(abs(angles)) + 1.2e-7).all()
    far = jnp.asarray([2.0**24, -1e10, 1e30], jnp.float32)
    assert all((abs(part) <= 1.0 + 1e-6).all() for part in sincos.polynomials(far))
