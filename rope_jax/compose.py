"""Encodings made of encodings: by heads, by channels, with unrotated tokens."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from rope_jax.encodings.encoding import Encoding, Params, Rotation, no_position

Parts = Sequence[tuple[int, Encoding]]


def _along(parts: Parts, axis: int, name: str) -> Encoding:
    """Split queries and keys along ``axis`` and give each part to its encoding."""
    sizes = [size for size, _ in parts]
    encodings = [encoding for _, encoding in parts]
    if not parts or min(sizes) < 1:
        raise ValueError(f"parts must have at least one of the {name} each, got {sizes}")
    additive = [encoding.embed is not None for encoding in encodings]

    def init(key: PRNGKeyArray) -> Params:
        keys = jax.random.split(key, len(parts))
        return tuple(encoding.init(k) for encoding, k in zip(encodings, keys, strict=True))

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> Rotation:
        return tuple(
            encoding.prepare(p, positions) for encoding, p in zip(encodings, params, strict=True)
        )

    def rotate(rotation: Rotation, x: Float[Array, "*b n h d"]) -> Float[Array, "*b n h d"]:
        if x.shape[axis] != sum(sizes):
            raise ValueError(f"x must have {sum(sizes)} {name}, got {x.shape[axis]}")
        pieces = jnp.split(x, np.cumsum(sizes)[:-1].tolist(), axis=axis)
        rotated = [
            encoding.rotate(r, piece)
            for encoding, r, piece in zip(encodings, rotation, pieces, strict=True)
        ]
        return jnp.concatenate(rotated, axis=axis)

    def embed(params: Params, positions: Num[Array, "*b n m"]) -> Float[Array, "*b n w"]:
        added = [
            encoding.embed(p, positions)
            for encoding, p in zip(encodings, params, strict=True)
            if encoding.embed is not None
        ]
        return jnp.sum(jnp.stack(added), axis=0)

    return Encoding(
        init=init, prepare=prepare, rotate=rotate, embed=embed if any(additive) else None
    )


def over_heads(parts: Parts) -> Encoding:
    """Different encodings on different heads.

    Args:
        parts: Number of heads and encoding, in the order of the heads. Each encoding was made for
            that number of heads.

    Returns:
        An encoding whose parameters are a tuple.

    Raises:
        ValueError: If a part is empty, or (in ``rotate``) the heads are not as many as the parts'.

    Examples:
        >>> import rope_jax
        >>> encoding = over_heads([(2, rope_jax.axial(12, 2)), (1, rope_jax.spherical(12, 1))])
        >>> rotation = encoding.prepare(({}, {}), jnp.ones((5, 2)))
        >>> encoding.rotate(rotation, jnp.ones((5, 3, 12))).shape
        (5, 3, 12)
    """
    return _along(parts, -2, "heads")


def over_channels(parts: Parts) -> Encoding:
    """Different encodings on different channel ranges of every head.

    Args:
        parts: Number of channels and encoding, in the order of the channels. Each encoding was made
            for that ``head_dim``.

    Returns:
        An encoding whose parameters are a tuple.

    Raises:
        ValueError: If a part is empty, or (in ``rotate``) the channels are not as many.

    Examples:
        >>> import rope_jax
        >>> triplets, pairs = rope_jax.spherical(6, 2), rope_jax.axial(4, 2)
        >>> encoding = over_channels([(6, triplets), (4, pairs)])
        >>> rotation = encoding.prepare(({}, {}), jnp.ones((3, 2)))
        >>> encoding.rotate(rotation, jnp.ones((3, 2, 10))).shape
        (3, 2, 10)
    """
    return _along(parts, -1, "channels")


def partial_rotation(
    constructor: Callable[..., Encoding],
    head_dim: int,
    num_heads: int,
    *,
    num_unrotated: int,
    num_axes: int = 2,
    **options: Any,
) -> Encoding:
    """An encoding of all but the leading channels, which carry content without a position.

    Args:
        constructor: For instance :func:`rope_jax.axial`.
        head_dim: Channels of one head.
        num_heads: Heads.
        num_unrotated: Leading channels left as they are.
        num_axes: Number of coordinates.
        **options: For the constructor.

    Returns:
        The encoding.

    Raises:
        ValueError: If nothing or everything would be rotated, or as the constructor does.

    Examples:
        >>> import rope_jax
        >>> encoding = partial_rotation(rope_jax.axial, 12, 2, num_unrotated=4)
        >>> rotation = encoding.prepare(({}, {}), jnp.ones((3, 2)))
        >>> encoding.rotate(rotation, jnp.ones((3, 2, 12)))[0, 0, :4]
        Array([1., 1., 1., 1.], dtype=float32)
    """
    if not 0 < num_unrotated < head_dim:
        raise ValueError(f"num_unrotated must be between 1 and {head_dim - 1}, got {num_unrotated}")
    rotated = constructor(head_dim - num_unrotated, num_heads, num_axes=num_axes, **options)
    plain = no_position(num_unrotated, num_heads, num_axes=num_axes)
    return over_channels([(num_unrotated, plain), (head_dim - num_unrotated, rotated)])


def with_prefix(encoding: Encoding, num_prefix: int) -> Encoding:
    """Leave class and register tokens, which have no position, untouched bit for bit.

    Positions are those of the other tokens alone. A class token sees patches at absolute positions,
    so what is said about shifts holds between patches only.

    Args:
        encoding: Any encoding.
        num_prefix: Leading tokens without a position.

    Returns:
        An encoding for ``num_prefix + n`` tokens at ``n`` positions: ``rotate`` passes the first
        ones through, ``embed`` adds zero to them.

    Raises:
        ValueError: If ``num_prefix`` is negative.

    Examples:
        >>> import rope_jax
        >>> encoding = with_prefix(rope_jax.axial(8, 2), 1)
        >>> rotation = encoding.prepare({}, jnp.ones((3, 2)))
        >>> encoding.rotate(rotation, jnp.ones((4, 2, 8)))[0].tolist() == [[1.0] * 8] * 2
        True
    """
    if num_prefix < 0:
        raise ValueError(f"num_prefix must not be negative, got {num_prefix}")
    if num_prefix == 0:
        return encoding
    add = encoding.embed

    def rotate(rotation: Rotation, x: Float[Array, "*b n h d"]) -> Float[Array, "*b n h d"]:
        rotated = encoding.rotate(rotation, x[..., num_prefix:, :, :])
        return jnp.concatenate([x[..., :num_prefix, :, :], rotated], axis=-3)

    def embed(params: Params, positions: Num[Array, "*b n m"]) -> Float[Array, "*b t w"]:
        added = add(params, positions)  # pyright: ignore[reportOptionalCall]
        return jnp.pad(added, [(0, 0)] * (added.ndim - 2) + [(num_prefix, 0), (0, 0)])

    return encoding._replace(rotate=rotate, embed=None if add is None else embed)


def freeze(encoding: Encoding) -> Encoding:
    """Keep the parameters of an encoding where they start: the "fixed" row of an ablation.

    Args:
        encoding: Any encoding.

    Returns:
        The same encoding with zero gradients for its parameters. Weight decay would still move
        them.

    Examples:
        >>> import rope_jax
        >>> encoding = freeze(rope_jax.mixed(4, 1))
        >>> params = encoding.init(jax.random.key(0))
        >>> loss = lambda p: encoding.prepare(p, jnp.ones((1, 2))).cos.sum()
        >>> float(jnp.abs(jax.grad(loss)(params)["frequencies"]).max())
        0.0
    """
    add = encoding.embed

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> Rotation:
        return encoding.prepare(jax.lax.stop_gradient(params), positions)

    def embed(params: Params, positions: Num[Array, "*b n m"]) -> Float[Array, "*b n w"]:
        params = jax.lax.stop_gradient(params)
        return add(params, positions)  # pyright: ignore[reportOptionalCall]

    return encoding._replace(prepare=prepare, embed=None if add is None else embed)
