"""Clouds brought to one place and one size."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lejepa_jax.checks import check_choice
from pointcloud_jax.checks import check_points
from pointcloud_jax.reductions import largest, mask_weights, safe_norm


def normalize_radius(
    points: Float[Array, "*batch n 3"],
    *,
    center: bool = True,
    statistic: Literal["max", "rms"] = "max",
    mask: Bool[Array, "*batch n"] | None = None,
) -> Float[Array, "*batch n 3"]:
    r"""Move each cloud to its centroid and scale it to radius 1.

    It commutes with rotations. Spectra at radii up to 12 want it: how far a rule is from exact is
    decided by the largest radius times the size of the cloud, more than by the rule.

    Args:
        points: The clouds.
        center: Whether to subtract the centroid.
        statistic: "max", the radius is the largest distance from the origin, or "rms", its root
            mean square (robust to outliers; the cloud then reaches beyond radius 1).
        mask: True for points that exist.

    Returns:
        The clouds in float32; absent points are zero, and so are clouds that have no extent.

    Raises:
        ValueError: For an unknown statistic, and as `check_points`.

    Examples:
        >>> print(normalize_radius(jnp.array([[0.0, 0.0, 1.0], [0.0, 0.0, 5.0]])))
        [[ 0.  0. -1.]
         [ 0.  0.  1.]]
    """
    check_points("points", points, mask)
    check_choice("statistic", statistic, ("max", "rms"))
    points, weights = mask_weights(points, mask)
    if center:
        points = points - (weights[..., None] * points).sum(-2, keepdims=True)
        if mask is not None:
            points = jnp.where(mask[..., None], points, 0)
    if statistic == "max":
        radius = largest(safe_norm(points), axis=-1)
    else:
        radius = safe_norm((jnp.sqrt(weights)[..., None] * points).reshape(*points.shape[:-2], -1))
    radius = radius[..., None, None]
    return points / jnp.where(radius > 0, radius, 1)
