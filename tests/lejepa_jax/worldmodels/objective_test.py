"""The objective of a world model: contexts, rollouts, and which latents are one sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax import sigreg
from lejepa_jax.worldmodels.networks import imagine
from lejepa_jax.worldmodels.objective import (
    path_curvature,
    prediction_error,
    regularize_latents,
    rolled_out,
    teacher_forced,
)

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def past(latents, actions, keys=None):
    """A prediction that tells its whole context: sums over what a causal predictor sees."""
    return jnp.cumsum(latents, 1) + 100 * jnp.cumsum(actions, 1)


@pytest.mark.parametrize("count", [3, 5, 6])
def test_every_latent_is_predicted_from_what_was_before_it_and_never_more_than_the_history(count):
    latents = jnp.asarray(2.0 ** np.arange(count + 1), jnp.float32)[None, :, None]
    actions = jnp.asarray(2.0 ** np.arange(count), jnp.float32)[None, :, None] / 1024
    found = teacher_forced(past, latents, actions, history=3)
    targets = np.log2(found.target[0, :, 0]).astype(int)
    assert set(targets) == set(range(1, count + 1))
    for target, predicted in zip(targets, found.predicted[0, :, 0], strict=True):
        # One of the contexts of length 1 to 3 that end just before the target.
        contexts = [range(target - length, target) for length in (1, 2, 3) if target >= length]
        values = [sum(2.0**i * (1 + 100 / 1024) for i in context) for context in contexts]
        assert min(abs(values - np.float64(predicted))) < 1e-2


def test_a_rollout_is_what_the_model_imagines():
    latents = jnp.asarray(RNG.normal(size=(2, 6, 4)), jnp.float32)
    actions = jnp.asarray(RNG.normal(size=(2, 5, 4)), jnp.float32)
    found = rolled_out(past, latents, actions, steps=3, history=3)
    for row in range(2):
        ahead = imagine(past, latents[row, :3], actions[row, :2], actions[row, 2:][None])
        np.testing.assert_allclose(found.predicted[row], ahead[0], rtol=1e-5)
    np.testing.assert_array_equal(found.target, latents[:, 3:])


def test_the_error_is_a_mean_and_its_target_may_be_fixed():
    latents = jnp.asarray(RNG.normal(size=(2, 3, 4)), jnp.float32)
    found = teacher_forced(past, latents, jnp.zeros((2, 2, 4)), history=3)
    np.testing.assert_allclose(
        prediction_error(found), np.square(found.predicted - found.target).mean(), rtol=1e-6
    )
    for stop in (False, True):
        gradient = jax.grad(
            lambda target, stop=stop: prediction_error(
                found._replace(target=target), stop_gradient=stop
            )
        )(found.target)
        assert bool((gradient == 0).all()) == stop


def test_sigreg_has_the_published_scale():
    cloud = jax.random.normal(KEY, (128, 4, 192))
    value = regularize_latents(KEY, cloud, sigreg)
    assert 0.9 < float(value) < 1.3  # 1.05 in the mean
    point = regularize_latents(KEY, jnp.zeros((128, 4, 192)), sigreg)
    np.testing.assert_allclose(point, 51.5, atol=0.1)


@pytest.mark.slow
def test_which_latents_are_one_sample():
    latents = jax.random.normal(KEY, (6, 9, 2)) + 3 * jnp.arange(6.0)[:, None, None]
    values = {
        over: float(regularize_latents(KEY, latents, sigreg, over=over))
        for over in ("per_step", "pooled", "within_episode", "both")
    }
    steps = np.mean([sigreg(KEY, latents[:, time]) for time in range(9)])
    windows = np.mean([sigreg(KEY, window) for window in latents])
    np.testing.assert_allclose(values["per_step"], steps, rtol=1e-5)
    np.testing.assert_allclose(values["within_episode"], windows, rtol=1e-5)
    np.testing.assert_allclose(values["both"], (steps + windows) / 2, rtol=1e-5)
    np.testing.assert_allclose(values["pooled"], sigreg(KEY, latents.reshape(-1, 2)), rtol=1e-5)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="over must be one of per_step, pooled"):
        regularize_latents(KEY, jnp.ones((2, 2, 2)), sigreg, over="batch")


@pytest.mark.usefixtures("unchecked")
def test_a_path_is_straight_bent_or_at_rest():
    def path(*points):
        return jnp.asarray(points, jnp.float32)[None]

    assert abs(float(path_curvature(path([0, 0], [1, 1], [3, 3])))) < 1e-5
    assert abs(float(path_curvature(path([0, 0], [1, 0], [1, 1]))) - 1) < 1e-5
    assert abs(float(path_curvature(path([0, 0], [1, 0], [0, 0]))) - 2) < 1e-5
    still = jax.grad(path_curvature)(jnp.zeros((1, 3, 2)))
    assert bool(jnp.isfinite(still).all())
