"""Directions on the unit sphere along which a cloud is sliced."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lejepa_jax.checks import check_positive


def unit_directions(key: PRNGKeyArray, dim: int, num: int) -> Float[Array, "{num} {dim}"]:
    """Draw directions uniformly on the unit sphere, one per row.

    Standard normal vectors divided by their norms. Make the key from the step, the same on every
    device (`jax.random.fold_in(key, step)`): all devices must slice along the same directions, and
    fresh slices at every step see far more of the sphere than any fixed set.

    Args:
        key: Random key; the draw is a pure function of it.
        dim: Dimension of the space.
        num: Number of directions.

    Returns:
        Unit rows, float32.

    Raises:
        ValueError: If `dim` or `num` is not positive.

    Examples:
        >>> directions = unit_directions(jax.random.key(0), dim=3, num=4)
        >>> bool(jnp.allclose(jnp.linalg.norm(directions, axis=1), 1, atol=1e-6))
        True

    References:
        R. Balestriero, Y. LeCun, LeJEPA, arXiv 2511.08544, 2025, Definition 2.
    """
    check_positive("dim", dim)
    check_positive("num", num)
    normal = jax.random.normal(key, (num, dim), jnp.float32)
    return normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)
