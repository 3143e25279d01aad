"""The check of clouds that the modules share, with one clear `ValueError`."""

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
        >>> import jax.numpy as jnp
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
