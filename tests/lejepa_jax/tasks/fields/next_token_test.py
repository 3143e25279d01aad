import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.augment.fields import FieldView
from lejepa_jax.data.fields import Normalization
from lejepa_jax.nn import ViT
from lejepa_jax.objectives.regularizers import covariance
from lejepa_jax.objectives.slicing import sigreg
from lejepa_jax.tasks.fields import NextTokenConfig, next_token_loss, next_token_task

OWN = Normalization(mean=(0.0,), std=(1.0,), low=(-1.0,), high=(1.0,))


def config(**options):
    encoder = functools.partial(
        ViT,
        num_axes=1,
        width=8,
        depth=1,
        num_heads=2,
        patch_size=4,
        image_size=32,
        pooling="mean",
        position="axial",
        causal=True,
    )
    given = {"num_axes": 1, "encoder": encoder, "views": (FieldView(1, 32),), "num_global": 1}
    given |= {"eval_size": 32, "embedding_features": 4, "hidden_features": 8, "num_slices": 8}
    return NextTokenConfig(**given | {"lidar_examples": 0} | options)


def test_it_is_its_formula_and_what_is_missing_does_not_count(key):
    rng = np.random.default_rng(0)
    before, after = (jnp.asarray(rng.normal(size=(2, 6, 3)), jnp.float32) for _ in range(2))
    mask = jnp.array([[True] * 6, [True] * 4 + [False] * 2])

    @jax.jit
    def loss(before):
        return next_token_loss(key, before, after, covariance, trade_off=0.25, mask=mask)

    total, prediction, spread = loss(before)
    squares = [
        np.mean((np.asarray(after)[b, t] - np.asarray(before)[b, t + 1]) ** 2)
        for b, length in ((0, 6), (1, 4))
        for t in range(length - 1)
    ]
    np.testing.assert_allclose(prediction, np.mean(squares), rtol=1e-5)
    clouds = [x[b, :length] for x in (before, after) for b, length in ((0, 6), (1, 4))]
    expected = np.mean([float(covariance(key, cloud)) for cloud in clouds])
    np.testing.assert_allclose(spread, expected, rtol=1e-4)
    np.testing.assert_allclose(total, 0.75 * prediction + 0.25 * spread, rtol=1e-6)
    junk = jnp.where(mask[..., None], before, jnp.inf)
    np.testing.assert_allclose(loss(junk)[0], total, rtol=1e-6)


def test_series_that_stand_still_are_punished_though_the_batch_is_round(key):
    """A regularizer over the batch would not see it."""
    rng = np.random.default_rng(0)
    still = jnp.asarray(np.repeat(rng.normal(size=(64, 1, 4)), 32, 1), jnp.float32)
    moving = jnp.asarray(rng.normal(size=(64, 32, 4)), jnp.float32)
    own = functools.partial(sigreg, num_slices=32)
    spread = jax.jit(lambda x: next_token_loss(key, x, x, own, trade_off=1.0)[2])
    over_time = [float(spread(x)) for x in (still, moving)]
    assert over_time[0] > 3 * over_time[1]


def test_the_loss_does_not_depend_on_how_the_batch_is_sharded(key):
    task = next_token_task(config(), OWN)
    sharded = next_token_task(config(), OWN, axis_name="data")
    params, state = jax.jit(task.init)(key)
    rng = np.random.default_rng(0)
    batch = {
        "values": jnp.asarray(rng.normal(size=(4, 40, 1)), jnp.float32),
        "extent": jnp.array([[40], [30], [40], [20]], jnp.int32),
        "index": jnp.arange(4),
    }

    def run(task, batch):
        outputs, _ = task.encode(params, state, key, batch)
        return task.loss(params, state, key, outputs, batch)[0]

    whole = jax.jit(functools.partial(run, task))(batch)
    parts = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), batch)
    found = jax.jit(jax.vmap(functools.partial(run, sharded), axis_name="data"))(parts)
    np.testing.assert_allclose(found, np.full(2, whole), rtol=1e-5)


def test_refusals(unchecked):
    with pytest.raises(ValueError, match="views must be one view"):
        config(views=(FieldView(2, 32),))
    with pytest.raises(ValueError, match="lidar_examples must be 0"):
        config(lidar_examples=5)
