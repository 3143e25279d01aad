"""The regularizer of a pretraining task, and the one on tokens beside it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.augment import digits_view
from lejepa_jax.nn import ResNet, ViT
from lejepa_jax.objectives.regularizers import covariance, visreg
from lejepa_jax.objectives.token_clouds import choose_positions, regularize_tokens
from lejepa_jax.tasks import PretrainingConfig, lejepa_pretraining
from tests.lejepa_jax.tasks.steps import KEY, assert_alike_on_devices, one_step

TINY = functools.partial(ViT, width=12, depth=1, num_heads=2, patch_size=4, image_size=8)
CONFIG = functools.partial(
    PretrainingConfig,
    image_size=8,
    encoder=TINY,
    views=(digits_view(1, 8), digits_view(2, 12)),
    num_global=1,
    embedding_features=4,
    hidden_features=8,
    num_slices=4,
    trade_off=0.25,
    regularizer="visreg(shape='epps_pulley')",
    token_weight=0.5,
    token_positions=3,
)


@pytest.fixture(scope="module")
def one_device():
    return one_step(lejepa_pretraining(CONFIG(), channels=1))


def test_tokens_are_regularized_beside_the_pooled_vector(one_device):
    task, variables, _, (value, metrics, gradient, outputs) = one_device
    tokens = outputs["tokens"]
    # One view of 2 x 2 patches, two of 3 x 3.
    assert [group.shape for group in tokens] == [(8, 1, 4, 12), (8, 2, 9, 12)]
    own = functools.partial(
        visreg, shape=CONFIG().make_regularizer().keywords["shape"], num_slices=4
    )
    layer = variables.params["token_projector"]["last"]

    @jax.jit
    def by_hand(tokens):
        values = []
        slice_key = jax.random.split(KEY)[1]
        for number, group in enumerate(tokens):
            key = jax.random.fold_in(jax.random.fold_in(slice_key, 1), number)
            choice_key, own_key = jax.random.split(key)
            chosen = choose_positions(choice_key, group, 3)
            mapped = (
                jnp.einsum("bvnc,cd->bvnd", chosen, layer["kernel"])
                + layer["bias"][None, None, None]
            )
            values.append(regularize_tokens(own_key, mapped, own))
        return (values[0] + 2 * values[1]) / 3

    np.testing.assert_allclose(metrics["token_regularizer"], by_hand(tokens), rtol=1e-4)
    expected = 0.75 * metrics["prediction"] + 0.25 * metrics["regularizer"]
    expected += 0.25 * 0.5 * metrics["token_regularizer"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert float(jnp.abs(gradient["token_projector"]["last"]["kernel"]).max()) > 0
    assert {"token_regularizer", "regularizer", "regularizer_ratio"} <= {*task.metrics}


def test_a_cloud_of_tokens_is_what_examples_have_at_one_position_of_one_view():
    tokens = jax.random.normal(KEY, (6, 2, 3, 4))

    @jax.jit
    def both(tokens, clouds, mask):
        values = [covariance(KEY, cloud, mask=mask) for cloud in clouds]
        return regularize_tokens(KEY, tokens, covariance, mask=mask), sum(values) / 6

    clouds = [tokens[:, view, place] for view in range(2) for place in range(3)]
    np.testing.assert_allclose(*both(tokens, clouds, jnp.arange(6) < 5), rtol=1e-5)


def test_the_loss_and_its_gradient_do_not_depend_on_the_number_of_devices(one_device):
    _, variables, batch, (*expected, _) = one_device
    task = lejepa_pretraining(CONFIG(), channels=1, axis_name="data")
    assert_alike_on_devices(task, variables, batch, expected)


def test_without_weight_there_are_no_tokens_and_no_map_of_them():
    task = lejepa_pretraining(CONFIG(token_weight=0.0), channels=1)
    assert "token_projector" not in jax.eval_shape(task.init, KEY).params
    assert "token_regularizer" not in task.metrics


def test_an_encoder_without_tokens_and_a_wrong_weight_are_refused():
    tiny = functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small")
    with pytest.raises(ValueError, match="token_weight must be 0 with an encoder"):
        lejepa_pretraining(CONFIG(encoder=tiny), channels=1)
    with pytest.raises(ValueError, match="token_weight must not be negative, got -1"):
        CONFIG(token_weight=-1.0)
    with pytest.raises(ValueError, match="num_positions must be positive, got 0"):
        choose_positions(KEY, jnp.zeros((2, 1, 4, 3)), 0)


def test_a_part_of_the_tokens_trains_alike_on_every_number_of_devices():
    config = CONFIG(token_weight=0.0, keep_tokens=0.5, views=(digits_view(2, 12),))
    _, variables, batch, (*expected, _) = one_step(lejepa_pretraining(config, channels=1))
    whole = lejepa_pretraining(dataclasses.replace(config, keep_tokens=1.0), channels=1)

    @jax.jit
    def loss(params, state):
        outputs, _ = whole.encode(params, state, KEY, batch)
        return whole.loss(params, state, KEY, outputs, batch)[0]

    assert abs(loss(*variables) - expected[0]) > 1e-4
    task = lejepa_pretraining(config, channels=1, axis_name="data")
    assert_alike_on_devices(task, variables, batch, expected)


def test_tokens_are_dropped_by_encoders_that_can_and_not_beside_their_regularizer():
    tiny = functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small")
    with pytest.raises(ValueError, match="keep_tokens must be 1 with an encoder that cannot"):
        lejepa_pretraining(CONFIG(encoder=tiny, token_weight=0.0, keep_tokens=0.5), channels=1)
    with pytest.raises(ValueError, match="token_weight must be 0 where tokens are dropped"):
        CONFIG(keep_tokens=0.5)
    with pytest.raises(ValueError, match="keep_tokens must be above 0 and at most 1, got 0"):
        CONFIG(token_weight=0.0, keep_tokens=0.0)


def test_the_features_and_tokens_of_one_pass_are_those_of_two():
    from flax import nnx

    @jax.jit
    def both(images):
        encoder = TINY(in_channels=1, rngs=nnx.Rngs(0))
        return encoder.features_and_tokens(images), (encoder(images), encoder.tokens(images))

    found, expected = both(jax.random.normal(KEY, (2, 8, 12, 1)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), found, expected)
