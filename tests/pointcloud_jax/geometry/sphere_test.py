"""Every rule against Legendre sums: the mean square of all harmonics of a degree that it misses."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy.special import eval_legendre

from pointcloud_jax.geometry import sphere

NAMED = ("fibonacci-36", "hemisphere-36", "lebedev-29", "design-36", "icosahedral-31")


def defect(rule, degree):
    """By the addition theorem, 4 pi / (2 l + 1) times the sum over m of the squared averages."""
    cosines = np.clip(rule.directions @ rule.directions.T, -1, 1)
    return abs(rule.weights @ eval_legendre(degree, cosines) @ rule.weights)


def check(rule, positive=True):
    np.testing.assert_allclose(np.linalg.norm(rule.directions, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(rule.weights.sum(), 1, atol=1e-12)
    assert (rule.weights > 0).all() == positive
    for degree in range(2, rule.degree, 2):
        assert defect(rule, degree) < 1e-13, degree
    # The next even degree is missed: the degree named is the highest.
    assert defect(rule, rule.degree + 1) > 1e-8


@pytest.mark.parametrize("degree", [3, 5, 13, 15, 23, 25, 29, 35, 47])
def test_lebedev_rules_are_exact_to_their_degree_and_no_further(degree):
    rule = sphere.lebedev(degree)
    check(rule, positive=degree not in (13, 25, 27))
    products = rule.directions @ rule.directions.T
    assert products.min() > -1 + 1e-9  # no direction beside its opposite


@pytest.mark.parametrize("num", [6, 10, 15, 16, 31])
def test_icosahedral_rules_are_exact_to_their_degree_and_no_further(num):
    rule = sphere.icosahedral(num)
    assert len(rule.weights) == num
    check(rule)


@hypothesis.given(st.integers(3, 72))
def test_designs_of_any_size_meet_their_moments_with_positive_weights(num):
    rule = sphere.spherical_design(num)
    assert rule.directions.shape == (num, 3)
    for degree in range(2, rule.degree, 2):
        assert defect(rule, degree) < 1e-13
    assert (rule.weights > 0).all()
    assert rule.degree >= np.sqrt(6 * num) - 3


@pytest.mark.parametrize(
    ("num", "degree"), [(16, 9), (24, 11), (36, 13), (48, 15), (64, 17), (81, 21), (100, 23)]
)
def test_designs_reach_the_degrees_that_are_promised(num, degree):
    rule = sphere.spherical_design(num)
    assert rule.degree == degree
    check(rule)


def test_a_design_of_a_lower_degree_can_be_asked_for():
    rule = sphere.spherical_design(30, degree=9)
    assert rule.degree == 9
    assert max(defect(rule, degree) for degree in (2, 4, 6, 8)) < 1e-13


@pytest.mark.parametrize("hemisphere", [False, True])
def test_fibonacci_directions_are_unit_and_equally_weighted_and_exact_to_nothing(hemisphere):
    rule = sphere.fibonacci(36, hemisphere=hemisphere)
    np.testing.assert_allclose(np.linalg.norm(rule.directions, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(rule.weights, 1 / 36)
    assert defect(rule, 2) > 1e-8  # so that the degree named, 1, is all there is
    assert (rule.directions[:, 2] > 0).all() == hemisphere


def test_the_fibonacci_lattice_is_the_published_one():
    index = np.arange(36) + 0.5
    phi, theta = np.arccos(1 - 2 * index / 36), np.pi * (1 + 5**0.5) * index
    published = np.stack(
        [np.sin(phi) * np.cos(theta), np.sin(phi) * np.sin(theta), np.cos(phi)], -1
    )
    np.testing.assert_allclose(sphere.fibonacci(36).directions, published, atol=1e-12)


def test_rules_are_found_by_name():
    assert [sphere.sphere_rule(name).degree for name in NAMED] == [1, 1, 29, 13, 11]
    assert (sphere.sphere_rule("hemisphere-36").directions[:, 2] > 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sphere.fibonacci(0), "num must be at least 1, got 0"),
        (lambda: sphere.lebedev(33), "degree must be odd, from 3 to 31, .* got 33"),
        (lambda: sphere.icosahedral(12), "num must be 6, 10, 15, 16 or 31 .* got 12"),
        (lambda: sphere.spherical_design(2), "num must be between 3 and 200 directions, got 2"),
        (lambda: sphere.spherical_design(36, degree=12), "degree must be odd .* got 12"),
        (lambda: sphere.spherical_design(36, degree=15), "36 directions reach .* got 15"),
        (lambda: sphere.sphere_rule("leopold-3"), "rule must be one of .* got 'leopold'"),
        (lambda: sphere.sphere_rule("lebedev"), "a word and a number .* got 'lebedev'"),
    ],
)
def test_unknown_rules_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
