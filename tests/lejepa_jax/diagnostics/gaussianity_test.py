"""The test of a cloud and its worst direction."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lejepa_jax.diagnostics.gaussianity import gaussianity_test
from lejepa_jax.statistics.edf import watson

run = jax.jit(
    functools.partial(gaussianity_test, num_slices=8, num_null=39, num_starts=3, num_steps=40)
)


def cloud(seed=0, n=256, d=4):
    return jax.random.normal(jax.random.key(seed), (n, d))


@pytest.mark.slow
def test_a_normal_cloud_passes_and_the_p_value_is_uniform():
    results = [run(jax.random.key(s), cloud(100 + s)) for s in range(12)]
    for p in ([r.p_value for r in results], [r.worst_p_value for r in results]):
        assert scipy.stats.kstest(np.asarray(p, np.float64), "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_the_worst_direction_is_found_and_confirmed_by_the_other_half():
    hidden = jnp.array([0.5, -0.5, 0.5, 0.5])
    x = cloud(n=512)
    along = x @ hidden
    # Two peaks along one direction, mean and variance as before.
    peaks = 0.95 * jnp.sign(along) + 0.31 * cloud(1, n=512)[:, 0]
    x = x + (peaks - along)[:, None] * hidden[None, :]
    result = run(jax.random.key(1), x)
    assert abs(result.worst_direction @ hidden) > 0.97
    assert result.worst_p_value < 1e-4 < result.p_value
    # The histogram shows them: few samples near 0.
    centers = (result.edges[1:] + result.edges[:-1]) / 2
    middle = result.histogram[jnp.abs(centers) < 0.25].mean()
    peak = result.histogram[jnp.abs(jnp.abs(centers) - 1) < 0.25].mean()
    assert peak > 4 * middle
    np.testing.assert_allclose(result.histogram.sum() * 8 / 32, 1, atol=0.01)


def test_a_mask_equals_leaving_out():
    x = cloud(n=256)
    mask = jnp.arange(256) < 200
    spoiled = jnp.where(mask[:, None], x, 100.0)
    masked = run(jax.random.key(0), spoiled, mask=mask)
    clean = run(jax.random.key(0), x, mask=mask)
    for one, other in zip(masked, clean, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert masked.statistic < 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: gaussianity_test(jax.random.key(0), cloud(n=8)),
            r"embeddings must have shape \(n >= 16, d\), got \(8, 4\)",
        ),
        (
            lambda: gaussianity_test(jax.random.key(0), cloud(), statistic=watson),
            "table must be given with a statistic other than epps_pulley",
        ),
        (
            lambda: gaussianity_test(jax.random.key(0), cloud(), num_null=0),
            "num_null must be positive, got 0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
