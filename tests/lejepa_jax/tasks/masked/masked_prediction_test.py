"""Masked prediction: its formula, its gradient, and the same on every number of devices."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from lejepa_jax.augment import digits_view
from lejepa_jax.nn import ResNet, ViT
from lejepa_jax.tasks.masked import MaskedPredictionConfig, masked_prediction_task
from tests.lejepa_jax.tasks.steps import KEY, assert_alike_on_devices, make_step, one_step

TINY = functools.partial(
    ViT, width=12, depth=1, num_heads=2, patch_size=2, image_size=8, pooling="mean"
)
CONFIG = functools.partial(
    MaskedPredictionConfig,
    image_size=8,
    encoder=TINY,
    views=(digits_view(1, 8),),
    embedding_features=4,
    hidden_features=8,
    projector_layers=1,
    num_slices=4,
    trade_off=0.25,
    token_weight=0.5,
    token_positions=3,
    pooled_weight=2.0,
    num_blocks=1,
    block_scale=(0.25, 0.25),
    block_ratio=(1.0, 1.0),
    predictor_width=8,
    predictor_depth=1,
    predictor_heads=2,
)


@pytest.fixture(scope="module")
def one_device():
    return one_step(masked_prediction_task(CONFIG(), channels=1))


def test_the_loss_is_its_formula(one_device):
    task, _, _, (value, metrics, _, outputs) = one_device
    errors, counts = np.asarray(outputs["errors"]), np.asarray(outputs["counts"])
    assert outputs["features"].shape == (8, 12)
    assert outputs["tokens"].shape == (8, 16, 4)
    assert errors.shape == counts.shape == (8, 10)  # 6 of 16 tokens are seen
    np.testing.assert_array_equal(counts.sum(1), 4)  # one block of 2 x 2, of which none is seen
    np.testing.assert_allclose(metrics["prediction"], errors[counts].mean(), rtol=1e-5)
    spread = 2 * metrics["sigreg"] + 0.5 * metrics["token_regularizer"]
    np.testing.assert_allclose(value, 0.75 * metrics["prediction"] + 0.25 * spread, rtol=1e-5)
    assert set(metrics) <= set(task.metrics)


def test_the_loss_and_its_gradient_do_not_depend_on_the_number_of_devices(one_device):
    _, variables, batch, (*expected, _) = one_device
    task = masked_prediction_task(CONFIG(), channels=1, axis_name="data")
    assert_alike_on_devices(task, variables, batch, expected)


def test_the_gradient_reaches_the_targets_and_a_projector_that_does_not_count_is_left(one_device):
    _, variables, batch, _ = one_device
    config = CONFIG(trade_off=0.0, pooled_weight=0.0)
    step = jax.jit(make_step(masked_prediction_task(config, channels=1)))
    value, metrics, gradient, _ = step(variables, KEY, batch)
    np.testing.assert_allclose(value, metrics["prediction"])
    assert "sigreg" not in metrics
    # Only the targets go through this map.
    assert np.abs(gradient["token_projector"]["last"]["kernel"]).max() > 1e-3
    assert not np.any(gradient["projector"]["last"]["kernel"])
    assert np.abs(gradient["predictor"]["mask_token"]).max() > 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": (digits_view(2, 8),)}, "views must be one view"),
        ({"lidar_examples": 5}, "lidar_examples must be 0"),
        ({"token_weight": 0.0}, "token_weight must be positive, got 0"),
        ({"pooled_weight": -1.0}, "pooled_weight must not be negative, got -1"),
        ({"keep_tokens": 0.5, "token_weight": 0.0}, "keep_tokens must be 1"),
        ({"context_tokens": 1.0}, "context_tokens must be between 0 and 1, got 1"),
        ({"predictor_depth": 0}, "predictor_depth must be positive"),
        ({"predictor_width": 10}, "predictor_width must be divisible by 4 and by predictor_heads"),
        ({"block_scale": (0.5, 0.2)}, "scale must be an ascending range above 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CONFIG(**options)


def test_an_encoder_that_cannot_say_where_its_tokens_are_is_refused():
    tiny = functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small")
    config = dataclasses.replace(CONFIG(), encoder=tiny)
    with pytest.raises(ValueError, match="encoder must give the tokens of a part"):
        masked_prediction_task(config, channels=1)
