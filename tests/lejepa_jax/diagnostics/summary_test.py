"""The summary is what its parts say, with masks, on devices, and of a collapsed cloud."""

import jax
import jax.numpy as jnp
import numpy as np

from lejepa_jax import covariance_spectrum, isotropy, lidar, rankme, summarize_cloud

CLOUD = jax.random.normal(jax.random.key(0), (16, 3)) * jnp.array([[1.0, 0.5, 2.0]])


def test_the_summary_is_what_its_parts_say():
    mask = jnp.arange(16) < 11
    summary = jax.jit(summarize_cloud)(jnp.where(mask[:, None], CLOUD, jnp.inf), mask=mask)
    alone = CLOUD[:11]
    np.testing.assert_allclose(summary.rankme, rankme(alone), rtol=1e-5)
    np.testing.assert_allclose(summary.isotropy, isotropy(covariance_spectrum(alone)), rtol=1e-4)
    np.testing.assert_allclose(summary.smallest_std, alone.std(0).min(), rtol=1e-5)
    np.testing.assert_allclose(summary.mean_std, alone.std(0).mean(), rtol=1e-5)


def test_devices_agree():
    shards = CLOUD.reshape(8, 2, 3)
    mapped = jax.vmap(lambda x: summarize_cloud(x, axis_name="data"), axis_name="data")
    expected = summarize_cloud(CLOUD)
    for found, value in zip(mapped(shards), expected, strict=True):
        np.testing.assert_allclose(found, np.full(8, value), rtol=1e-4)


def test_a_collapsed_cloud_shows():
    summary = summarize_cloud(jnp.zeros((16, 3)))
    assert summary.rankme == summary.effective_rank == summary.smallest_std == 0
    assert summary.isotropy == summary.condition_number == jnp.inf


def test_lidar_of_masked_views_knows_nothing_of_what_is_masked():
    views = jnp.stack([CLOUD, CLOUD + 0.1 * jax.random.normal(jax.random.key(1), CLOUD.shape)])
    mask = jnp.arange(16) < 11
    with jax.debug_nans(False):
        spoiled = jax.jit(lidar)(jnp.where(mask[:, None], views, jnp.nan), mask=mask)
    np.testing.assert_allclose(spoiled, lidar(views[:, :11]), rtol=1e-4)
