r"""Clouds sampled from procedural solids: a data set that needs no download.

Eighteen families of solids with random proportions, smooth and sharp, symmetric and not, one of
them with a handedness, made of numbered parts. Points are uniform on the surface: each
surface is a map of the unit square, sampled in proportion to the area element
:math:`|\partial_u f \times \partial_v f|`, whose direction is the outward normal.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lejepa_jax.checks import check_choice, check_positive
from pointcloud_jax.data.families import SOLIDS
from pointcloud_jax.data.surfaces import Mesh, Surface

#: Names of the families, in the order of their labels.
FAMILIES = tuple(SOLIDS)


class Shapes(NamedTuple):
    """Clouds of radius 1 about their centroid, unit normals, the part of each point, the family."""

    points: Float[Array, "*batch n 3"]
    normals: Float[Array, "*batch n 3"]
    part: Int[Array, "*batch n"]
    label: Int[Array, "*batch"]


def sample_shape(key: PRNGKeyArray, family: str, num_points: int) -> Shapes:
    """Draw one solid of a family and sample its surface.

    Args:
        key: Random key, of the proportions and of the points.
        family: One of `FAMILIES`.
        num_points: Number of points.

    Returns:
        One cloud, without leading axes. Its third axis is up.

    Raises:
        ValueError: If the family is unknown or `num_points` not positive.

    Examples:
        >>> shape = jax.eval_shape(lambda key: sample_shape(key, "mug", 64), jax.random.key(0))
        >>> shape.points.shape, shape.part.shape
        ((64, 3), (64,))
    """
    check_choice("family", family, FAMILIES)
    check_positive("num_points", num_points)
    proportions_key, points_key, order_key = jax.random.split(key, 3)
    surfaces = SOLIDS[family](jax.random.uniform(proportions_key, (8,), jnp.float32))
    keys = jax.random.split(points_key, len(surfaces) + 1)
    candidates = [
        _candidates(key, surface, 2 * num_points)
        for key, surface in zip(keys[1:], surfaces, strict=True)
    ]
    points, normals, part = (jnp.concatenate(columns) for columns in zip(*candidates, strict=True))
    area = jnp.sqrt(jnp.square(normals).sum(-1))
    # Equal steps through the accumulated area. No candidate is met twice as long as the area
    # element nowhere exceeds twice its mean, and for these surfaces it does not.
    steps = jnp.arange(num_points, dtype=jnp.float32) + jax.random.uniform(keys[0], (), jnp.float32)
    steps = steps / num_points
    cumulative = jnp.cumsum(area)
    chosen = jnp.searchsorted(cumulative, steps * cumulative[-1])
    chosen = jax.random.permutation(order_key, jnp.minimum(chosen, area.size - 1))
    points, normals = points[chosen], normals[chosen] / area[chosen][:, None]
    points = points - points.mean(0, keepdims=True)
    points = points / jnp.sqrt(jnp.square(points).sum(-1).max())
    label = jnp.int32(FAMILIES.index(family))
    return Shapes(points, normals, part[chosen], label)


def shape_dataset(key: PRNGKeyArray, per_family: int, num_points: int) -> Shapes:
    """Draw solids of every family, upright.

    Args:
        key: Random key; another one makes another split.
        per_family: Solids of each family.
        num_points: Points of each cloud.

    Returns:
        `len(FAMILIES) * per_family` clouds, ordered by family.

    Raises:
        ValueError: If a number is not positive.

    Examples:
        >>> shapes = jax.eval_shape(lambda key: shape_dataset(key, 5, 64), jax.random.key(0))
        >>> shapes.points.shape
        (90, 64, 3)
    """
    check_positive("per_family", per_family)
    sets = []
    for index, family in enumerate(FAMILIES):
        keys = jax.random.split(jax.random.fold_in(key, index), per_family)
        sets.append(lax.map(lambda key, family=family: sample_shape(key, family, num_points), keys))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *sets)


def num_parts(family: str) -> int:
    """Count the parts that solids of a family are made of.

    Args:
        family: One of `FAMILIES`.

    Returns:
        How many numbers `Shapes.part` goes through.

    Raises:
        ValueError: If the family is unknown.

    Examples:
        >>> num_parts("chair"), num_parts("torus")
        (3, 1)
    """
    check_choice("family", family, FAMILIES)
    surfaces = SOLIDS[family](jnp.full(8, 0.5, jnp.float32))
    return 1 + max(int(np.max(surface.part)) for surface in surfaces)


def _candidates(key: jax.Array, surface: Surface | Mesh, num: int):
    """Draw points uniform in the parameters; their normals are as long as the area element."""
    u, v = jax.random.uniform(key, (2, num), jnp.float32)
    if isinstance(surface, Surface):

        def one(u: jax.Array, v: jax.Array):
            point, along_u = jax.jvp(lambda u: surface.map(u, v), (u,), (jnp.ones_like(u),))
            _, along_v = jax.jvp(lambda v: surface.map(u, v), (v,), (jnp.ones_like(v),))
            return point, jnp.cross(along_u, along_v)

        points, normals = jax.vmap(one)(u, v)
        return points, normals, jnp.full(num, surface.part, jnp.int32)
    # All triangles in a row are one surface: u says which, in proportion to area, and where in it.
    first, second, third = jnp.moveaxis(surface.triangles, 1, 0)
    normal = 0.5 * jnp.cross(second - first, third - first)
    area = jnp.sqrt(jnp.square(normal).sum(-1))
    cumulative = jnp.cumsum(area)
    total = cumulative[-1]
    index = jnp.minimum(jnp.searchsorted(cumulative, u * total, side="right"), area.size - 1)
    u = jnp.clip(1 - (cumulative[index] - u * total) / area[index], 0, 1)
    folded = u + v > 1
    u, v = jnp.where(folded, 1 - u, u)[:, None], jnp.where(folded, 1 - v, v)[:, None]
    points = first[index] + u * (second - first)[index] + v * (third - first)[index]
    normals = normal[index] * (total / area[index])[:, None]
    return points, normals, jnp.asarray(surface.part, jnp.int32)[index]
