"""What every regularizer must keep. A new one joins with one line in the table.

All of the table are compiled together, so that a property costs one compilation.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from lejepa_jax import isotropy_penalty, lejepa_loss, prediction_loss, sigreg
from lejepa_jax.objectives.directions import unit_directions
from lejepa_jax.objectives.regularizers import (
    REGULARIZERS,
    DescribedRegularizer,
    covariance,
    embedding_transform,
    ksd,
    mmd,
    quantile_distance,
    quantile_distance_null_mean,
    rdmreg,
    regularizer_by_name,
    regularizer_null_mean,
    simulate_null_mean,
    sphere,
    subspace,
    to_sphere,
    visreg,
)
from lejepa_jax.objectives.regularizers.covariances import orthonormal_rows
from lejepa_jax.objectives.regularizers.rectified import rectified_normal
from lejepa_jax.objectives.regularizers.subspaces import frozen_rotation, subspace_directions
from lejepa_jax.statistics.normality import epps_pulley
from lejepa_jax.testing.regularizers import check_null_means, check_regularizer
from lejepa_jax.testing.statistics import check_devices

KEY = jax.random.key(7)
SLICES = 5
CLOUD = np.random.default_rng(0).normal(size=(9, 3)) * [1.0, 0.6, 1.3] + [0.2, -0.1, 0.0]


# --- Oracles: plain NumPy in float64. What has no gradient, by design, is handed in as `frozen`.


def sliced(statistic, directions, z):
    return np.mean([statistic(z @ a) for a in np.asarray(directions, np.float64)])


def epps_pulley_oracle(x, target=None):
    t = np.linspace(-3, 3, 33)
    goal = np.exp(-(t**2) / 2) if target is None else target(t)
    phi = np.exp(1j * t[:, None] * x).mean(1)
    return len(x) * np.trapezoid(np.abs(phi - goal) ** 2 * np.exp(-(t**2) / 2), t)


def quantile_oracle(x):
    n = len(x)
    return np.mean((np.sort(x) - scipy.stats.norm.ppf(np.arange(1, n + 1) / (n + 1))) ** 2)


def visreg_oracle(z, frozen, shape=quantile_oracle):
    unit = (z - z.mean(0)) / (frozen.std(0) + 1e-4)
    terms = np.mean((1 - z.std(0)) ** 2) + np.mean(z.mean(0) ** 2)
    return terms + sliced(shape, unit_directions(KEY, 3, SLICES), unit)


def rdmreg_oracle(z, frozen):
    direction_key, sample_key = jax.random.split(KEY)
    a = np.asarray(unit_directions(direction_key, 3, SLICES), np.float64).T
    y = np.asarray(rectified_normal(sample_key, jnp.arange(len(z)), 3), np.float64)
    return np.mean((np.sort(np.maximum(z, 0) @ a, 0) - np.sort(y @ a, 0)) ** 2)


def sphere_oracle(z, frozen):
    unit = np.sqrt(3) * z / np.linalg.norm(z, axis=1, keepdims=True)

    def marginal(t):  # in three dimensions the coordinates are uniform
        return np.sinc(np.sqrt(3) * t / np.pi)

    statistic = functools.partial(epps_pulley_oracle, target=marginal)
    return sliced(statistic, unit_directions(KEY, 3, SLICES), unit)


def squared_distances(x, y):
    return np.square(x[:, None] - y[None]).sum(-1)


def mmd_oracle(z, kernel):
    """With the means over N(0, I) by a product rule, and not by the formulas."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    points = np.stack(np.meshgrid(nodes, nodes, nodes), -1).reshape(-1, 3)
    mass = np.einsum("i,j,k->jik", weights, weights, weights).ravel()
    single = (kernel(squared_distances(z, points)) @ mass).mean()
    # The difference of two normal samples is normal with twice the variance.
    prior = kernel(2 * np.square(points).sum(-1)) @ mass
    return len(z) * (kernel(squared_distances(z, z)).mean() - 2 * single + prior)


def ksd_oracle(z, kernel, debias=False):
    """By complex steps of the kernel, and not by the formulas."""
    n, d, h = len(z), z.shape[1], 1e-20

    def k(x, y):
        return kernel(np.square(x - y).sum())

    def gradient(x, y):
        return np.array([k(x + 1j * h * e, y).imag / h for e in np.eye(d)])

    def stein(x, y):
        trace = 0.0
        for e in np.eye(d):
            step = 1e-5
            up, down = gradient(x, y + step * e), gradient(x, y - step * e)
            trace += ((up - down) / (2 * step)) @ e
        return x @ y * k(x, y).real - x @ gradient(y, x) - y @ gradient(x, y) + trace

    values = np.array([[stein(x, y) for y in z] for x in z]) / d
    if debias:
        return (values.sum() - np.trace(values)) / (n - 1)
    return n * values.mean()


def covariance_oracle(z, frozen, form="squared", rows=None):
    z = z if rows is None else z @ np.asarray(rows, np.float64).T
    mean, excess = z.mean(0), np.cov(z.T, bias=True) - np.eye(z.shape[1])
    size = (excess**2).sum()
    return (size / z.shape[1] if form == "squared" else np.sqrt(size)) + np.mean(mean**2)


def imq(r2):
    return (1 + r2 / 3) ** -0.5


def gaussian(r2):
    return np.exp(-r2 / 6)


_SLICED = {"num_slices": SLICES}
#: A regularizer by the text that names it on a command line, and its oracle.
TABLE = {
    "sigreg": lambda z, frozen: sliced(epps_pulley_oracle, unit_directions(KEY, 3, SLICES), z),
    "sigreg(statistic='anderson_darling')": None,  # the oracles of statistics are in their tests
    "visreg": visreg_oracle,
    "visreg(shape='epps_pulley')": functools.partial(visreg_oracle, shape=epps_pulley_oracle),
    "rdmreg": rdmreg_oracle,
    "rdmreg(power=2.0, scale=0.5)": None,
    "mmd": lambda z, frozen: mmd_oracle(z, imq),
    "mmd(kernel='gaussian')": lambda z, frozen: mmd_oracle(z, gaussian),
    "mmd(kernel='energy')": None,  # its oracle is that of the energy distance
    "ksd": lambda z, frozen: ksd_oracle(z, imq),
    "ksd(kernel='gaussian', debias=True)": lambda z, frozen: ksd_oracle(z, gaussian, True),
    "sphere": sphere_oracle,
    "subspace(num_subspaces=2)": lambda z, frozen: sliced(
        epps_pulley_oracle, subspace_directions(KEY, 3, SLICES, num_subspaces=2), z
    ),
    "covariance": covariance_oracle,
    "covariance(form='norm')": functools.partial(covariance_oracle, form="norm"),
    "covariance(form='isotropy')": None,  # see below
    "covariance(sketch=2)": lambda z, frozen: covariance_oracle(
        z, frozen, rows=orthonormal_rows(KEY, 3, 2)
    ),
}
ALL = {name: regularizer_by_name(name, **_SLICED) for name in TABLE}


@functools.cache
def found():
    def steps(z):
        return {name: jax.value_and_grad(lambda z, f=f: f(KEY, z))(z) for name, f in ALL.items()}

    return jax.jit(steps)(jnp.asarray(CLOUD, jnp.float32))


@pytest.mark.parametrize("name", [name for name, oracle in TABLE.items() if oracle])
def test_value_and_gradient_agree_with_float64(name):
    oracle, (value, gradient) = TABLE[name], found()[name]
    np.testing.assert_allclose(value, oracle(CLOUD, CLOUD), rtol=2e-5, atol=1e-6)
    rng, step = np.random.default_rng(1), 1e-6
    for _ in range(3):
        way = rng.normal(size=CLOUD.shape)
        up, down = (oracle(CLOUD + sign * step * way, CLOUD) for sign in (1, -1))
        expected = (up - down) / (2 * step)
        scale = float(jnp.abs(gradient).max())
        np.testing.assert_allclose(np.sum(gradient * way), expected, atol=2e-4 * scale)


#: Whose battery is run with the fast tests: compiling is what costs.
QUICK = ("rdmreg", "ksd")
CLOSED = ("visreg", "visreg(shape='epps_pulley')", "rdmreg", "ksd", "covariance(form='norm')")


@pytest.mark.slow
def test_some_keep_what_the_loss_relies_on():
    table = {name: ALL[name] for name in QUICK}
    check_regularizer(table, devices=(8,), ways=("shard_map",), null_draws=0)


@pytest.mark.slow
def test_the_others_keep_what_the_loss_relies_on():
    table = {name: own for name, own in ALL.items() if name not in QUICK}
    check_regularizer(table, devices=(8,), ways=("shard_map",), null_draws=0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 4])
def test_fewer_devices_agree(number):
    check_devices({name: functools.partial(f, KEY) for name, f in ALL.items()}, "shard_map", number)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["shard_map, unchecked", "vmap", "pmap", "jit"])
def test_every_way_to_run_on_devices_agrees(way):
    check_devices({name: functools.partial(f, KEY) for name, f in ALL.items()}, way)


CALIBRATED = {name: own for name, own in ALL.items() if not name.startswith("sigreg")}


def test_null_means_are_those_of_simulations():
    check_null_means({name: ALL[name] for name in CLOSED}, num_draws=512, tolerance=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("num_samples", "dim"), [(8, 1), (12, 2), (200, 1), (256, 24)])
def test_null_means_of_all_are_those_of_simulations(num_samples, dim):
    check_null_means(CALIBRATED, num_samples=num_samples, dim=dim, num_draws=400, tolerance=0.02)


def test_the_null_mean_of_quantiles_is_exact_for_three_samples():
    q = scipy.stats.norm.ppf(0.75)
    # The largest of three normal samples has the mean 3 / (2 sqrt(pi)).
    expected = 1 + (2 * q**2 - 2 * 2 * q * 1.5 / np.sqrt(np.pi)) / 3
    assert quantile_distance_null_mean(3) == pytest.approx(expected, rel=1e-9)


def test_a_collapsing_cloud_loses_the_gradient_of_sigreg_and_keeps_that_of_visreg():
    cloud = jnp.asarray(CLOUD, jnp.float32)

    def norms(regularizer):
        gradient = jax.jit(jax.grad(lambda z: regularizer(KEY, z)))
        return [float(jnp.linalg.norm(gradient(scale * cloud))) for scale in (1e-2, 1e-3)]

    scale = regularizer_by_name("visreg(shape_weight=0.0)")
    before, after = norms(scale)
    assert after == pytest.approx(before, rel=0.05)
    whole = regularizer_by_name("visreg(num_slices=5, shape='epps_pulley')")
    before, after = norms(whole)
    assert after > before
    own = regularizer_by_name("sigreg(num_slices=5)")
    before, after = norms(own)
    assert after < 0.2 * before


# --- Identities.


def test_visreg_without_scale_and_center_is_sigreg_of_the_standardized_cloud():
    cloud = jnp.asarray(CLOUD, jnp.float32)
    options = {"scale_weight": 0.0, "center_weight": 0.0, "shape": epps_pulley, **_SLICED}
    unit = (cloud - cloud.mean(0, keepdims=True)) / cloud.std(0, keepdims=True)
    np.testing.assert_allclose(
        visreg(KEY, cloud, epsilon=1e-9, **options), sigreg(KEY, unit, **_SLICED), rtol=1e-5
    )


def test_the_isotropic_form_of_the_covariance_is_the_isotropy_penalty():
    cloud = jnp.asarray(CLOUD, jnp.float32)
    value = covariance(KEY, cloud, form="isotropy")
    np.testing.assert_allclose(value, isotropy_penalty(cloud), rtol=1e-5)


def test_one_subspace_is_sigreg_along_rotated_directions():
    cloud = jnp.asarray(CLOUD, jnp.float32)
    rotation = jnp.asarray(frozen_rotation(3, 0))
    directions = unit_directions(jax.random.fold_in(KEY, 0), 3, SLICES) @ rotation
    value = subspace(KEY, cloud, num_subspaces=1, **_SLICED)
    np.testing.assert_allclose(value, sigreg(KEY, cloud, directions=directions), rtol=1e-5)


def test_directions_of_a_subspace_stay_in_it():
    directions = subspace_directions(KEY, 6, 8, num_subspaces=2)
    inside = directions @ jnp.asarray(frozen_rotation(6, 0)).T
    assert float(jnp.abs(inside[:4, 3:]).max()) < 1e-5 < float(jnp.abs(inside[:4, :3]).max())
    assert float(jnp.abs(inside[4:, :3]).max()) < 1e-5


def test_the_length_of_embeddings_means_nothing_on_the_sphere():
    cloud = jnp.asarray(CLOUD, jnp.float32)
    np.testing.assert_allclose(
        sphere(KEY, 100 * cloud, **_SLICED), sphere(KEY, cloud, **_SLICED), rtol=1e-5
    )
    length = jnp.linalg.norm(to_sphere(cloud), axis=-1)
    np.testing.assert_allclose(length, np.full(9, 3**0.5), rtol=1e-6)


def test_samples_of_rdmreg_depend_on_their_number_alone():
    few, many = (rectified_normal(KEY, jnp.arange(n), 2) for n in (3, 5))
    np.testing.assert_array_equal(few, many[:3])
    some = rectified_normal(KEY, jnp.arange(2000), 2, power=2.5)
    assert 0.45 < float((some == 0).mean()) < 0.55
    assert float(jnp.square(some).mean()) == pytest.approx(0.5, abs=0.05)  # variance 1 before


# --- In the loss.

VIEWS = jax.random.normal(jax.random.key(5), (2, 8, 3))


@pytest.mark.parametrize("name", ["rdmreg", "sphere", "mmd"])
def test_the_loss_takes_a_regularizer_and_compares_what_it_transforms(name, key):
    own = ALL[name]
    loss = lejepa_loss(key, VIEWS, num_global=1, trade_off=0.2, regularizer=own)
    transform = embedding_transform(own) or (lambda z: z)
    prediction = prediction_loss(transform(VIEWS), num_global=1)
    np.testing.assert_allclose(loss.prediction, prediction, rtol=1e-6)
    np.testing.assert_allclose(loss.regularizer, own(key, VIEWS), rtol=1e-5)
    np.testing.assert_allclose(loss.total, 0.8 * prediction + 0.2 * own(key, VIEWS), rtol=1e-5)
    np.testing.assert_array_equal(loss.sigreg, loss.regularizer)


def test_the_default_is_sigreg_bit_for_bit(key):
    default = lejepa_loss(key, VIEWS, num_global=1, num_slices=SLICES)
    named = lejepa_loss(key, VIEWS, num_global=1, regularizer=ALL["sigreg"])
    np.testing.assert_array_equal(default, named)
    pooled = lejepa_loss(key, VIEWS, num_global=1, regularizer=ALL["sigreg"], pool_views=True)
    np.testing.assert_array_equal(pooled.sigreg, sigreg(key, VIEWS, pool=True, **_SLICED))


def test_the_loss_masks_what_the_regularizer_sees(key):
    mask = jnp.arange(8) < 6
    own = ALL["covariance"]
    masked = lejepa_loss(key, VIEWS, num_global=1, regularizer=own, mask=mask)
    sliced = lejepa_loss(key, VIEWS[:, :6], num_global=1, regularizer=own)
    np.testing.assert_allclose(masked, sliced, rtol=1e-5)


def test_a_described_regularizer_brings_its_transform_and_its_law(key):
    def spread(key, embeddings, *, mask=None, axis_name=None):
        return jnp.square(jnp.square(jnp.abs(embeddings)).mean() - 4)

    own = DescribedRegularizer(
        spread,
        transform=jnp.abs,
        null_mean=lambda n, d: 32 / (n * d),
        sample=lambda key, n, d: 2 * jax.random.normal(key, (n, d)),
    )
    loss = lejepa_loss(key, VIEWS, num_global=1, regularizer=own)
    np.testing.assert_allclose(loss.prediction, prediction_loss(jnp.abs(VIEWS), num_global=1))
    assert regularizer_null_mean(own, num_samples=4, dim=2) == 4
    check_null_means({"own": own})
    undescribed = DescribedRegularizer(spread)
    assert regularizer_null_mean(undescribed, num_samples=4, dim=2) is None
    assert regularizer_null_mean(spread, num_samples=4, dim=2) is None
    assert embedding_transform(spread) is None
    mean, _ = simulate_null_mean(key, undescribed, num_samples=64, dim=64, num_draws=4)
    assert mean == pytest.approx(9, rel=0.1)


# --- By name.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vicreg", "regularizer must be one of sigreg, visreg, rdmreg, mmd, ksd, sphere, subspace"),
        ("mmd(kernel='rbf')", "kernel of mmd must be one of 'imq', 'gaussian', 'energy'"),
        ("mmd(width=1)", "options of mmd must be among: kernel, bandwidth; got 'width'"),
        ("visreg(shape='round')", "shape must be one of quantile_distance, epps_pulley"),
        ("sigreg(statistic='round')", "statistic must be one of epps_pulley"),
        ("covariance(sketch=1.5)", "sketch of covariance must be int or None"),
    ],
)
def test_a_slip_in_a_name_or_an_option_is_one_line(text, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        regularizer_by_name(text)


def test_defaults_are_for_those_that_have_them_and_are_not_given_others():
    assert regularizer_by_name("ksd", num_slices=3) is REGULARIZERS["ksd"]
    assert regularizer_by_name("sphere", num_slices=3).keywords == {"num_slices": 3}
    own = regularizer_by_name("sphere(num_slices=7, t_max=5)", num_slices=3)
    assert own.keywords == {"num_slices": 7, "t_max": 5}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: mmd(KEY, z, bandwidth=0.0), "bandwidth must be positive, got 0"),
        (lambda z: mmd(KEY, z, kernel="energy", bandwidth=1.0), "bandwidth must be None"),
        (lambda z: ksd(KEY, z, kernel="energy"), "kernel must be one of imq, gaussian"),
        (lambda z: covariance(KEY, z, sketch=0), "sketch must be positive, got 0"),
        (lambda z: covariance(KEY, z, form="trace"), "form must be one of squared, norm"),
        (lambda z: rdmreg(KEY, z, power=0.0), "power must be positive, got 0"),
        (lambda z: rdmreg(KEY, z, scale=-1.0), "scale must be positive, got -1"),
        (lambda z: subspace(KEY, z, num_subspaces=0), "num_subspaces must be positive, got 0"),
        (lambda z: visreg(KEY, z, epsilon=0.0), "epsilon must be positive, got 0"),
        (lambda z: ksd(KEY, z[0]), "embeddings must have at least 2 axes"),
        (lambda z: quantile_distance(z.astype(jnp.int32)), "projections must have a floating"),
    ],
)
def test_bad_arguments_are_named(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((4, 3)))
