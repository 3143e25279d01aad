"""Kernels: closed forms, positive definiteness, and their rotary spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gamma, kv

import rope_jax
from rope_jax import analysis, kernels


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_matern_is_the_bessel_function(nu):
    r = np.array([0.1, 0.7, 2.0])
    t = np.sqrt(2 * nu) * r / 0.8
    want = 2 ** (1 - nu) / gamma(nu) * t**nu * kv(nu, t)
    got = kernels.matern(nu, length_scale=0.8).log(jnp.asarray(r, jnp.float32))
    np.testing.assert_allclose(got, np.log(want), rtol=1e-4)


@pytest.mark.parametrize(
    "kernel",
    [kernels.matern(0.5), kernels.matern(1.5), kernels.matern(2.5), kernels.gaussian(0.7)],
)
def test_rotary_spectrum_of_a_kernel_has_the_kernel_for_its_score(kernel):
    w = kernel.frequencies(jax.random.key(0), 4096, 2)
    offsets = np.array([[0.0, 0.0], [0.5, 0.0], [0.3, -0.9], [1.5, 1.0]])
    score = np.cos(offsets @ np.asarray(w).T).mean(1)
    want = np.exp(kernel.log(jnp.asarray(np.linalg.norm(offsets, axis=1), jnp.float32)))
    np.testing.assert_allclose(score, want, atol=0.05)


def test_an_encoding_from_a_spectrum_has_the_kernel_map_of_its_draws():
    w = kernels.gaussian(0.5).frequencies(jax.random.key(0), 16, 2)
    encoding = rope_jax.from_frequencies(32, 1, w.T[:, None, :])
    offsets = jnp.array([[0.0, 0.0], [0.4, -0.2]])
    sizes = {"head_dim": 32, "num_heads": 1}
    kernel = jax.jit(lambda at: analysis.kernel_map(encoding, {}, at, **sizes))(offsets)
    want = np.cos(np.asarray(offsets) @ np.asarray(w).T).mean(1)
    np.testing.assert_allclose(kernel[0], want, atol=1e-5)


def test_periodic_spectrum_is_on_the_harmonics_and_has_the_kernel_for_its_score():
    kernel = kernels.periodic(3.0, length_scale=0.8)
    w = np.asarray(kernel.frequencies(jax.random.key(0), 8192, 1))[:, 0]
    harmonics = w * 3.0 / (2 * np.pi)
    np.testing.assert_allclose(harmonics, np.round(harmonics), atol=1e-4)
    r = np.array([0.0, 0.4, 1.5, 3.0])
    k = np.exp(kernel.log(jnp.asarray(r, jnp.float32)))
    mean = np.exp(-2 * (np.sin(np.pi * np.arange(999) / 999) / 0.8) ** 2).mean()
    np.testing.assert_allclose(np.cos(r[:, None] * w).mean(1), k, atol=0.05)
    assert abs((harmonics == 0).mean() - mean) < 0.05


@pytest.mark.parametrize(
    ("kernel", "space"),
    [
        (kernels.wendland(1.5), "flat"),
        (kernels.matern(1.5), "flat"),
        (kernels.von_mises_fisher(3.0), "sphere"),
        (kernels.exponential(0.5), "sphere"),
    ],
)
def test_kernels_are_positive_definite_where_they_say_so(kernel, space):
    p = jax.random.normal(jax.random.key(0), (24, 2))
    matrix = np.exp(np.asarray(kernels.pairwise_bias(kernel, p, p, space=space)[0], np.float64))
    np.testing.assert_allclose(np.diagonal(matrix), 1, atol=1e-6)
    assert np.linalg.eigvalsh((matrix + matrix.T) / 2).min() > -1e-4


def test_compact_support_is_zero_outside_and_attention_does_not_see_it():
    kernel = kernels.wendland(1.0)
    assert kernel.frequencies is None
    p = jnp.array([[0.0, 0.0], [0.3, 0.0], [5.0, 0.0]])
    bias = kernels.pairwise_bias(kernel, p, p)
    z, v = jnp.zeros((3, 1, 8)), jax.random.normal(jax.random.key(0), (3, 1, 8))
    out = jax.jit(rope_jax.attention)(z, z, v, bias=bias)
    np.testing.assert_allclose(out[2], v[2], atol=1e-6)
    weight = 0.7**4 * 2.2
    np.testing.assert_allclose(out[0], (v[0] + weight * v[1]) / (1 + weight), atol=1e-5)


def test_power_law_has_its_exponent_and_bad_scales_are_refused():
    log = kernels.scale_free(2.0, min_distance=0.1).log(jnp.array([10.0, 20.0]))
    np.testing.assert_allclose(log[0] - log[1], 2 * np.log(2), rtol=1e-2)
    for build in (kernels.gaussian, kernels.wendland, kernels.von_mises_fisher):
        with pytest.raises(ValueError, match="must be positive, got 0"):
            build(0.0)


@pytest.mark.parametrize(
    ("kernel", "smallest"),
    [
        (kernels.gaussian(0.8), -0.0004),
        (kernels.gaussian(2.0), -1.55),
        (kernels.matern(1.5, length_scale=2.0), -0.075),
        (kernels.matern(2.5, length_scale=2.0), -0.18),
        (kernels.exponential(2.0), 0.0434),
        (kernels.von_mises_fisher(0.25), 0.0),
    ],
)
def test_smooth_kernels_of_a_long_geodesic_distance_are_not_positive_definite(kernel, smallest):
    p = rope_jax.healpix_grid(4).positions
    distance = kernels.distances(p, p, space="sphere")
    matrix = np.exp(np.asarray(kernel.log(distance), np.float64))
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix).min(), smallest, rtol=0.02, atol=5e-5)
