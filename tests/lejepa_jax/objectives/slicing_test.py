"""SIGReg: what it is on known clouds, and that every way of calling it agrees."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax import (
    epps_pulley,
    epps_pulley_null_mean,
    lejepa_loss,
    paper_epps_pulley,
    sigreg,
    slice_statistics,
    unit_directions,
)

FEW_SLICES = jax.jit(functools.partial(sigreg, num_slices=64), static_argnames="pool")


def cloud(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def plain_sigreg(z, directions, t_max=3.0, num_knots=17):
    """The algorithm as published, in float64, with its (n, k, m) tensor."""
    x = np.asarray(z, np.float64) @ np.asarray(directions, np.float64).T
    t = np.linspace(-t_max, t_max, 2 * num_knots - 1)
    phi = np.exp(1j * x[:, :, None] * t).mean(0)
    integrand = np.abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)
    return len(x) * np.trapezoid(integrand, t, axis=-1).mean()


def plain_gradient(z, directions, t_max=3.0, num_knots=17):
    """The same, differentiated by hand."""
    z, a = np.asarray(z, np.float64), np.asarray(directions, np.float64)
    x = z @ a.T
    t = np.linspace(-t_max, t_max, 2 * num_knots - 1)
    w = np.full(t.size, t[1] - t[0])
    w[[0, -1]] /= 2
    w *= np.exp(-(t**2) / 2)
    terms = np.exp(1j * x[:, :, None] * t)
    error = terms.mean(0) - np.exp(-(t**2) / 2)
    gradient = 2 * ((np.conj(error) * w)[None] * 1j * t * terms).real.sum(-1) / len(a)
    return gradient @ a


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_value_and_gradient_agree_with_plain_float64_to_1e_5(scale, key):
    z = scale * cloud(200, 12) + 0.1
    directions = unit_directions(key, 12, 32)
    value, gradient = jax.value_and_grad(lambda z: sigreg(key, z, directions=directions))(z)
    np.testing.assert_allclose(value, plain_sigreg(z, directions), rtol=1e-5)
    expected = plain_gradient(z, directions)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())


def test_paper_statistic_is_17_knots_on_minus_5_to_5(key):
    z = cloud(100, 4)
    directions = unit_directions(key, 4, 16)
    value = sigreg(key, z, directions=directions, statistic=paper_epps_pulley)
    x = np.asarray(z, np.float64) @ np.asarray(directions, np.float64).T
    t = np.linspace(-5, 5, 17)
    phi = np.exp(1j * x[:, :, None] * t).mean(0)
    integrand = np.abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)
    np.testing.assert_allclose(value, 100 * np.trapezoid(integrand, t, axis=-1).mean(), rtol=1e-5)


def test_a_round_cloud_scores_the_null_mean_whatever_its_size():
    # 4096 independent one-dimensional samples of each size: the mean is known to about 1.5 %.
    for n in (16, 256):
        values = epps_pulley(cloud(n, 4096, seed=n))
        spread = float(values.std()) / 64
        assert abs(float(values.mean()) - epps_pulley_null_mean()) < 4 * spread


def test_debiased_statistic_has_mean_zero_whatever_the_size():
    for n in (2, 16, 256):
        values = epps_pulley(cloud(n, 4096, seed=n), debias=True)
        assert abs(float(values.mean())) < 4 * float(values.std()) / 64


def test_debiased_value_of_one_sample_is_zero():
    assert epps_pulley(cloud(1, 3), debias=True).tolist() == [0, 0, 0]


def test_leading_axes_are_tested_separately_and_averaged(key):
    views = jnp.stack([cloud(50, 6), 2 * cloud(50, 6, seed=1)])
    apart = [FEW_SLICES(key, view) for view in views]
    np.testing.assert_allclose(FEW_SLICES(key, views), sum(apart) / 2, rtol=1e-6)


def test_vmap_over_clouds_and_keys_equals_single_calls():
    clouds, keys = cloud(2, 30, 5), jax.random.split(jax.random.key(1), 2)
    gradients = jax.vmap(jax.grad(FEW_SLICES, argnums=1))(keys, clouds)
    for k, z, gradient in zip(keys, clouds, gradients, strict=True):
        np.testing.assert_allclose(gradient, jax.grad(FEW_SLICES, argnums=1)(k, z), atol=1e-6)


def test_pooling_tests_all_views_as_one_sample(key):
    views = cloud(3, 20, 6)
    pooled = FEW_SLICES(key, views, pool=True)
    np.testing.assert_allclose(pooled, FEW_SLICES(key, views.reshape(60, 6)), rtol=1e-6)


def test_a_mask_equals_slicing_also_when_views_are_pooled(key):
    views = cloud(2, 20, 6)
    mask = jnp.broadcast_to(jnp.arange(20) < 13, (2, 20))
    for pool in (False, True):
        masked = FEW_SLICES(key, views, mask=mask, pool=pool)
        np.testing.assert_allclose(masked, FEW_SLICES(key, views[:, :13], pool=pool), rtol=1e-5)


def test_the_order_of_samples_does_not_matter(key):
    z = cloud(150, 5)
    shuffled = jax.random.permutation(key, z)
    np.testing.assert_allclose(FEW_SLICES(key, z), FEW_SLICES(key, shuffled), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_embeddings_are_tested_in_float32(dtype, key):
    z = cloud(64, 8).astype(dtype)
    value = FEW_SLICES(key, z)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, FEW_SLICES(key, z.astype(jnp.float32)), rtol=1e-6)
    assert jax.grad(lambda z: FEW_SLICES(key, z))(z).dtype == dtype


@pytest.mark.parametrize("shape", [(1, 4), (2, 1), (5, 1)])
def test_tiny_samples_have_finite_values_and_gradients(shape, key):
    value, gradient = jax.value_and_grad(lambda z: FEW_SLICES(key, z))(cloud(*shape))
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


def test_at_exact_collapse_the_gradient_vanishes_as_documented(key):
    value, gradient = jax.value_and_grad(lambda z: FEW_SLICES(key, z))(jnp.zeros((64, 8)))
    np.testing.assert_allclose(value, 64 * 0.40205, rtol=1e-4)
    assert (gradient == 0).all()


def test_descending_the_statistic_rounds_an_anisotropic_cloud(key):
    z = cloud(256, 4) * jnp.array([[2.0, 1.0, 0.5, 0.1]])

    @jax.jit
    def descend(z, step):
        gradient = jax.grad(lambda z: sigreg(jax.random.fold_in(key, step), z, num_slices=16))(z)
        return z - 3.0 * gradient, None

    z, _ = jax.lax.scan(descend, z, jnp.arange(200))
    # Squared widths were 4, 1, 0.25 and 0.01; the two samples that lie far out come in last.
    variances = jnp.linalg.eigvalsh(jnp.cov(z.T))
    assert variances[0] > 0.8
    assert variances[-1] < 2


def test_directions_are_unit_rows_and_depend_on_the_key_alone(key):
    directions = unit_directions(key, 5, 100)
    np.testing.assert_allclose(jnp.linalg.norm(directions, axis=1), 1, rtol=1e-6)
    assert (directions == unit_directions(key, 5, 100)).all()
    assert (directions != unit_directions(jax.random.fold_in(key, 1), 5, 100)).any()
    assert set(np.asarray(unit_directions(key, 1, 50)).ravel().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("shape", [(256, 4, 8), (3, 64, 2, 8)])
def test_confused_axes_are_warned_of_with_the_shape_and_what_to_do(shape, key):
    message = f"embeddings of shape {re.escape(str(shape))} are .*last but one.*swapaxes.*pool=True"
    with pytest.warns(UserWarning, match=message):
        sigreg(key, cloud(*shape), num_slices=2)
    with pytest.warns(UserWarning, match="embeddings of shape"):
        lejepa_loss(key, cloud(256, 4, 8), num_global=1, num_slices=2)


@pytest.mark.parametrize(
    "shape", [(4, 256, 8), (10, 7, 8), (64, 8, 8), (256, 16, 8), (2, 8), (1, 8)]
)
def test_few_samples_or_many_views_are_no_reason_to_warn(shape, key):
    sigreg(key, cloud(*shape), num_slices=2)  # warnings are errors in these tests


def test_pooled_views_and_samples_sharded_over_devices_are_no_reason_to_warn(key):
    z = cloud(64, 4, 8)
    sigreg(key, z, num_slices=2, pool=True)
    shards = jnp.stack([z, z])
    jax.vmap(lambda z: sigreg(key, z, num_slices=2, axis_name="data"), axis_name="data")(shards)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda k: sigreg(k, jnp.zeros((4, 2)), num_slices=0),
            "num_slices must be positive, got 0",
        ),
        (
            lambda k: sigreg(k, jnp.zeros((4, 2), jnp.int32)),
            "embeddings must have a floating dtype",
        ),
        (lambda k: sigreg(k, jnp.zeros(4)), "embeddings must have at least 2 axes"),
        (
            lambda k: slice_statistics(jnp.zeros((4, 2)), jnp.zeros((3, 5))),
            r"directions must have shape \(k, 2\).*got \(3, 5\)",
        ),
        (
            lambda k: epps_pulley(jnp.zeros((4, 2)), num_knots=1),
            r"num_knots must be at least 2 \(trapezoid\), got 1",
        ),
        (lambda k: epps_pulley(jnp.zeros((4, 2)), t_max=0.0), "t_max must be positive, got 0"),
        (lambda k: unit_directions(k, 0, 3), "dim must be positive, got 0"),
    ],
)
def test_bad_arguments_are_named(call, message, key, unchecked):
    with pytest.raises(ValueError, match=message):
        call(key)
