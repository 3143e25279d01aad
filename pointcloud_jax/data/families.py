"""The families of solids: each takes eight numbers from 0 to 1, its proportions, to surfaces."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp

from pointcloud_jax.data.surfaces import (
    Mesh,
    Surface,
    arc,
    boxes,
    lathe,
    lathe_line,
    polygon,
    prism,
    tube,
)


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

    return [Surface(surface, 0)]


def _box(p):
    return [boxes(((0, 0, 0), (0.4 + 0.6 * p[0], 0.4 + 0.6 * p[1], 0.4 + 0.6 * p[2]), 0))]


def _cylinder(p):
    radius, half = 0.3 + 0.5 * p[0], 0.5 + 0.5 * p[1]
    return lathe_line([(0, -half), (radius, -half), (radius, half), (0, half)])


def _cone(p):
    radius, half, tip = 0.5 + 0.4 * p[0], 0.6 + 0.4 * p[1], 0.25 * p[2]
    return lathe_line([(0, -half), (radius, -half), (tip * radius, half), (0, half)])


def _torus(p):
    ring, thickness = 0.7 + 0.2 * p[0], 0.12 + 0.2 * p[1]

    def circle(u):
        angle = 2 * math.pi * u
        return ring * jnp.stack([jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(u)])

    return [tube(circle, thickness, (0.0, 0.0, 1.0))]


def _capsule(p):
    radius, half = 0.25 + 0.2 * p[0], 0.4 + 0.4 * p[1]
    return [
        lathe(arc(radius, -half, -1, 0)),
        *lathe_line([(radius, -half), (radius, half)]),
        lathe(arc(radius, half, 0, 1)),
    ]


def _pyramid(p):
    return [
        prism(polygon((0.7 + 0.3 * p[0]) * jnp.ones(4, jnp.float32)), 0.4 + 0.5 * p[1], apex=True)
    ]


def _hexagon(p):
    return [prism(polygon((0.5 + 0.3 * p[0]) * jnp.ones(6, jnp.float32)), 0.3 + 0.6 * p[1])]


def _star(p):
    inner = 0.35 + 0.2 * p[0]
    return [prism(polygon(jnp.tile(jnp.stack([jnp.float32(1), inner]), 5)), 0.1 + 0.3 * p[1])]


def _helix(p):
    turns, ring, half = 2 + p[0], 0.4 + 0.2 * p[1], 0.7 + 0.3 * p[2]

    def spiral(u):
        angle = 2 * math.pi * turns * u
        return jnp.stack([ring * jnp.cos(angle), ring * jnp.sin(angle), half * (2 * u - 1)])

    return [tube(spiral, 0.08 + 0.06 * p[3], (0.0, 0.0, 1.0))]


def _bowl(p):
    depth, thickness = 0.5 + 0.5 * p[0], 0.05 + 0.1 * p[1]
    inside = lathe(arc(1 - thickness, 0.0, 0, -1, depth), 1)
    rim = lathe_line([(1.0, 0.0), (1 - thickness, 0.0)])
    return [lathe(arc(1.0, 0.0, -1, 0, depth)), *rim, inside]


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
    return [boxes(((0, 0, top), (x, y, top), 0), *legs)]


def _chair(p):
    x, y, half = 0.4 + 0.15 * p[0], 0.4 + 0.15 * p[1], 0.2 + 0.1 * p[2]
    thick, back = 0.04 + 0.03 * p[3], 0.3 + 0.2 * p[4]
    legs = _legs(x, y, half, 0.04 + 0.02 * p[5], 1)
    seat = ((0, 0, thick), (x, y, thick), 0)
    return [boxes(seat, ((0, y - thick, 2 * thick + back), (x, thick, back), 2), *legs)]


def _mug(p):
    radius, half = 0.4 + 0.2 * p[0], 0.45 + 0.2 * p[1]
    reach, rise = 0.3 + 0.15 * p[2], (0.5 + 0.2 * p[3]) * half
    wall = 0.88

    def handle(u):
        angle = math.pi * (u - 0.5)
        across = radius + reach * jnp.cos(angle)
        return jnp.stack([across, jnp.zeros_like(u), rise * jnp.sin(angle)])

    body = lathe_line(
        [
            (0, -half),
            (radius, -half),
            (radius, half),
            (wall * radius, half),
            (wall * radius, -wall * half),
            (0, -wall * half),
        ]
    )
    return [*body, tube(handle, 0.06 + 0.03 * p[4], (0.0, 1.0, 0.0), part=1)]


def _lamp(p):
    foot, shade, flare = 0.3 + 0.2 * p[0], 0.4 + 0.2 * p[1], 0.4 + 0.3 * p[2]
    pole, drop = 0.04 + 0.02 * p[3], 0.35 + 0.2 * p[4]
    return [
        *lathe_line([(0, -0.9), (foot, -0.9), (foot, -0.8), (pole, -0.8)], 0),
        *lathe_line([(pole, -0.8), (pole, 0.9 - drop)], 1),
        *lathe_line([(shade, 0.9 - drop), (flare * shade, 0.9)], 2),
    ]


def _stairs(p):
    width, rise = 0.4 + 0.3 * p[0], 0.12 + 0.1 * p[1]
    run, steps = 0.16 + 0.1 * p[2], 4
    blocks = [
        ((0, run * (2 * i - steps + 1), rise * (i + 1)), (width, run, rise * (i + 1)), 0)
        for i in range(steps)
    ]
    return [boxes(*blocks)]


def _cross(p):
    width = 0.12 + 0.12 * p[3]
    arms = [
        ((0, 0, 0), tuple(0.5 + 0.5 * p[axis] if axis == arm else width for axis in range(3)), arm)
        for arm in range(3)
    ]
    return [boxes(*arms)]


def _bottle(p):
    body, neck = 0.3 + 0.15 * p[0], 0.08 + 0.06 * p[1]
    shoulder, top = 0.1 + 0.3 * p[2], 0.4 + 0.15 * p[3]
    outline = [(0, -0.9), (body, -0.9), (body, shoulder), (neck, top), (neck, 0.9), (0, 0.9)]
    parts = (0, 0, 0, 1, 1)
    lines = zip(outline[:-1], outline[1:], parts, strict=True)
    return [surface for start, end, part in lines for surface in lathe_line([start, end], part)]


#: By name, in the order of the labels.
SOLIDS: Mapping[str, Callable[[jax.Array], Sequence[Surface | Mesh]]] = MappingProxyType(
    {
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
)
