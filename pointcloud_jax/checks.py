"""Checks of clouds that the modules share, each with one clear `ValueError`."""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_samples


def check_points(
    name: str,
    points: Float[Array, "*batch n d"],
    mask: Bool[Array, "*batch n"] | None = None,
    *,
    dim: int | None = 3,
) -> None:
    """Require clouds `(*batch, n, dim)` with a fitting mask, and finite numbers if they are known.

    Numbers are known outside `jit` only; data that goes straight into a compiled function is
    checked by the same call where it is loaded.

    Args:
        name: How the argument is called in the error.
        points: The clouds.
        mask: True for points that exist; others may hold anything.
        dim: Wanted number of coordinates, or None for any.

    Raises:
        ValueError: For a wrong rank, an empty axis, another number of coordinates, a mask of
            another shape, an integer dtype, and for NaN or infinite coordinates: it then names the
            first such cloud.

    Examples:
        >>> check_points("points", jnp.zeros((2, 5, 3)).at[1, 4, 0].set(jnp.inf))
        Traceback (most recent call last):
            ...
        ValueError: points must be finite, got NaN or infinity in 1 of 10, first in cloud (1,)
    """
    check_samples(name, points, mask)
    if dim is not None and points.shape[-1] != dim:
        raise ValueError(f"{name} must have {dim} coordinates on the last axis, got {points.shape}")
    if isinstance(points, Tracer) or isinstance(mask, Tracer):
        return
    bad = ~np.isfinite(np.asarray(points, np.float32)).all(-1)
    if mask is not None:
        bad &= np.asarray(mask)
    if bad.any():
        cloud = tuple(int(i) for i in np.argwhere(bad)[0][:-1])
        where = f", first in cloud {cloud}" if cloud else ""
        raise ValueError(
            f"{name} must be finite, got NaN or infinity in {bad.sum()} of {bad.size}{where}"
        )


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
