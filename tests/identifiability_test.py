"""An encoder finds the latents of an Ornstein-Uhlenbeck world, and not with another target."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.identifiability import LATENTS, Setting, mix, recover
from lejepa_jax.statistics.targets import sphere_target


@pytest.mark.parametrize("name", list(LATENTS))
def test_the_processes_are_stationary_and_keep_what_they_should(name):
    pair = LATENTS[name](jax.random.key(0), 20_000, 3, 0.8)
    first, second = map(np.asarray, pair)
    for values in (first, second):
        np.testing.assert_allclose(values.std(0), 1, atol=0.03)
    np.testing.assert_allclose((first * second).mean(0), 0.8, atol=0.04)
    # The same law before and after: its quantiles agree.
    levels = np.linspace(0.05, 0.95, 19)
    before, after = (np.quantile(values, levels, axis=0) for values in (first, second))
    np.testing.assert_allclose(after, before, atol=0.07)


def test_what_is_observed_is_nonlinear_and_loses_nothing():
    """The map keeps volumes: the determinant of its Jacobian is plus or minus one."""
    jacobian = jax.vmap(jax.jacfwd(lambda z: mix(jax.random.key(0), z[None])[0]))
    found = np.asarray(jacobian(jax.random.normal(jax.random.key(1), (8, 4))))
    np.testing.assert_allclose(np.abs(np.linalg.det(found)), 1, rtol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 0.5


@pytest.mark.slow
def test_the_latents_are_found_with_the_right_target_alone():
    setting = Setting(dim=2, steps=2500, batch=256)
    with jax.numpy_dtype_promotion("standard"):  # the optimizer is another library's
        right = recover(0, setting)
        wrong = recover(0, setting, target=functools.partial(sphere_target, dim=2))
    assert right.embeddings > 0.99 > 0.9 > right.observations
    assert wrong.embeddings < 0.95
    assert jnp.isfinite(jnp.asarray(right)).all()
