"""Collapse along time is told from learning."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from lejepa_jax.worldmodels.detectors import (
    detector_metrics,
    episode_share,
    swap_examples,
    within_share,
)

LATENTS = jnp.asarray(np.random.default_rng(0).normal(size=(8, 5, 3)), jnp.float32)


@pytest.mark.parametrize("devices", [2, 8])
def test_others_and_shares_are_those_of_the_whole_batch(devices):
    mesh = jax.make_mesh((devices,), ("d",), (AxisType.Auto,), devices=jax.devices()[:devices])
    map_over = functools.partial(jax.shard_map, mesh=mesh, in_specs=P("d"))
    swapped = map_over(functools.partial(swap_examples, axis_name="d"), out_specs=P("d"))
    np.testing.assert_array_equal(jax.jit(swapped)(LATENTS), swap_examples(LATENTS))
    share = map_over(functools.partial(within_share, axis_name="d"), out_specs=P())
    np.testing.assert_allclose(jax.jit(share)(LATENTS), within_share(LATENTS), rtol=1e-5)


def test_a_share_tells_what_stays_from_what_changes():
    stays = jnp.broadcast_to(LATENTS[:, :1], LATENTS.shape)
    changes = LATENTS - LATENTS.mean(1, keepdims=True)
    assert float(within_share(stays)) < 1e-6
    assert float(within_share(changes)) > 1 - 1e-5
    flat, episode = LATENTS.reshape(-1, 3), jnp.repeat(jnp.arange(8), 5)
    np.testing.assert_allclose(episode_share(flat, episode, 8), within_share(LATENTS), rtol=1e-5)


def test_the_alarm_is_below_what_learning_gives_and_above_what_collapse_gives():
    metrics = detector_metrics(prefix="eval/")
    assert metrics["eval/shuffled_ratio"].warn_below == 1.1
    assert metrics["eval/within_episode"].warn_below == 0.1
    assert "--task.inverse-weight" in metrics["eval/shuffled_ratio"].warning
    # Little changes within a window of a few frames, in a sound model too.
    assert detector_metrics()["within_episode"].warn_below is None
