import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lejepa_jax.nn import ViT
from lejepa_jax.nn.convolutions.residual_network import ResNet
from lejepa_jax.nn.fields import Field
from lejepa_jax.nn.spectrogram import SpectrogramEncoder, log_mel, mel_filters

RATE, WINDOW, HOP, BANDS = 8000.0, 64, 32, 10
OPTIONS = {"sample_rate": RATE, "window": WINDOW, "hop": HOP, "num_bands": BANDS}


def tone(hertz, count=640):
    return np.sin(2 * np.pi * hertz * np.arange(count) / RATE).astype(np.float32)


def test_it_is_what_numpy_computes_frame_by_frame():
    samples = np.random.default_rng(0).normal(size=640).astype(np.float32)
    found = np.asarray(
        log_mel(jnp.asarray(samples)[None, :, None], center="none", **OPTIONS).values
    )
    hann = np.hanning(WINDOW + 1)[:-1]
    expected = []
    for start in range(0, 640 - WINDOW + 1, HOP):
        power = np.abs(np.fft.rfft(samples[start : start + WINDOW] * hann)) ** 2 / WINDOW
        expected.append(np.log(power @ mel_filters(BANDS, WINDOW, RATE) + 1e-5))
    np.testing.assert_allclose(found[0], np.array(expected), rtol=1e-4, atol=1e-4)


def test_a_tone_is_loudest_in_its_own_band_and_loudness_is_taken_away():
    filters = mel_filters(BANDS, WINDOW, RATE)
    for band in (2, 5, 8):
        hertz = filters[:, band].argmax() * RATE / WINDOW
        found = log_mel(jnp.asarray(tone(hertz))[None, :, None], **OPTIONS)
        assert np.asarray(found.values).mean((0, 1)).argmax() == band
    noise = jnp.asarray(np.random.default_rng(1).normal(size=(1, 640, 1)), jnp.float32)
    quiet, loud = (np.asarray(log_mel(f * noise, **OPTIONS).values) for f in (1.0, 5.0))
    np.testing.assert_allclose(quiet, loud, atol=1e-2)


def test_frames_of_padding_are_missing_and_change_nothing():
    noise = np.random.default_rng(1).normal(size=(1, 640, 1)).astype(np.float32)
    padded = np.concatenate([noise, np.zeros_like(noise)], 1)
    measure = jnp.concatenate([jnp.ones((1, 640)), jnp.zeros((1, 640))], 1)
    alone = log_mel(jnp.asarray(noise), **OPTIONS)
    found = log_mel(Field(jnp.asarray(padded), measure), **OPTIONS)
    frames = alone.values.shape[1]
    np.testing.assert_allclose(found.values[:, :frames], alone.values, atol=2e-3)
    assert (np.asarray(found.values[:, frames + 1 :]) == 0).all()
    assert (np.asarray(found.measure[:, frames + 1 :]) == 0).all()


@pytest.mark.parametrize("as_plane", [False, True])
def test_an_encoder_behind_it_gets_series_of_bands_or_planes(as_plane):
    vit = functools.partial(
        ViT, num_axes=1, width=8, depth=1, num_heads=2, patch_size=4, image_size=16, pooling="mean"
    )
    net = functools.partial(ResNet, stage_sizes=(1,), width=4, stem="small")
    model = SpectrogramEncoder(
        net if as_plane else vit, as_plane=as_plane, rngs=nnx.Rngs(0), **OPTIONS
    )
    samples = jnp.ones((2, 32 * 17, 1))
    assert jax.eval_shape(lambda x: model(x), samples).shape == (2, model.features)
    field = Field(samples, jnp.ones(samples.shape[:2]))
    assert jax.eval_shape(lambda x: model(x), field).shape == (2, model.features)


def test_refusals(unchecked):
    with pytest.raises(ValueError, match="window must be a multiple of hop=48"):
        log_mel(jnp.ones((1, 640, 1)), **OPTIONS | {"hop": 48})
    with pytest.raises(ValueError, match="series must have at least 64 samples, got 10"):
        log_mel(jnp.ones((1, 10, 1)), **OPTIONS)
