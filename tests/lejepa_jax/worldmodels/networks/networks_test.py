"""The networks of a world model: published sizes, causality, conditioning, rollouts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.testing import random_variables
from lejepa_jax.worldmodels.networks import SIZES, Predictor, WorldModel, imagine

LATENTS, ACTIONS = (
    jnp.asarray(np.random.default_rng(seed).normal(size=(4, 3, width)), jnp.float32)
    for seed, width in ((0, 6), (1, 2))
)


def make(**options):
    return Predictor(
        6,
        2,
        width=8,
        depth=2,
        num_heads=2,
        inner_width=4,
        mlp_width=8,
        action_hidden=4,
        head_features=5,
        rngs=nnx.Rngs(0),
        **options,
    )


def count(module):
    return sum(x.size for x in jax.tree.leaves(nnx.state(module, nnx.Param)))


@pytest.fixture(scope="module")
def predict():
    """A predictor of random parameters: as they begin, gates are zero."""
    model = nnx.merge(*random_variables(make))
    return jax.jit(lambda latents, actions: model(latents, actions))


def test_the_published_model_has_its_published_size_part_by_part():
    model = nnx.eval_shape(
        lambda: WorldModel(SIZES["lewm"], action_features=10, image_size=224, rngs=nnx.Rngs(0))
    )
    predictor = count(model.predictor) - count(model.predictor.actions)
    assert count(model.encoder) == 5_501_376
    assert count(model.projector) == count(model.predictor.head) == 792_768
    assert count(model.predictor.actions) == 156_206
    assert predictor - count(model.predictor.head) == 10_791_360
    assert count(model) == 18_034_478


def test_a_prediction_sees_its_past_and_the_action_of_its_time(predict):
    base = predict(LATENTS, ACTIONS)
    for latents, actions in (
        (LATENTS.at[:, 1].add(1.0), ACTIONS),
        (LATENTS, ACTIONS.at[:, 1].add(1.0)),
    ):
        moved = jnp.abs(predict(latents, actions) - base).max((0, 2))
        assert moved[0] < 1e-5
        assert bool((moved[1:] > 1e-3).all())


def test_at_first_actions_change_nothing_and_the_gates_open_with_a_gradient():
    model = make()

    @nnx.jit
    def both(model, actions):
        def loss(model):
            return jnp.square(model(LATENTS, actions) - 1).mean()

        return model(LATENTS, actions), nnx.grad(loss)(model)

    found, gradient = both(model, ACTIONS)
    other, _ = both(model, ACTIONS + 1)
    np.testing.assert_allclose(found, other, atol=1e-6)
    assert float(jnp.abs(gradient.blocks[0].modulation.kernel[...]).max()) > 0


def test_dropout_is_keyed_by_example_and_off_in_evaluation():
    graph, params, rest = random_variables(functools.partial(make, dropout_rate=0.5))
    keys = jax.random.split(jax.random.key(0), 4)

    @functools.partial(jax.jit, static_argnames="train")
    def call(latents, actions, keys, train):
        # With statistics that are not those of the batch: dropout alone is asked about.
        model = nnx.merge(graph, params, rest, copy=True)
        model.head = lambda x, *, train: x[:, :6]
        return model(latents, actions, train=train, keys=keys)

    whole = call(LATENTS, ACTIONS, keys, True)
    part = call(LATENTS[2:], ACTIONS[2:], keys[2:], True)
    np.testing.assert_allclose(whole[2:], part, atol=1e-5)
    off = call(LATENTS, ACTIONS, keys, False)
    assert float(jnp.abs(whole - off).max()) > 1e-2
    np.testing.assert_allclose(off, call(LATENTS, ACTIONS, None, False), atol=1e-6)
    with pytest.raises(ValueError, match="keys must hold one key an example"):
        call(LATENTS, ACTIONS, None, True)


def test_a_sequence_longer_than_the_history_is_refused():
    with pytest.raises(ValueError, match="latents must be at most history=3, got 4"):
        jax.eval_shape(make(), jnp.ones((1, 4, 6)), jnp.ones((1, 4, 2)))


@pytest.mark.parametrize("seen", [1, 2, 3, 5])
def test_imagination_is_the_rollout_one_step_after_the_other(predict, seen):
    rng = np.random.default_rng(seen)
    context = jnp.asarray(rng.normal(size=(seen, 6)), jnp.float32)
    past = jnp.asarray(rng.normal(size=(seen - 1, 2)), jnp.float32)
    plans = jnp.asarray(rng.normal(size=(2, 5, 2)), jnp.float32)
    found = imagine(predict, context, past, plans)
    for plan, rolled in zip(plans, found, strict=True):
        latents, actions = list(context), list(past)
        for step, action in enumerate(plan):
            actions.append(action)
            window = min(3, len(latents))
            ahead = predict(jnp.stack(latents[-window:])[None], jnp.stack(actions[-window:])[None])[
                0, -1
            ]
            np.testing.assert_allclose(rolled[step], ahead, rtol=1e-4, atol=1e-4)
            latents.append(ahead)


@pytest.mark.usefixtures("unchecked")
def test_imagination_wants_one_action_between_two_latents(predict):
    with pytest.raises(ValueError, match="must be one less than the 2 context_latents, got 0"):
        imagine(predict, LATENTS[0, :2], jnp.zeros((0, 2)), ACTIONS)
