"""A positional encoding as a NamedTuple of pure functions.

Every constructor of this package returns an :class:`Encoding`; a transformer needs nothing else::

    params = encoding.init(key)
    rotation = encoding.prepare(params, positions)        # once per forward pass
    q, k = encoding.rotate(rotation, q), encoding.rotate(rotation, k)   # in every layer
    tokens = tokens + encoding.embed(params, positions)   # if encoding.embed is not None

There is no cache and no global state: a table is a value, built where the positions are known and
handed down. Nothing two encodings could share exists, and nothing has to be invalidated.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num, PRNGKeyArray, PyTree

from rope_jax.checks import check_positions

Params = PyTree[Float[Array, "..."]]
"""Learned parameters: a dictionary of arrays, ``{}`` when nothing is learned."""

Rotation = Any
"""Tables that ``prepare`` builds and ``rotate`` reads: a pytree of arrays, opaque to the caller."""


class Encoding(NamedTuple):
    """A positional encoding as pure functions.

    Attributes:
        init: Draws the learned parameters from a key; ``{}`` when nothing is learned. They want no
            weight decay: a frequency pulled towards zero is a position forgotten.
        prepare: ``(params, positions)`` to tables, in float32, once per forward pass. Positions are
            ``(n, m)``, or ``(*b, n, m)`` when every example has its own (packed batches).
        rotate: ``(rotation, x)`` to the rotated ``x``, queries or keys ``(*b, n, h, d)``, of the
            same shape and dtype. The identity for additive encodings.
        embed: ``(params, positions)`` to what is added to the tokens, ``(*b, n, w)``; ``None`` for
            encodings that only rotate.
    """

    init: Callable[[PRNGKeyArray], Params]
    prepare: Callable[[Params, Num[Array, "*b n m"]], Rotation]
    rotate: Callable[[Rotation, Float[Array, "*b n h d"]], Float[Array, "*b n h d"]]
    embed: Callable[[Params, Num[Array, "*b n m"]], Float[Array, "*b n w"]] | None = None


def no_params(key: PRNGKeyArray) -> Params:
    """The ``init`` of an encoding that learns nothing."""
    del key
    return {}


def no_position(head_dim: int, num_heads: int, *, num_axes: int = 2) -> Encoding:
    """No encoding at all: the control, and the unrotated part of a composition.

    Args:
        head_dim: Unused; every constructor takes it.
        num_heads: Unused likewise.
        num_axes: Width of the positions.

    Returns:
        An encoding that rotates nothing and adds nothing.

    Examples:
        >>> encoding = no_position(8, 2)
        >>> encoding.init(jax.random.key(0))
        {}
    """
    del head_dim, num_heads

    def prepare(params: Params, positions: Num[Array, "*b n m"]) -> Rotation:
        check_positions(positions, num_axes)
        return ()

    return Encoding(init=no_params, prepare=prepare, rotate=lambda rotation, x: x)


def cast_rotation(rotation: Rotation, dtype: jnp.dtype | type) -> Rotation:
    """Round the tables of a rotation, which were computed in float32, to a smaller dtype.

    Halves the memory traffic of the tables. A cosine in bfloat16 is off by at most 0.002; an
    *angle* in bfloat16 would be off by 0.2 on a grid of 128 (measured), which is why only the
    finished table may be rounded.

    Args:
        rotation: What ``prepare`` returned.
        dtype: For instance ``jnp.bfloat16``.

    Returns:
        The same pytree with every table in ``dtype``.

    Examples:
        >>> cast_rotation((jnp.ones(2),), jnp.bfloat16)
        (Array([1, 1], dtype=bfloat16),)
    """
    return jax.tree.map(lambda table: table.astype(dtype), rotation)


def init_layers(encoding: Encoding, key: PRNGKeyArray, num_layers: int) -> Params:
    """Draw parameters of ``encoding`` for every layer, stacked along a new first axis.

    Args:
        encoding: Any encoding.
        key: Split into one key a layer.
        num_layers: Number of layers.

    Returns:
        Stacked parameters, or ``{}`` when the encoding learns nothing.

    Examples:
        >>> import rope_jax
        >>> params = init_layers(rope_jax.mixed(8, 2), jax.random.key(0), 3)
        >>> params["frequencies"].shape
        (3, 2, 2, 4)
    """
    keys = jax.random.split(key, num_layers)
    if not jax.tree.leaves(jax.eval_shape(encoding.init, keys[0])):
        return encoding.init(keys[0])
    return jax.vmap(encoding.init)(keys)


def prepare_layers(
    encoding: Encoding, params: Params, positions: Num[Array, "*b n m"], num_layers: int
) -> tuple[Rotation, ...]:
    """Tables of every layer, built once per forward pass.

    What is learned per layer is computed for all layers in one batch (one batched exponential for
    LieRE); what is not learned is built once, and all layers get the same arrays.

    Args:
        encoding: Any encoding.
        params: What :func:`init_layers` returned.
        positions: Positions of the tokens.
        num_layers: Number of layers.

    Returns:
        One rotation for each layer.

    Examples:
        >>> import rope_jax
        >>> encoding = rope_jax.axial(8, 2)
        >>> first, second = prepare_layers(encoding, {}, jnp.zeros((3, 2)), 2)
        >>> first is second
        True
    """
    if not jax.tree.leaves(params):
        return (encoding.prepare(params, positions),) * num_layers
    stacked = jax.vmap(encoding.prepare, in_axes=(0, None))(params, positions)
    return tuple(
        jax.tree.map(lambda table, layer=layer: table[layer], stacked)
        for layer in range(num_layers)
    )
