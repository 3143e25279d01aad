"""Isolated channels: a part of them, in any order, and what is missing is not seen."""

import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.nn.fields import Field
from tests.lejepa_jax.nn.fields_test import apply, make, values

SHAPE = (4, 6)
OPTIONS = {"in_channels": 3, "isolated_channels": True, "num_registers": 1}


@pytest.fixture(scope="module")
def model():
    return make(2, **OPTIONS)


@pytest.fixture(scope="module")
def field():
    x = values(SHAPE, channels=3)
    return Field(x, jnp.ones(x.shape[:-1]), jnp.ones(x.shape))


def without(field, channel, value=0.0):
    """The field without a channel, which holds some value."""
    own = field.channel_measure.at[..., channel].set(0.0)
    return Field(field.values.at[..., channel].set(value), own.mean(-1), own)


def part(field, *channels):
    """Some channels of the field, with their numbers."""
    number = jnp.tile(jnp.array(channels), (2, 1))
    x, own = (part[..., jnp.array(channels)] for part in (field.values, field.channel_measure))
    return Field(x, own.mean(-1), own, number)


@pytest.mark.parametrize("method", ["__call__", "tokens"])
def test_a_missing_channel_changes_nothing_whatever_it_holds(model, field, method):
    first, second = (apply(model, without(field, 1, x), method) for x in (0.0, 9.0))
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert np.abs(first - apply(model, field, method)).max() > 1e-3


@pytest.mark.parametrize("method", ["__call__", "tokens"])
def test_the_order_of_channels_does_not_matter_given_their_numbers(model, field, method):
    expected = apply(model, field, method)
    np.testing.assert_allclose(apply(model, part(field, 2, 0, 1), method), expected, atol=1e-5)
    np.testing.assert_allclose(apply(model, field.values, method), expected, atol=1e-5)
    turned = Field(part(field, 2, 0, 1).values, field.measure, field.channel_measure)
    assert np.abs(apply(model, turned, method) - expected).max() > 1e-3  # codes tell them apart


@pytest.mark.parametrize("method", ["__call__", "tokens"])
def test_a_part_of_the_channels_is_all_of_them_with_the_others_missing(model, field, method):
    few = apply(model, part(field, 2, 0), method)
    np.testing.assert_allclose(few, apply(model, without(field, 1), method), atol=1e-5)
    unknown = part(field, 2, 0, 1)._replace(channels=jnp.tile(jnp.array([2, 0, -1]), (2, 1)))
    np.testing.assert_allclose(apply(model, unknown, method), few, atol=1e-5)


def test_an_encoder_that_mixes_channels_sees_the_mean_of_those_it_is_not_given(field):
    model = make(2, in_channels=3)
    expected = apply(model, field.values.at[..., 1].set(0.0))
    np.testing.assert_allclose(apply(model, part(field, 2, 0)), expected, atol=1e-5)


def test_kept_patches_come_with_all_their_channels(model, field):
    every = jnp.tile(jnp.arange(6), (2, 1))
    whole, tokens = model.features_and_tokens(field, kept=every)
    np.testing.assert_allclose(whole, apply(model, field), atol=1e-5)
    np.testing.assert_allclose(tokens, apply(model, field, "tokens"), atol=1e-5)
    few, tokens = model.features_and_tokens(field, kept=every[:, 1:3])
    assert few.shape == (2, 24)
    assert tokens.shape == (2, 2, 24)


def test_frames_see_all_channels_of_theirs_and_none_of_what_comes_later(field):
    model = make(2, **OPTIONS, causal=True)
    later = field._replace(values=field.values.at[:, 2:].add(1.0))
    before, after = (apply(model, x, "tokens") for x in (field, later))
    np.testing.assert_allclose(before[:, :3], after[:, :3], atol=1e-6)
    other = field._replace(values=field.values.at[:, :2, :2, 2].add(1.0))
    assert (np.abs(apply(model, other, "tokens") - before).max((0, 2)) > 1e-4).all()


def test_other_channels_without_their_numbers_are_refused(model, field, unchecked):
    with pytest.raises(ValueError, match="images must have 3 channels"):
        model(field.values[..., :2])
