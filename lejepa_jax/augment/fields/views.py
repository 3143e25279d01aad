r"""Random views of series, planes, volumes and spheres, made on the device under `jit`.

Values are normalized in float32, and what is missing (NaN, padding) has no weight wherever values
are mixed; it is missing in the view as well. Everything random about view :math:`v` of example
:math:`i` comes from `fold_in(keys[i], v)`, and each operation has a key of its own below that: an
option changes nothing but itself.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lejepa_jax.augment.draws import between
from lejepa_jax.augment.fields.specs import OPERATIONS, FieldView
from lejepa_jax.augment.fields.sphere import cells_of, random_turn, read_sphere
from lejepa_jax.augment.fields.windows import (
    blur_rows,
    draw_windows,
    read_windows,
    whole_windows,
)
from lejepa_jax.data.fields.normalization import Normalization
from lejepa_jax.nn.fields import Field

# Each operation draws from a key of its own.
_NUMBERS = {name: number for number, name in enumerate(OPERATIONS)}


def make_field_views(
    keys: Key[Array, " b"],
    values: Array,
    extent: Array,
    specs: Sequence[FieldView],
    normalization: Normalization,
) -> tuple[Field, ...]:
    """Draw random views of every field.

    Args:
        keys: One an example, from `example_keys`.
        values: As a `FieldSource` gives them (b *space c).
        extent: Samples of each along each axis (b rank).
        specs: What to draw.
        normalization: Of the channels.

    Returns:
        For each specification its views: values (v b *size c), zero where they are missing, and the
        part of the channels of each sample that exist (v b *size), of several channels also which
        (v b *size c).

    Raises:
        ValueError: If the options do not fit the fields.

    Examples:
        >>> from lejepa_jax.augment.draws import example_keys
        >>> keys = example_keys(jax.random.key(0), jnp.arange(3))
        >>> own = Normalization(mean=(0.0,), std=(1.0,), low=(-1.0,), high=(1.0,))
        >>> view = FieldView(2, 8, fit="pad", scale=(0.5, 1.0))
        >>> views, = make_field_views(
        ...     keys, jnp.ones((3, 16, 1)), jnp.full((3, 1), 10), (view,), own)
        >>> views.values.shape, views.measure.shape
        ((2, 3, 8, 1), (2, 3, 8))
    """
    rank = values.ndim - 2
    if keys.shape != values.shape[:1]:
        raise ValueError(f"keys must hold one key a field, {values.shape[:1]}, got {keys.shape}")
    if not specs:
        raise ValueError("specs must hold at least one FieldView, got none")
    if len(normalization.mean) != values.shape[-1]:
        raise ValueError(
            f"normalization is of {len(normalization.mean)} channels, got {values.shape[-1]}"
        )
    x, exists = normalization.apply(values, extent)
    outputs, first = [], 0
    for spec in specs:
        numbers = jnp.arange(first, first + spec.count, dtype=jnp.uint32)
        one = partial(_view, spec, spec.sides(rank), normalization)
        one_field = jax.vmap(one, (None, 0, None, None, None))
        found, exists_in = jax.vmap(one_field, (0, None, 0, 0, 0), out_axes=1)(
            keys, numbers, x, exists, extent.astype(jnp.float32)
        )
        outputs.append(_field(found, exists_in))
        first += spec.count
    return tuple(outputs)


def eval_field(
    values: Array,
    extent: Array,
    size: int | tuple[int, ...],
    normalization: Normalization,
    *,
    fit: Any = "resize",
    turns: Float[Array, "b 3 3"] | None = None,
    channels: Int[Array, "b c"] | None = None,
) -> Field:
    """Make what an encoder sees of fields in evaluation: all of them, nothing random.

    Args:
        values: As for `make_field_views`.
        extent: Likewise.
        size: Samples along each axis.
        normalization: Of the channels.
        fit: "resize" reads the whole field at `size` places, "pad" keeps the distance of samples:
            a shorter field lies in the middle, of a longer one the middle is seen; "sphere" reads
            it at the cells of a HEALPix grid.
        turns: Rotations of spheres; as they are by default.
        channels: Number of each channel among those of `normalization`; None for all, in order.

    Returns:
        Values (b *size c) and their measure (b *size), of several channels that of each, too.

    Examples:
        >>> own = Normalization(mean=(0.0,), std=(1.0,), low=(-1.0,), high=(1.0,))
        >>> found = eval_field(jnp.arange(4.0)[None, :, None], jnp.array([[3]]), 5, own, fit="pad")
        >>> found.values[0, :, 0].tolist(), found.measure[0].tolist()
        ([0.0, 0.0, 1.0, 2.0, 0.0], [0.0, 1.0, 1.0, 1.0, 0.0])
    """
    rank = values.ndim - 2
    sides = FieldView(1, size, fit=fit).sides(rank)
    x, exists = normalization.apply(values, extent, channels)
    if fit == "sphere":
        turns = jnp.broadcast_to(jnp.eye(3), (len(x), 3, 3)) if turns is None else turns
        read = partial(read_sphere, num_sides=cells_of(sides[0]))
        found, there = jax.vmap(read)(x, exists, turns)
        return _field(found, there, channels)

    def one(x, exists, extent):
        return read_windows(x, exists, whole_windows(extent, sides, fit), sides)

    found, there = jax.vmap(one)(x, exists, extent.astype(jnp.float32))
    return _field(found, there, channels)


def _field(values: Array, exists: Array, channels: Array | None = None) -> Field:
    """Make a field of values and of the part of each that exists."""
    own = exists if exists.shape[-1] > 1 else None
    return Field(values, exists.mean(-1), own, channels)


def _view(spec: FieldView, sides: tuple[int, ...], normalization: Normalization, *given):
    """View `number` of one field: values, and which of them exist."""
    key, number, x, exists, extent = given
    key = jax.random.fold_in(key, number)
    keys = {name: partial(jax.random.fold_in, key, number) for name, number in _NUMBERS.items()}
    if spec.fit == "sphere":
        turn = random_turn(keys["rotation"](), spec.rotation)
        x, exists = read_sphere(x, exists, turn, cells_of(sides[0]))
    else:
        windows = draw_windows(keys["scale"](), extent, sides, spec)
        x, exists = read_windows(x, exists, windows, sides)
    x, exists = _turned(spec, keys, x, exists)
    x = _recolored(spec, keys, x, normalization)
    if spec.equalizer > 0:
        x = _equalized(spec, keys["equalizer"](), x)
    if spec.blur[1] > 0:
        sigma = between(jax.random.uniform(keys["blur"](), (), jnp.float32), spec.blur)
        pair = jnp.concatenate([x * exists, exists], -1)
        for axis, size in enumerate(sides):
            pair = jnp.moveaxis(
                jnp.tensordot(blur_rows(sigma, size), pair, ((1,), (axis,))), 0, axis
            )
        weight = pair[..., x.shape[-1] :]
        x = pair[..., : x.shape[-1]] / jnp.where(weight > 1e-3, weight, 1.0)
    if spec.noise > 0:
        level_key, noise_key = jax.random.split(keys["noise"]())
        level = spec.noise * jax.random.uniform(level_key, (), jnp.float32)
        x = x + level * jax.random.normal(noise_key, x.shape, jnp.float32)
    exists = _dropped(spec, keys, exists, sides)
    x = jnp.where(exists > 0, x, 0.0)
    return x, exists


def _turned(spec: FieldView, keys, x, exists):
    """Mirror and turn values and what exists of them alike."""
    rank = x.ndim - 1
    both = jnp.concatenate([x, exists], -1)
    flips = spec.flip if isinstance(spec.flip, tuple) else (spec.flip,) * rank
    if any(flips):
        draws = jax.random.uniform(keys["flip"](), (rank,), jnp.float32)
        for axis, probability in enumerate(flips):
            if probability > 0:
                mirrored = jnp.flip(both, axis)
                both = jnp.where(draws[axis] < probability, mirrored, both)
    if spec.turn > 0:
        whether, which = jax.random.uniform(keys["turn"](), (2,), jnp.float32)
        axes = (rank - 2, rank - 1)
        turned = jnp.stack([jnp.rot90(both, k, axes) for k in range(4)])
        quarter = 1 + jnp.floor(3 * which).astype(jnp.int32)
        both = turned[jnp.where(whether < spec.turn, quarter, 0)]
    return both[..., : x.shape[-1]], both[..., x.shape[-1] :]


def _recolored(spec: FieldView, keys, x, normalization: Normalization):
    """Gamma, gains, offset and sign, each of which acts on every sample alike."""
    channels = x.shape[-1]
    along = (1,) * (x.ndim - 1) + (channels,)

    def drawn(name: str, bounds: tuple[float, float], shape: tuple[int, ...]):
        low, high = (math.log(float(b)) for b in bounds)
        u = jax.random.uniform(keys[name](), shape, jnp.float32)
        return jnp.exp(low + (high - low) * u).reshape(along if shape else ())

    if spec.gamma != (1.0, 1.0):
        mean, std = np.asarray(normalization.mean), np.asarray(normalization.std)
        low = (np.asarray(normalization.low) - mean) / std
        reach = np.maximum((np.asarray(normalization.high) - mean) / std - low, 1e-6)
        low, reach = (jnp.asarray(a, jnp.float32).reshape(along) for a in (low, reach))
        unit = jnp.clip((x - low) / reach, 1e-6, 1.0)
        x = low + reach * unit ** drawn("gamma", spec.gamma, ())
    if spec.gain != (1.0, 1.0):
        x = x * drawn("gain", spec.gain, ())
    if spec.channel_gain != (1.0, 1.0):
        x = x * drawn("channel_gain", spec.channel_gain, (channels,))
    if spec.offset > 0:
        shift = jax.random.normal(keys["offset"](), (channels,), jnp.float32)
        x = x + spec.offset * shift.reshape(along)
    if spec.polarity > 0:
        u = jax.random.uniform(keys["polarity"](), (), jnp.float32)
        x = jnp.where(u < spec.polarity, -x, x)
    return x


def _equalized(spec: FieldView, key, x):
    """Filter a series by gains that are smooth in frequency, from nothing to the highest."""
    size = x.shape[0]
    frequencies = size // 2 + 1
    knots = spec.equalizer * jax.random.normal(key, (spec.equalizer_bands + 1,), jnp.float32)
    place = np.linspace(0, spec.equalizer_bands, frequencies)
    left = np.minimum(place.astype(int), spec.equalizer_bands - 1)
    part = jnp.asarray(0.5 - 0.5 * np.cos(np.pi * (place - left)), jnp.float32)
    decibel = knots[left] * (1 - part) + knots[left + 1] * part
    spectrum = jnp.fft.rfft(x, axis=0)
    gains = (10 ** (decibel / 20))[:, None].astype(spectrum.dtype)
    return jnp.fft.irfft(spectrum * gains, n=size, axis=0)


def _dropped(spec: FieldView, keys, exists, sides: tuple[int, ...]) -> Float[Array, "*size c"]:
    channels = exists.shape[-1]
    if spec.channel_drop > 0 and channels > 1:
        u = jax.random.uniform(keys["channel_drop"](), (channels,), jnp.float32)
        # The one with the largest number stays, whatever it is.
        kept = (u >= spec.channel_drop) | (u == u.max())
        exists = exists * kept.astype(jnp.float32).reshape((1,) * len(sides) + (-1,))
    if spec.erase[1] > 0:
        draws = jax.random.uniform(keys["erase"](), (spec.erase_count, 2, len(sides)), jnp.float32)
        for widths, places in draws:
            box = jnp.ones((1,) * len(sides), bool)
            for axis, size in enumerate(sides):
                width = between(widths[axis], spec.erase) * size
                start = places[axis] * (size - width)
                place = jnp.arange(size, dtype=jnp.float32) + 0.5
                inside = (place > start) & (place < start + width)
                shape = [1] * len(sides)
                shape[axis] = size
                box = box & inside.reshape(shape)
            exists = jnp.where(box[..., None], 0.0, exists)
    return exists
