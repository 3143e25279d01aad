"""Log-mel spectrograms of series, and an encoder that looks at them."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lejepa_jax.checks import check_choice
from lejepa_jax.nn.fields import Field, Values, values_of
from lejepa_jax.nn.layers import check_images, check_sizes
from lejepa_jax.statistics.reductions import AxisName

Center = Literal["example", "band", "none"]
_FLOOR = 1e-5


def mel_filters(
    num_bands: int, window: int, sample_rate: float, low: float = 50.0
) -> Float[np.ndarray, "f {num_bands}"]:
    r"""Triangular filters at equal distances on the mel scale, :math:`1127 \ln(1 + f / 700)`.

    Args:
        num_bands: How many.
        window: Samples of a frame.
        sample_rate: Samples a second.
        low: Lowest frequency in hertz; the highest is half the sample rate.

    Returns:
        Weights of the frequencies of a frame, each band's summing to 1.

    Examples:
        >>> mel_filters(4, 64, 8000.0).shape
        (33, 4)

    References:
        D. O'Shaughnessy, "Speech Communication", 1987, p. 150 (the scale).
    """

    def mel(hertz: Any) -> Any:
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mel(low), mel(sample_rate / 2), num_bands + 2)
    places = mel(np.arange(window // 2 + 1) * sample_rate / window)[:, None]
    rise = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    weights = np.maximum(np.minimum(rise, fall), 0)
    # A band that is narrower than the distance of two frequencies takes the one nearest to it.
    nearest = np.abs(places - edges[1:-1]).argmin(0)
    empty = weights.sum(0) == 0
    weights[nearest[empty], np.flatnonzero(empty)] = 1
    return (weights / weights.sum(0)).astype(np.float32)


def log_mel(
    samples: Values | Field,
    *,
    sample_rate: float,
    window: int = 256,
    hop: int = 128,
    num_bands: int = 40,
    center: Center = "example",
) -> Field:
    r"""Compute the logarithm of the power in bands of equal width on the mel scale.

    Frames of `window` samples under a Hann window, `hop` apart, whole ones only; their power
    spectrum through `mel_filters`; :math:`\ln(p + 10^{-5})`; then centered and divided by the
    standard deviation over all bands and frames that exist.

    Args:
        samples: Series, or a `Field` of them.
        sample_rate: Samples a second.
        window: Samples of a frame, a multiple of `hop`.
        hop: Samples from one frame to the next.
        num_bands: Bands.
        center: What is subtracted: the mean of the "example", which takes its loudness away, that
            of each "band", which takes the color of microphone and room away as well, or "none",
            where nothing is divided either.

    Returns:
        Values (b frames c * num_bands), and as the measure of a frame the part of its samples that
        exist.

    Raises:
        ValueError: If sizes do not fit.

    Examples:
        >>> log_mel(jnp.ones((2, 1024, 1)), sample_rate=8000.0).values.shape
        (2, 7, 40)

    References:
        S. Davis, P. Mermelstein, "Comparison of parametric representations for monosyllabic word
        recognition", IEEE Trans. ASSP 28, 1980 (mel bands; here without the cosine transform).
    """
    check_sizes(window=window, hop=hop, num_bands=num_bands)
    check_choice("center", center, ("example", "band", "none"))
    if window % hop:
        raise ValueError(f"window must be a multiple of hop={hop}, got {window}")
    values = values_of(samples).astype(jnp.float32)
    if values.shape[1] < window:
        raise ValueError(f"series must have at least {window} samples, got {values.shape[1]}")
    measure = samples.measure if isinstance(samples, Field) else None
    frames = _frames(values, window, hop)  # b f window c
    hann = jnp.asarray(np.hanning(window + 1)[:-1], jnp.float32)
    spectrum = jnp.fft.rfft(frames * hann[None, None, :, None], axis=2)
    power = (jnp.square(spectrum.real) + jnp.square(spectrum.imag)) / window
    filters = jnp.asarray(mel_filters(num_bands, window, sample_rate))
    bands = jnp.einsum("bfwc,wm->bfcm", power, filters)
    logs = jnp.log(bands + _FLOOR)
    if measure is None:
        share = jnp.ones(logs.shape[:2], jnp.float32)
    else:
        share = _frames(measure[..., None].astype(jnp.float32), window, hop).mean((2, 3))
    there = (share > 0.5).astype(jnp.float32)[:, :, None, None]
    if center != "none":
        total = jnp.maximum(there.sum(1, keepdims=True), 1.0)
        mean = (logs * there).sum(1, keepdims=True) / total
        if center == "example":
            mean = mean.mean((2, 3), keepdims=True)
        logs = (logs - mean) * there
        variance = (jnp.square(logs).sum(1, keepdims=True) / total).mean((2, 3), keepdims=True)
        logs = logs / jnp.sqrt(variance + 1e-4)
    logs = logs * there
    return Field(logs.reshape(*logs.shape[:2], -1), share * there[:, :, 0, 0])


def _frames(x: Array, window: int, hop: int) -> Array:
    """Cut a series into overlapping frames (b f window c), without a copy for each sample."""
    count = x.shape[1] // hop
    pieces = x[:, : count * hop].reshape(x.shape[0], count, hop, x.shape[2])
    number = count - window // hop + 1
    return jnp.concatenate([pieces[:, i : i + number] for i in range(window // hop)], 2)


class SpectrogramEncoder(nnx.Module):
    """An encoder of log-mel spectrograms that is given series.

    Args:
        encoder: Makes the encoder of spectrograms, such as a `ViT` with `num_axes=1`, from
            `in_channels`, `dtype`, `axis_name` and `rngs`.
        sample_rate: See `log_mel`, as are the next.
        window: Samples of a frame.
        hop: Samples from one frame to the next.
        num_bands: Bands.
        center: What is subtracted.
        as_plane: Whether the encoder gets planes (frames, bands) in place of series of bands. It
            then gets no measure, as convolutional encoders have none: what is missing is 0.
        in_channels: Channels of the series.
        dtype: Type in which the encoder computes; the spectrogram is of float32.
        axis_name: Given to the encoder.
        rngs: Source of the initial parameters.

    Examples:
        >>> from lejepa_jax.nn.transformers.vision_transformer import ViT
        >>> vit = functools.partial(ViT, num_axes=1, width=8, depth=1, num_heads=1, patch_size=2,
        ...     image_size=8, pooling="mean")
        >>> def encode(samples):
        ...     return SpectrogramEncoder(vit, sample_rate=8e3, rngs=nnx.Rngs(0))(samples)
        >>> import jax
        >>> jax.eval_shape(encode, jnp.ones((2, 1152, 1))).shape
        (2, 8)
    """

    def __init__(
        self,
        encoder: Callable[..., Any],
        *,
        sample_rate: float,
        window: int = 256,
        hop: int = 128,
        num_bands: int = 40,
        center: Center = "example",
        as_plane: bool = False,
        in_channels: int = 1,
        dtype: DTypeLike = jnp.float32,
        axis_name: AxisName | None = None,
        rngs: nnx.Rngs,
    ):
        self.in_channels, self.as_plane = in_channels, as_plane
        self.front = functools.partial(
            log_mel,
            sample_rate=sample_rate,
            window=window,
            hop=hop,
            num_bands=num_bands,
            center=center,
        )
        self.num_bands = num_bands
        inner = in_channels if as_plane else in_channels * num_bands
        self.encoder = encoder(in_channels=inner, dtype=dtype, axis_name=axis_name, rngs=rngs)
        self.features = self.encoder.features

    def front_end(self, samples: Values | Field) -> Any:
        """Compute what the inner encoder is given.

        Args:
            samples: Normalized series, or a `Field` of them.

        Returns:
            Spectrograms; with `as_plane` without their measure.
        """
        check_images(values_of(samples), self.in_channels, 1)
        found = self.front(samples)
        if not self.as_plane:
            return found if isinstance(samples, Field) else found.values
        planes = found.values.reshape(*found.values.shape[:2], self.in_channels, self.num_bands)
        return jnp.swapaxes(planes, 2, 3)

    def __call__(
        self,
        samples: Values | Field,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b d"]:
        """Encode series.

        Args:
            samples: Normalized series, or a `Field` of them.
            train: Given to the encoder.
            keys: Likewise.

        Returns:
            Features in float32.
        """
        return self.encoder(self.front_end(samples), train=train, keys=keys)

    def tokens(self, samples: Values | Field) -> Float[Array, "b n d"]:
        """Compute features of the parts, of an encoder that has them."""
        return self.encoder.tokens(self.front_end(samples))

    def features_and_tokens(
        self,
        samples: Values | Field,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> tuple[Float[Array, "b d"], Float[Array, "b n d"]]:
        """Compute what a call returns and features of the parts, of an encoder that has them."""
        found = self.front_end(samples)
        return self.encoder.features_and_tokens(found, train=train, keys=keys)

    def embeddings_and_tokens(
        self,
        samples: Values | Field,
        *,
        train: bool = False,
        keys: Key[Array, " b"] | None = None,
    ) -> tuple[Array, Array, Array]:
        """Compute tokens before and after all blocks, of an encoder that has them."""
        found = self.front_end(samples)
        return self.encoder.embeddings_and_tokens(found, train=train, keys=keys)

    def intermediate(self, samples: Values | Field, *, num_layers: int = 2) -> Float[Array, "b _"]:
        """Read the last layers, of an encoder that can."""
        return self.encoder.intermediate(self.front_end(samples), num_layers=num_layers)
