"""Statistics, targets and directions by name: every name works, every slip is named."""

import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.objectives import DIRECTIONS, directions_by_name, lejepa_loss, sigreg
from lejepa_jax.statistics import (
    STATISTICS,
    TARGETS,
    Statistic,
    epps_pulley,
    laplace_target,
    null_mean,
    sphere_target,
    statistic_by_name,
    target_by_name,
)


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_is_found_by_its_name(name):
    statistic = statistic_by_name(name)
    assert isinstance(statistic, Statistic)
    assert statistic is STATISTICS[name]
    shape = jax.eval_shape(statistic, jax.ShapeDtypeStruct((2, 9, 3), jnp.float32)).shape
    assert shape == (2, 3)


def test_options_are_those_of_the_function():
    x = jax.random.normal(jax.random.key(0), (20, 2))
    text = "epps_pulley(t_max=5, num_knots=41, debias=True, quadrature='simpson')"
    expected = epps_pulley(x, t_max=5, num_knots=41, debias=True, quadrature="simpson")
    np.testing.assert_array_equal(statistic_by_name(text)(x), expected)
    expected = epps_pulley(x, t_max=5.0, num_knots=11)
    np.testing.assert_array_equal(statistic_by_name("paper_epps_pulley(num_knots=11)")(x), expected)
    weighted = statistic_by_name("moments(order=2, weights=(1, 0.5))")
    assert weighted(x).shape == (2,)


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_is_found_by_its_name_and_by_the_statistic(name):
    options = {"generalized_normal": "(power=1.5)", "sphere": "(dim=8)"}.get(name, "")
    target = target_by_name(name + options)
    np.testing.assert_allclose(target(np.zeros(1)), 1)
    statistic = statistic_by_name(f'epps_pulley(target="{name}{options}")')
    x = jax.random.normal(jax.random.key(0), (20, 2))
    np.testing.assert_array_equal(statistic(x), epps_pulley(x, target=target))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_every_sampler_of_directions_is_found_and_taken_by_the_objective(name, key):
    sampler = directions_by_name(name)
    directions = sampler(key, 4, 8)
    np.testing.assert_allclose(jnp.linalg.norm(directions, axis=1), 1, rtol=1e-5)
    z = jax.random.normal(key, (2, 16, 4))
    by_sampler = sigreg(key, z, num_slices=8, directions=sampler)
    np.testing.assert_array_equal(by_sampler, sigreg(key, z, directions=directions))
    loss = lejepa_loss(key, z, num_global=1, num_slices=8, directions=sampler)
    np.testing.assert_array_equal(loss.sigreg, by_sampler)


def test_null_means_follow_the_options():
    assert null_mean(epps_pulley) == pytest.approx(1.05246, abs=1e-5)
    assert null_mean(statistic_by_name("paper_epps_pulley")) == pytest.approx(1.05942, abs=1e-5)
    assert null_mean(statistic_by_name("epps_pulley(debias=True)")) == 0
    assert null_mean(statistic_by_name("shapiro_wilk")) is None
    assert null_mean(lambda x, *, mask=None, axis_name=None: x.sum(-2)) is None
    assert null_mean(functools.partial(functools.partial(epps_pulley, t_max=3.0), t_max=5.0)) == (
        pytest.approx(1.0594, abs=1e-4)
    )
    target = functools.partial(sphere_target, dim=16)
    x = np.asarray(jax.random.normal(jax.random.key(0), (64, 16, 4000)))
    x = 4 * (x / np.linalg.norm(x, axis=1, keepdims=True))[:, 0]
    statistic = functools.partial(epps_pulley, target=target)
    values = statistic(jnp.asarray(x))
    assert abs(values.mean() - null_mean(statistic)) < 4 * values.std() / 4000**0.5


@pytest.mark.parametrize(
    "name", [name for name, function in STATISTICS.items() if null_mean(function) is not None]
)
def test_null_means_are_those_of_simulated_samples(name):
    values = jax.jit(STATISTICS[name])(jax.random.normal(jax.random.key(1), (512, 1000)))
    assert abs(values.mean() - null_mean(STATISTICS[name])) < 4 * values.std() / 1000**0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: statistic_by_name("eps_pulley"),
            "statistic must be one of epps_pulley, paper_epps_pulley, anderson_darling, cramer_von",
        ),
        (lambda: statistic_by_name("eps_pulley"), "got 'eps_pulley'"),
        (lambda: statistic_by_name("epps_pulley(5)"), "got 'epps_pulley(5)'"),
        (lambda: statistic_by_name("__import__('os').system('true')"), "statistic must be one of"),
        (
            lambda: statistic_by_name("epps_pulley(tmax=5)"),
            "options of epps_pulley must be among: t_max, num_knots, quadrature, target, debias",
        ),
        (
            lambda: statistic_by_name("epps_pulley(mask=None)"),
            "options of epps_pulley must be among",
        ),
        (
            lambda: statistic_by_name("watson(order=3)"),
            "options of watson must be among: none; got 'order'",
        ),
        (
            lambda: statistic_by_name("epps_pulley(num_knots=17.0)"),
            "num_knots of epps_pulley must be int, got 17.0",
        ),
        (
            lambda: statistic_by_name("epps_pulley(t_max='5')"),
            "t_max of epps_pulley must be float, got '5'",
        ),
        (
            lambda: statistic_by_name("epps_pulley(debias=1)"),
            "debias of epps_pulley must be bool, got 1",
        ),
        (
            lambda: statistic_by_name("epps_pulley(quadrature='romberg')"),
            "quadrature of epps_pulley must be one of 'trapezoid', 'simpson', 'legendre', 'hermite'"
            ", got 'romberg'",
        ),
        (
            lambda: statistic_by_name("moments(weights=(1, 'a'))"),
            "weights of moments must be a tuple of float or None, got (1, 'a')",
        ),
        (
            lambda: statistic_by_name("epps_pulley(target='cauchy')"),
            "target must be one of normal, laplace, generalized_normal, sphere, got 'cauchy'",
        ),
        (lambda: target_by_name("sphere"), "target must have the option 'dim', got 'sphere'"),
        (
            lambda: directions_by_name("random"),
            "directions must be one of unit, orthogonal, sobol, got 'random'",
        ),
        (
            lambda: directions_by_name("unit(num=3)"),
            "options of unit must be among: none; got 'num'",
        ),
    ],
)
def test_a_slip_is_named_with_the_choices(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_options_without_a_default_are_those_of_the_formula():
    required = [
        name
        for name, parameter in inspect.signature(sphere_target).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]
    assert required == ["dim"]
    np.testing.assert_array_equal(
        target_by_name("laplace(scale=2)")(np.ones(1)), laplace_target(np.ones(1), scale=2)
    )
