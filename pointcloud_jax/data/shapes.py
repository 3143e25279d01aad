r"""Clouds sampled from procedural solids: a data set that needs no download.

Eighteen families of solids with random proportions, smooth and sharp, symmetric and not, one of
them with a handedness, made of numbered parts. Points are spread uniformly over the surface: each
surface is a map of the unit square, sampled in proportion to the area element
:math:`|\partial_u f \times \partial_v f|`, whose direction is the outward normal.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lejepa_jax.checks import check_choice, check_positive

Map = Callable[[jax.Array, jax.Array], jax.Array]


class Shapes(NamedTuple):
    """Clouds of radius 1 about their centroid, unit normals, the part of each point, the family."""

    points: Float[Array, "*batch n 3"]
    normals: Float[Array, "*batch n 3"]
    part: Int[Array, "*batch n"]
    label: Int[Array, "*batch"]


class _Surface(NamedTuple):
    """A map from the unit square to space; u before v turns counter-clockwise seen from outside."""

    map: Map
    part: int


class _Mesh(NamedTuple):
    """Triangles (t, corner, 3), counter-clockwise seen from outside, and the part of each."""

    triangles: jax.Array
    part: np.ndarray


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
    surfaces = _FAMILIES[family](jax.random.uniform(proportions_key, (8,)))
    keys = jax.random.split(points_key, len(surfaces) + 1)
    candidates = [
        _candidates(key, surface, 2 * num_points)
        for key, surface in zip(keys[1:], surfaces, strict=True)
    ]
    points, normals, part = (jnp.concatenate(columns) for columns in zip(*candidates, strict=True))
    area = jnp.sqrt(jnp.square(normals).sum(-1))
    # Equal steps through the accumulated area. No candidate is met twice as long as the area
    # element nowhere exceeds twice its mean, and for these surfaces it does not.
    steps = jnp.arange(num_points, dtype=jnp.float32) + jax.random.uniform(keys[0])
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
    surfaces = _FAMILIES[family](jnp.full(8, 0.5))
    return 1 + max(int(np.max(surface.part)) for surface in surfaces)


def _candidates(key: jax.Array, surface: _Surface | _Mesh, num: int):
    """Draw points uniform in the parameters; their normals are as long as the area element."""
    u, v = jax.random.uniform(key, (2, num))
    if isinstance(surface, _Surface):

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


def _lathe(profile: Callable[[jax.Array], tuple[jax.Array, jax.Array]], part: int = 0) -> _Surface:
    """Turn a profile (radius, height), given from below to above, about the third axis."""

    def surface(u: jax.Array, v: jax.Array) -> jax.Array:
        radius, height = profile(v)
        angle = 2 * math.pi * u
        return jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle), height])

    return _Surface(surface, part)


def _lathe_line(corners: list[tuple], part: int = 0) -> list[_Surface]:
    """Turn a polyline of (radius, height) about the third axis, one surface a segment."""

    def segment(start, end):
        return lambda v: (start[0] + v * (end[0] - start[0]), start[1] + v * (end[1] - start[1]))

    return [_lathe(segment(start, end), part) for start, end in itertools.pairwise(corners)]


def _arc(radius, height, start: float, end: float, squash=1.0):
    """Profile of a circle about the axis at `height`, between two latitudes in quarter turns."""

    def profile(v):
        latitude = 0.5 * math.pi * (start + v * (end - start))
        return radius * jnp.cos(latitude), height + squash * radius * jnp.sin(latitude)

    return profile


def _tube(curve: Callable[[jax.Array], jax.Array], radius, up: tuple, part: int = 0) -> _Surface:
    """Sweep a circle along a curve that is nowhere parallel to `up`."""

    def surface(u: jax.Array, v: jax.Array) -> jax.Array:
        center, tangent = jax.jvp(curve, (u,), (jnp.ones_like(u),))
        first = jnp.cross(tangent, jnp.array(up, jnp.float32))
        first = first / jnp.sqrt(jnp.square(first).sum())
        second = jnp.cross(tangent, first)
        second = second / jnp.sqrt(jnp.square(second).sum())
        angle = -2 * math.pi * v
        return center + radius * (jnp.cos(angle) * first + jnp.sin(angle) * second)

    return _Surface(surface, part)


def _boxes(*boxes: tuple[tuple, tuple, int]) -> _Mesh:
    """Boxes as (center, half sizes, part)."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    corners = np.array([c for a, b, d, e in faces for c in ((a, b, d), (a, d, e))])
    triangles = [
        (jnp.stack(list(map(jnp.float32, center)))[None, :]
         + signs * jnp.stack(list(map(jnp.float32, half)))[None, :])[corners]
        for center, half, _ in boxes
    ]  # fmt: skip
    return _Mesh(jnp.concatenate(triangles), np.repeat([part for *_, part in boxes], 12))


def _prism(outline: jax.Array, height, *, apex: bool = False, part: int = 0) -> _Mesh:
    """Prism over a star-shaped counter-clockwise outline (k, 2), or pyramid to an apex."""
    num = outline.shape[0]
    following = jnp.roll(outline, -1, axis=0)

    def lift(corners: jax.Array, level) -> jax.Array:
        return jnp.concatenate([corners, jnp.full((num, 1), level)], -1)

    low, low_next = lift(outline, -height), lift(following, -height)
    bottom, top = lift(jnp.zeros((num, 2)), -height), lift(jnp.zeros((num, 2)), height)
    triangles = [jnp.stack([bottom, low_next, low], 1)]
    if apex:
        triangles.append(jnp.stack([low, low_next, top], 1))
    else:
        high, high_next = lift(outline, height), lift(following, height)
        triangles.append(jnp.stack([low, low_next, high_next], 1))
        triangles.append(jnp.stack([low, high_next, high], 1))
        triangles.append(jnp.stack([top, high, high_next], 1))
    triangles = jnp.concatenate(triangles)
    return _Mesh(triangles, np.full(triangles.shape[0], part))


def _polygon(radii: jax.Array) -> jax.Array:
    angle = 2 * math.pi * np.arange(radii.shape[0]) / radii.shape[0]
    circle = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], -1), jnp.float32)
    return radii[:, None] * circle


# The families. p holds eight numbers from 0 to 1.


def _ellipsoid(p):
    def surface(u, v):
        latitude, angle = math.pi * (v - 0.5), 2 * math.pi * u
        unit = jnp.stack(
            [
                jnp.cos(latitude) * jnp.cos(angle),
                jnp.cos(latitude) * jnp.sin(angle),
                jnp.sin(latitude),
            ]
        )
        return unit * (0.6 + 0.4 * p[:3])

    return [_Surface(surface, 0)]


def _box(p):
    return [_boxes(((0, 0, 0), (0.4 + 0.6 * p[0], 0.4 + 0.6 * p[1], 0.4 + 0.6 * p[2]), 0))]


def _cylinder(p):
    radius, half = 0.3 + 0.5 * p[0], 0.5 + 0.5 * p[1]
    return _lathe_line([(0, -half), (radius, -half), (radius, half), (0, half)])


def _cone(p):
    radius, half, tip = 0.5 + 0.4 * p[0], 0.6 + 0.4 * p[1], 0.25 * p[2]
    return _lathe_line([(0, -half), (radius, -half), (tip * radius, half), (0, half)])


def _torus(p):
    ring, tube = 0.7 + 0.2 * p[0], 0.12 + 0.2 * p[1]

    def circle(u):
        angle = 2 * math.pi * u
        return ring * jnp.stack([jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(u)])

    return [_tube(circle, tube, (0.0, 0.0, 1.0))]


def _capsule(p):
    radius, half = 0.25 + 0.2 * p[0], 0.4 + 0.4 * p[1]
    return [
        _lathe(_arc(radius, -half, -1, 0)),
        *_lathe_line([(radius, -half), (radius, half)]),
        _lathe(_arc(radius, half, 0, 1)),
    ]


def _pyramid(p):
    return [_prism(_polygon((0.7 + 0.3 * p[0]) * jnp.ones(4)), 0.4 + 0.5 * p[1], apex=True)]


def _hexagon(p):
    return [_prism(_polygon((0.5 + 0.3 * p[0]) * jnp.ones(6)), 0.3 + 0.6 * p[1])]


def _star(p):
    inner = 0.35 + 0.2 * p[0]
    return [_prism(_polygon(jnp.tile(jnp.stack([jnp.ones(()), inner]), 5)), 0.1 + 0.3 * p[1])]


def _helix(p):
    turns, ring, half = 2 + p[0], 0.4 + 0.2 * p[1], 0.7 + 0.3 * p[2]

    def spiral(u):
        angle = 2 * math.pi * turns * u
        return jnp.stack([ring * jnp.cos(angle), ring * jnp.sin(angle), half * (2 * u - 1)])

    return [_tube(spiral, 0.08 + 0.06 * p[3], (0.0, 0.0, 1.0))]


def _bowl(p):
    depth, thickness = 0.5 + 0.5 * p[0], 0.05 + 0.1 * p[1]
    inside = _lathe(_arc(1 - thickness, 0.0, 0, -1, depth), 1)
    rim = _lathe_line([(1.0, 0.0), (1 - thickness, 0.0)])
    return [_lathe(_arc(1.0, 0.0, -1, 0, depth)), *rim, inside]


def _legs(x, y, half, width, part):
    return [
        ((sx * (x - width), sy * (y - width), -half), (width, width, half), part)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


def _table(p):
    x, y, half = 0.6 + 0.4 * p[0], 0.4 + 0.3 * p[1], 0.25 + 0.2 * p[2]
    top = 0.04 + 0.04 * p[3]
    legs = _legs(x, y, half, 0.04 + 0.04 * p[4], 1)
    return [_boxes(((0, 0, top), (x, y, top), 0), *legs)]


def _chair(p):
    x, y, half = 0.4 + 0.15 * p[0], 0.4 + 0.15 * p[1], 0.2 + 0.1 * p[2]
    thick, back = 0.04 + 0.03 * p[3], 0.3 + 0.2 * p[4]
    legs = _legs(x, y, half, 0.04 + 0.02 * p[5], 1)
    seat = ((0, 0, thick), (x, y, thick), 0)
    return [_boxes(seat, ((0, y - thick, 2 * thick + back), (x, thick, back), 2), *legs)]


def _mug(p):
    radius, half = 0.4 + 0.2 * p[0], 0.45 + 0.2 * p[1]
    reach, rise = 0.3 + 0.15 * p[2], (0.5 + 0.2 * p[3]) * half
    wall = 0.88

    def handle(u):
        angle = math.pi * (u - 0.5)
        across = radius + reach * jnp.cos(angle)
        return jnp.stack([across, jnp.zeros_like(u), rise * jnp.sin(angle)])

    body = _lathe_line(
        [
            (0, -half),
            (radius, -half),
            (radius, half),
            (wall * radius, half),
            (wall * radius, -wall * half),
            (0, -wall * half),
        ]
    )
    return [*body, _tube(handle, 0.06 + 0.03 * p[4], (0.0, 1.0, 0.0), part=1)]


def _lamp(p):
    foot, shade, flare = 0.3 + 0.2 * p[0], 0.4 + 0.2 * p[1], 0.4 + 0.3 * p[2]
    pole, drop = 0.04 + 0.02 * p[3], 0.35 + 0.2 * p[4]
    return [
        *_lathe_line([(0, -0.9), (foot, -0.9), (foot, -0.8), (pole, -0.8)], 0),
        *_lathe_line([(pole, -0.8), (pole, 0.9 - drop)], 1),
        *_lathe_line([(shade, 0.9 - drop), (flare * shade, 0.9)], 2),
    ]


def _stairs(p):
    width, rise = 0.4 + 0.3 * p[0], 0.12 + 0.1 * p[1]
    run, steps = 0.16 + 0.1 * p[2], 4
    blocks = [
        ((0, run * (2 * i - steps + 1), rise * (i + 1)), (width, run, rise * (i + 1)), 0)
        for i in range(steps)
    ]
    return [_boxes(*blocks)]


def _cross(p):
    width = 0.12 + 0.12 * p[3]
    arms = [
        ((0, 0, 0), tuple(0.5 + 0.5 * p[axis] if axis == arm else width for axis in range(3)), arm)
        for arm in range(3)
    ]
    return [_boxes(*arms)]


def _bottle(p):
    body, neck = 0.3 + 0.15 * p[0], 0.08 + 0.06 * p[1]
    shoulder, top = 0.1 + 0.3 * p[2], 0.4 + 0.15 * p[3]
    outline = [(0, -0.9), (body, -0.9), (body, shoulder), (neck, top), (neck, 0.9), (0, 0.9)]
    parts = (0, 0, 0, 1, 1)
    lines = zip(outline[:-1], outline[1:], parts, strict=True)
    return [surface for start, end, part in lines for surface in _lathe_line([start, end], part)]


_FAMILIES: dict[str, Callable[[jax.Array], Sequence[_Surface | _Mesh]]] = {
    "ellipsoid": _ellipsoid,
    "box": _box,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "capsule": _capsule,
    "pyramid": _pyramid,
    "hexagon": _hexagon,
    "star": _star,
    "helix": _helix,
    "bowl": _bowl,
    "table": _table,
    "chair": _chair,
    "mug": _mug,
    "lamp": _lamp,
    "stairs": _stairs,
    "cross": _cross,
    "bottle": _bottle,
}

#: Names of the families, in the order of their labels.
FAMILIES = tuple(_FAMILIES)
