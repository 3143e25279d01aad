"""Means and maxima over the points that exist, with gradients that are finite everywhere."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


def mask_weights(
    points: Float[Array, "*batch n d"], mask: Bool[Array, "*batch n"] | None
) -> tuple[Float[Array, "*batch n d"], Float[Array, "*batch n"]]:
    """Put absent points at the origin, and give the weights that average over the others.

    Args:
        points: The clouds, in any floating dtype.
        mask: True for points that exist.

    Returns:
        The points in float32, and weights that sum to 1 in each cloud (to 0 in an empty one).

    Examples:
        >>> mask_weights(jnp.ones((2, 3)), jnp.array([True, False]))[1]
        Array([1., 0.], dtype=float32)
    """
    points = points.astype(jnp.float32)
    if mask is None:
        return points, jnp.full(points.shape[:-1], 1 / points.shape[-2], jnp.float32)
    weights = mask.astype(jnp.float32)
    weights = weights / jnp.maximum(weights.sum(-1, keepdims=True), 1)
    return jnp.where(mask[..., None], points, 0), weights


def masked_mean(
    x: Float[Array, "*batch n c"], mask: Bool[Array, "*batch n"] | None
) -> Float[Array, "*batch c"]:
    """Average over the last axis but one, where `mask` is True (zero where it nowhere is).

    Args:
        x: Values.
        mask: True for what counts, or None for everything.

    Returns:
        The means.

    Examples:
        >>> masked_mean(jnp.array([[1.0], [9.0]]), jnp.array([True, False]))
        Array([1.], dtype=float32)
    """
    if mask is None:
        return x.mean(-2)
    count = jnp.maximum(mask.sum(-1, dtype=x.dtype), 1)
    return jnp.where(mask[..., None], x, 0).sum(-2) / count[..., None]


def masked_max(
    x: Float[Array, "*batch n c"], mask: Bool[Array, "*batch n"] | None
) -> Float[Array, "*batch c"]:
    """Take the largest along the last axis but one, where `mask` is True (zero without any).

    Args:
        x: Values.
        mask: True for what counts, or None for everything.

    Returns:
        The maxima.

    Examples:
        >>> masked_max(jnp.array([[1.0], [9.0]]), jnp.array([True, False]))
        Array([1.], dtype=float32)
    """
    if mask is None:
        return largest(x, axis=-2)
    lowest = jnp.finfo(x.dtype).min
    found = largest(jnp.where(mask[..., None], x, lowest), axis=-2)
    return jnp.where(mask.any(-1)[..., None], found, 0)


def largest(x: Float[Array, "..."], *, axis: int) -> Float[Array, "..."]:
    """Take the maximum along an axis, by its index.

    The derivative of `jnp.max` looks for the elements that equal the maximum. Compiled, either side
    may be worked out anew and rounded otherwise: then none does, and 0 / 0 is NaN.

    Args:
        x: Values.
        axis: Along which.

    Returns:
        The maxima; the first of several equal ones has all of the gradient.

    Examples:
        >>> largest(jnp.array([[1.0, 3.0]]), axis=-1)
        Array([3.], dtype=float32)
    """
    index = jnp.expand_dims(jnp.argmax(lax.stop_gradient(x), axis=axis), axis)
    return jnp.take_along_axis(x, index, axis=axis).squeeze(axis)


def safe_norm(vectors: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """Euclidean norm whose gradient at zero is zero instead of NaN.

    Args:
        vectors: Any vectors; zero ones do occur (the edge of a point to itself, absent points).

    Returns:
        The norms in float32.

    Examples:
        >>> import jax
        >>> jax.grad(lambda v: safe_norm(v))(jnp.zeros(3))
        Array([0., 0., 0.], dtype=float32)
    """
    square = jnp.square(vectors.astype(jnp.float32)).sum(-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
