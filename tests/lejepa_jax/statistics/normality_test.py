"""Epps-Pulley: published values, the closed form, the bias, other targets, and what is sent."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from lejepa_jax.statistics.normality import epps_pulley, epps_pulley_null_mean, paper_epps_pulley
from lejepa_jax.statistics.targets import generalized_normal_target, laplace_target, sphere_target
from tests.lejepa_jax import golden


@pytest.mark.parametrize("case", golden.CASES)
@pytest.mark.parametrize(("t_max", "num_knots"), [(3.0, 17), (5.0, 41)])
def test_published_values_and_gradients_are_met(case, t_max, num_knots):
    statistic = jax.jit(functools.partial(epps_pulley, t_max=t_max, num_knots=num_knots))
    golden.check_slices(case, f"epps_pulley_t{t_max:.0f}_n{num_knots}", statistic)


@pytest.mark.parametrize(
    ("t_max", "num_knots", "expected"),
    [
        (3.0, 17, 0.3607402),
        (5.0, 17, 0.3617909),
        (1.0, 17, 0.2187364),
        (3.0, 5, 0.3604346),
        (3.0, 41, 0.3607473),
    ],
)
def test_values_of_one_small_column(t_max, num_knots, expected):
    value = epps_pulley(golden.COLUMN, t_max=t_max, num_knots=num_knots)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_the_preset_of_the_paper_is_its_first_algorithm():
    np.testing.assert_allclose(paper_epps_pulley(golden.COLUMN), 0.3617907024, rtol=1e-6)


def test_wide_rules_give_the_closed_form_on_the_whole_line():
    x = np.asarray(golden.COLUMN, np.float64)[:, 0]
    pairs = np.exp(-((x[:, None] - x) ** 2) / 2).mean()
    single = np.exp(-(x**2) / 4).mean()
    expected = 8 * np.sqrt(2 * np.pi) * (pairs - np.sqrt(2) * single + 3**-0.5)
    for options in (
        {"t_max": 7.0, "num_knots": 33},
        {"quadrature": "hermite", "num_knots": 16},
        {"quadrature": "legendre", "t_max": 6.0, "num_knots": 16},
        {"quadrature": "simpson", "t_max": 7.0, "num_knots": 65},
    ):
        np.testing.assert_allclose(epps_pulley(golden.COLUMN, **options), expected, rtol=2e-6)


@pytest.mark.parametrize("n", [2, 16, 256])
@pytest.mark.parametrize("quadrature", ["trapezoid", "hermite"])
def test_the_null_mean_is_the_documented_one_and_without_bias_zero(n, quadrature):
    x = jax.random.normal(jax.random.key(n), (n, 4000))
    options = {"quadrature": quadrature, "num_knots": 9}
    for debias, null_mean in [(False, epps_pulley_null_mean(**options)), (True, 0.0)]:
        values = jax.jit(lambda x, d=debias: epps_pulley(x, debias=d, **options))(x)
        assert abs(values.mean() - null_mean) < 4 * values.std() / 4000**0.5


def test_null_means_of_the_rules_in_use():
    """1.05943 on the whole line."""
    assert epps_pulley_null_mean() == pytest.approx(1.05246, abs=1e-5)
    assert epps_pulley_null_mean(t_max=5.0, num_knots=9) == pytest.approx(1.05942, abs=1e-5)
    whole_line = np.sqrt(2 * np.pi) - np.sqrt(2 * np.pi / 3)
    hermite = epps_pulley_null_mean(quadrature="hermite", num_knots=16)
    assert hermite == pytest.approx(whole_line, abs=1e-8)


def draws(name, n):
    key = jax.random.key(7)
    if name == "laplace":
        return jax.random.laplace(key, (n,)) * 2**-0.5
    if name == "sphere":
        x = jax.random.normal(key, (n, 3))
        return np.sqrt(3) * x[:, 0] / jnp.linalg.norm(x, axis=1)
    x = jax.random.normal(key, (n,))
    return jnp.maximum(x, 0)


TARGETS = {
    "laplace": laplace_target,
    "sphere": functools.partial(sphere_target, dim=3),
    "rectified": functools.partial(generalized_normal_target, power=2.0, rectified=True),
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_law_of_the_target_scores_its_null_mean_and_neighbors_more(name):
    x = draws(name, 4000)
    # Without bias the null mean is 0; the same draws shifted and rescaled move away from it.
    neighbors = jnp.stack([x, 1.15 * x, 0.85 * x, x + 0.15, x - 0.15], axis=1)
    values = epps_pulley(neighbors, target=TARGETS[name], debias=True)
    assert abs(values[0]) < 3
    assert (values[1:] > values[0] + 3).all()


def test_descent_towards_a_target_finds_its_law():
    """A free sample drawn towards the rectified normal law gets an atom at 0 of half its mass."""
    statistic = functools.partial(epps_pulley, target=TARGETS["rectified"], t_max=6.0, num_knots=33)
    gradient = jax.grad(lambda x: statistic(x)[0])

    def descend(x, _):
        return x - 0.05 * gradient(x), None

    start = jax.random.normal(jax.random.key(0), (64, 1))
    end, _ = jax.jit(lambda x: jax.lax.scan(descend, x, length=800))(start)
    assert statistic(end)[0] < 0.05 * statistic(start)[0]
    assert abs((end < 0.25).mean() - (0.5 + 0.0987)) < 0.1


def test_what_crosses_devices_is_two_floats_a_slice_and_knot_whatever_the_samples():
    k, m = 24, 17
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    @jax.jit
    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec()
    )
    def spread(x):
        return epps_pulley(x, axis_name="data")

    sent = []
    for n in (16, 512):
        text = spread.lower(jax.ShapeDtypeStruct((n, k), jnp.float32)).compile().as_text()
        lines = re.findall(r"= (.*) (?:all-|collective-|reduce-scatter)\S*\(", text)
        shapes = re.findall(r"f32\[([\d,]*)\]", " ".join(lines))
        sent.append(sum(int(np.prod([int(s) for s in shape.split(",") if s])) for shape in shapes))
    # And the count.
    assert sent == [2 * k * m + 1, 2 * k * m + 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t_max": 0.0}, "t_max must be positive, got 0"),
        ({"num_knots": 1}, r"num_knots must be at least 2 \(trapezoid\), got 1"),
        ({"quadrature": "simpson", "num_knots": 16}, r"num_knots must be odd \(simpson\), got 16"),
        ({"quadrature": "romberg"}, "quadrature must be one of trapezoid, simpson, legendre, her"),
    ],
)
def test_bad_options_are_named(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        epps_pulley(golden.COLUMN, **options)


@pytest.mark.parametrize(
    ("x", "mask", "message"),
    [
        (np.zeros(3, np.float32), None, "projections must have at least 2 axes"),
        (np.zeros((3, 0), np.float32), None, r"must hold samples and features, got shape \(3, 0\)"),
        (np.zeros((3, 2), np.int32), None, "floating dtype, got int32"),
        (np.zeros((3, 2), np.float32), np.zeros(2, bool), r"mask must have shape \(3,\)"),
    ],
)
def test_bad_projections_are_named(x, mask, message, unchecked):
    with pytest.raises(ValueError, match=message):
        epps_pulley(jnp.asarray(x), mask=mask)
