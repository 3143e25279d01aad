"""Surfaces that solids are made of: maps of the unit square, and meshes of triangles."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Map = Callable[[jax.Array, jax.Array], jax.Array]


class Surface(NamedTuple):
    """A map from the unit square to space; u before v turns counter-clockwise seen from outside."""

    map: Map
    part: int


class Mesh(NamedTuple):
    """Triangles (t, corner, 3), counter-clockwise seen from outside, and the part of each."""

    triangles: jax.Array
    part: np.ndarray


def lathe(profile: Callable[[jax.Array], tuple[jax.Array, jax.Array]], part: int = 0) -> Surface:
    """Turn a profile (radius, height), given from below to above, about the third axis."""

    def surface(u: jax.Array, v: jax.Array) -> jax.Array:
        radius, height = profile(v)
        angle = 2 * math.pi * u
        return jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle), height])

    return Surface(surface, part)


def lathe_line(corners: list[tuple], part: int = 0) -> list[Surface]:
    """Turn a polyline of (radius, height) about the third axis, one surface a segment."""

    def segment(start, end):
        return lambda v: (start[0] + v * (end[0] - start[0]), start[1] + v * (end[1] - start[1]))

    return [lathe(segment(start, end), part) for start, end in itertools.pairwise(corners)]


def arc(radius, height, start: float, end: float, squash=1.0):
    """Profile of a circle about the axis at `height`, between two latitudes in quarter turns."""

    def profile(v):
        latitude = 0.5 * math.pi * (start + v * (end - start))
        return radius * jnp.cos(latitude), height + squash * radius * jnp.sin(latitude)

    return profile


def tube(curve: Callable[[jax.Array], jax.Array], radius, up: tuple, part: int = 0) -> Surface:
    """Sweep a circle along a curve that is nowhere parallel to `up`."""

    def surface(u: jax.Array, v: jax.Array) -> jax.Array:
        center, tangent = jax.jvp(curve, (u,), (jnp.ones_like(u),))
        first = jnp.cross(tangent, jnp.array(up, jnp.float32))
        first = first / jnp.sqrt(jnp.square(first).sum())
        second = jnp.cross(tangent, first)
        second = second / jnp.sqrt(jnp.square(second).sum())
        angle = -2 * math.pi * v
        return center + radius * (jnp.cos(angle) * first + jnp.sin(angle) * second)

    return Surface(surface, part)


def boxes(*blocks: tuple[tuple, tuple, int]) -> Mesh:
    """Boxes as (center, half sizes, part)."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    corners = np.array([c for a, b, d, e in faces for c in ((a, b, d), (a, d, e))])
    triangles = [
        (jnp.stack(list(map(jnp.float32, center)))[None, :]
         + signs * jnp.stack(list(map(jnp.float32, half)))[None, :])[corners]
        for center, half, _ in blocks
    ]  # fmt: skip
    return Mesh(jnp.concatenate(triangles), np.repeat([part for *_, part in blocks], 12))


def prism(outline: jax.Array, height, *, apex: bool = False, part: int = 0) -> Mesh:
    """Prism over a star-shaped counter-clockwise outline (k, 2), or pyramid to an apex."""
    num = outline.shape[0]
    following = jnp.roll(outline, -1, axis=0)

    def lift(corners: jax.Array, level) -> jax.Array:
        return jnp.concatenate([corners, jnp.full((num, 1), level, jnp.float32)], -1)

    low, low_next = lift(outline, -height), lift(following, -height)
    bottom, top = (
        lift(jnp.zeros((num, 2), jnp.float32), -height),
        lift(jnp.zeros((num, 2), jnp.float32), height),
    )
    triangles = [jnp.stack([bottom, low_next, low], 1)]
    if apex:
        triangles.append(jnp.stack([low, low_next, top], 1))
    else:
        high, high_next = lift(outline, height), lift(following, height)
        triangles.append(jnp.stack([low, low_next, high_next], 1))
        triangles.append(jnp.stack([low, high_next, high], 1))
        triangles.append(jnp.stack([top, high, high_next], 1))
    triangles = jnp.concatenate(triangles)
    return Mesh(triangles, np.full(triangles.shape[0], part))


def polygon(radii: jax.Array) -> jax.Array:
    """Corners (k, 2) at equal angles, counter-clockwise, each at its own radius."""
    angle = 2 * math.pi * np.arange(radii.shape[0]) / radii.shape[0]
    circle = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], -1), jnp.float32)
    return radii[:, None] * circle
