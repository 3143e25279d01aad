"""Characteristic functions against scipy's densities and against each other."""

import functools

import numpy as np
import pytest
import scipy.special
import scipy.stats

from lejepa_jax.statistics.targets import (
    CharacteristicFunction,
    generalized_normal_target,
    laplace_target,
    normal_target,
    sphere_target,
)

T = np.linspace(0, 8, 17)


def of_density(density, low, high):
    """Trapezoid rule on a grid that is crowded towards the lower end, where the cusp is."""
    y = low + (high - low) * np.linspace(0, 1, 200_001) ** 3
    return np.trapezoid(density(y) * np.exp(1j * T[:, None] * y), y, axis=-1)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0, 8.0])
def test_generalized_normal_agrees_with_scipy(power):
    scale = 0.8
    law = scipy.stats.gennorm(power, scale=scale * power ** (1 / power))
    expected = 2 * of_density(law.pdf, 0, law.isf(1e-14)).real
    phi = generalized_normal_target(T, power=power, scale=scale)
    np.testing.assert_allclose(phi, expected, atol=1e-8)


@pytest.mark.parametrize("location", [-0.7, 0.0, 0.9])
def test_rectified_laws_have_an_atom_at_zero(location):
    law = scipy.stats.gennorm(1.5, loc=location, scale=1.5 ** (1 / 1.5))
    expected = law.cdf(0) + of_density(law.pdf, max(location, 0), 12)
    if location > 0:
        expected += of_density(law.pdf, location, 0) * -1
    phi = generalized_normal_target(T, power=1.5, location=location, rectified=True)
    np.testing.assert_allclose(phi, expected, atol=1e-8)


def test_far_below_zero_a_rectified_law_is_the_atom():
    phi = generalized_normal_target(T, power=2.0, location=-50.0, rectified=True)
    np.testing.assert_allclose(phi, 1)


def test_special_cases_agree():
    np.testing.assert_allclose(
        generalized_normal_target(T, power=2.0), normal_target(T), atol=1e-12
    )
    np.testing.assert_allclose(
        generalized_normal_target(T, power=1.0, scale=2**-0.5), laplace_target(T), atol=1e-12
    )
    np.testing.assert_allclose(sphere_target(T, dim=5000), normal_target(T), atol=1e-3)


@pytest.mark.parametrize("dim", [2, 3, 4, 64])
def test_the_sphere_agrees_with_bessel_functions(dim):
    order, r = dim / 2 - 1, np.sqrt(dim) * T[1:]
    expected = scipy.special.gamma(dim / 2) * (2 / r) ** order * scipy.special.jv(order, r)
    np.testing.assert_allclose(sphere_target(T[1:], dim=dim), expected, atol=1e-10)


def test_every_target_is_one_at_zero_and_nowhere_larger():
    for target in (
        normal_target,
        laplace_target,
        functools.partial(sphere_target, dim=7),
        functools.partial(generalized_normal_target, power=0.7, location=0.3, rectified=True),
    ):
        assert isinstance(target, CharacteristicFunction)
        phi = target(T)
        np.testing.assert_allclose(phi[0], 1)
        assert (np.abs(phi) <= 1 + 1e-12).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normal_target(T, scale=0.0), "scale must be positive, got 0"),
        (lambda: generalized_normal_target(T, power=0.1), "power must be at least 0.5, got 0.1"),
        (lambda: sphere_target(T, dim=1), "dim must be at least 2, got 1"),
        (lambda: sphere_target(T, dim=3, radius=-1.0), "radius must be positive, got -1"),
    ],
)
def test_bad_parameters_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
