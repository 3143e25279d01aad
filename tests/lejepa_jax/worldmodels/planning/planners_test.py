"""Planners find known optima, within bounds, and do not see how episodes are batched."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.worldmodels.planning import (
    cem,
    colored_basis,
    gradient_plan,
    icem,
    last_step_cost,
    mppi,
    path_cost,
    shift_plan,
)
from lejepa_jax.worldmodels.planning.plans import Planner

KEY = jax.random.key(0)
PLANNERS = {
    "cem": functools.partial(cem, num_samples=200, iterations=15, elites=20),
    "icem": functools.partial(icem, num_samples=200, iterations=15, elites=20, exponent=0.5),
    "mppi": functools.partial(mppi, num_samples=200, iterations=30),
    "gradient": functools.partial(gradient_plan, num_samples=4, iterations=100),
}
GOAL = jnp.array([[0.5, -3.0], [-0.25, 1.0], [0.75, 5.0]])
LOW, HIGH = np.array([-1.0, -4.0], np.float32), np.array([1.0, 4.0], np.float32)


def quadratic(actions, goal=GOAL):
    """Its smallest value within the bounds is 1 / 16, at the goal with its 5 cut to 4."""
    return jnp.square((actions - goal[None]) / jnp.array([1.0, 4.0])[None, None]).sum((1, 2))


@pytest.fixture(scope="module", params=list(PLANNERS))
def planner(request):
    own = PLANNERS[request.param]
    assert isinstance(own, Planner)
    return functools.partial(own, horizon=3, action_size=2, low=LOW, high=HIGH)


def test_planners_reach_the_optimum_within_the_bounds(planner):
    plan = jax.jit(lambda key: planner(key, quadratic))(KEY)
    optimum = np.clip(GOAL, LOW[None], HIGH[None])
    np.testing.assert_allclose((plan.actions - optimum) / HIGH[None], np.zeros((3, 2)), atol=0.03)
    assert (np.asarray(plan.actions) <= HIGH[None]).all()
    assert plan.costs[-1] < 0.07 < plan.costs[0]
    # The cost of the plan itself is as low as is said.
    assert quadratic(plan.actions[None])[0] < plan.costs[-1] + 0.01


def test_plans_do_not_depend_on_how_episodes_are_batched(planner):
    keys = jax.random.split(KEY, 6)
    goals = GOAL[None] + jax.random.normal(jax.random.key(1), (6, 3, 2))

    # Two iterations: nearer to the optimum costs differ by less than they are rounded by, and who
    # is among the elites is a matter of the order of a sum.
    def plan(key, goal):
        return planner(key, functools.partial(quadratic, goal=goal), iterations=2).actions

    batched = jax.jit(jax.vmap(plan))
    together = np.asarray(batched(keys, goals))
    in_pairs = np.concatenate([batched(keys[i : i + 2], goals[i : i + 2]) for i in (0, 2, 4)])
    alone = np.stack([jax.jit(plan)(*pair) for pair in zip(keys, goals, strict=True)])
    np.testing.assert_allclose(in_pairs, together, atol=1e-5)
    np.testing.assert_allclose(alone, together, atol=1e-5)
    # Another key is another search.
    others = np.asarray(batched(keys[::-1], goals))
    assert np.abs(others - together).max() > 1e-2


def test_a_search_from_the_answer_keeps_it(planner):
    optimum = jnp.clip(GOAL, LOW[None], HIGH[None])
    plan = planner(KEY, quadratic, start=optimum)
    assert plan.costs[0] <= 1 / 16 + 1e-6
    cold = planner(KEY, quadratic)
    assert plan.costs[0] < cold.costs[0]


def test_bad_numbers_are_refused(unchecked):
    options = {"horizon": 3, "action_size": 2, "low": -1.0, "high": 1.0}
    for own in PLANNERS.values():
        with pytest.raises(ValueError, match="horizon must be positive, got 0"):
            own(KEY, quadratic, **(options | {"horizon": 0}))
        with pytest.raises(ValueError, match=r"start must have shape \(3, 2\), got \(2, 2\)"):
            own(KEY, quadratic, **options, start=jnp.zeros((2, 2)))
    for own in (cem, icem):
        with pytest.raises(ValueError, match="elites must be within 1 and num_samples 5"):
            own(KEY, quadratic, **options, num_samples=5, elites=6)
    with pytest.raises(ValueError, match="kept"):
        icem(KEY, quadratic, **options, kept=11)
    with pytest.raises(ValueError, match="temperature"):
        mppi(KEY, quadratic, **options, temperature=0.0)


def test_costs_sum_over_dimensions_and_the_path():
    latents = jnp.arange(12.0).reshape(2, 3, 2)
    goal = jnp.array([1.0, 2.0])
    np.testing.assert_allclose(last_step_cost(latents, goal), [9 + 9, 81 + 81])
    np.testing.assert_allclose(path_cost(latents, goal), [2 * (1 + 1 + 9), 2 * (25 + 49 + 81)])


def test_a_shifted_plan_drops_what_was_done():
    plan = jnp.arange(6.0).reshape(3, 2)
    fill = jnp.array([7.0, 8.0])
    np.testing.assert_array_equal(shift_plan(plan, 1, fill=fill), [[2, 3], [4, 5], [7, 8]])
    np.testing.assert_array_equal(shift_plan(plan, 3, fill=fill), [[7, 8]] * 3)


@pytest.mark.parametrize("exponent", [0.0, 2.0])
def test_colored_noise_has_the_spectrum_that_is_asked_for(exponent):
    horizon = 16
    basis = colored_basis(horizon, exponent)
    covariance = np.float64(basis) @ np.float64(basis).T
    np.testing.assert_allclose(np.diag(covariance), np.ones(horizon), rtol=1e-5)
    waves = np.fft.rfft(np.eye(horizon))
    power = np.einsum("tk,ts,sk->k", waves.conj(), covariance, waves).real[1:-1]
    frequency = np.fft.rfftfreq(horizon)[1:-1]
    np.testing.assert_allclose(power / power[0], (frequency / frequency[0]) ** -exponent, rtol=1e-4)
    for short in (1, 2, 3):
        np.testing.assert_allclose(np.linalg.norm(colored_basis(short, 2.0), axis=1), 1, rtol=1e-5)
