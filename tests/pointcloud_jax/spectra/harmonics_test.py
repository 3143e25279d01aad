"""Spherical Bessel functions and solid harmonics against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from pointcloud_jax.spectra import harmonics


def test_spherical_bessel_functions_and_derivatives_agree_with_scipy():
    x = np.concatenate([[0.0], np.geomspace(1e-4, 60, 200)]).astype(np.float32)
    value, derivative = jax.jit(
        lambda x: jax.jvp(lambda x: harmonics.spherical_bessel(x, 20), (x,), (jnp.ones_like(x),))
    )(x)
    for degree in range(21):
        exact = special.spherical_jn(degree, x.astype(float))
        np.testing.assert_allclose(value[degree], exact, atol=1e-6 if degree <= 8 else 6e-6)
        exact = special.spherical_jn(degree, x.astype(float), derivative=True)
        np.testing.assert_allclose(derivative[degree], exact, atol=1e-6 if degree < 8 else 6e-6)


def test_solid_harmonics_are_the_real_spherical_harmonics_of_scipy():
    points = np.random.default_rng(0).normal(size=(30, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    x, y, z = points.T
    theta, phi = np.arccos(z), np.arctan2(y, x)
    value = jax.jit(lambda p: harmonics.solid_harmonics(p, 5))(points.astype(np.float32))
    for degree in range(6):
        for m in range(-degree, degree + 1):
            harmonic = special.sph_harm_y(degree, abs(m), theta, phi) * (-1) ** m
            real = harmonic.real if m >= 0 else harmonic.imag
            expected = real * (np.sqrt(2) if m else 1)
            np.testing.assert_allclose(value[:, degree**2 + degree + m], expected, atol=3e-6)
