"""A point among walls: exact swept collisions and shortest paths, written once for all worlds.

Walls are axis-aligned boxes, open sets: a point may touch them and slide along. A disk of radius r
among walls is a point among walls that have grown by r on every side (the corners square).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from lejepa_jax.checks import check_positive

#: Way points keep this distance from corners, so that rounding does not hide the next one.
MARGIN = 1e-3


def grow(boxes: Float[np.ndarray, "b 4"], radius: float) -> Float[np.ndarray, "b 4"]:
    """Grow boxes (low x, low y, high x, high y) by a radius on every side.

    Args:
        boxes: The boxes.
        radius: By how much.

    Returns:
        The larger ones.
    """
    sides = np.array([-radius, -radius, radius, radius], np.float32)
    return np.asarray(boxes, np.float32) + sides[None]


def inside(point: Float[Array, "2"], boxes: Float[Array, "b 4"]) -> Bool[Array, ""]:
    """Say whether a point is within any open box; on a face it is not.

    Args:
        point: The point.
        boxes: The boxes.

    Returns:
        Whether it is.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    return ((low < point[None]) & (point[None] < high)).all(1).any()


def first_contact(
    point: Float[Array, "2"], displacement: Float[Array, "2"], boxes: Float[Array, "b 4"]
) -> tuple[Float[Array, ""], Float[Array, "2"], Bool[Array, "2"]]:
    r"""Find where a moving point first enters a box.

    The point is within the slab of axis i for times between $(l_i - x_i) / d_i$ and
    $(h_i - x_i) / d_i$, within the box for the intersection of both, and enters it through the
    face of the axis whose slab it enters last.

    Args:
        point: Where it starts, in no box.
        displacement: How far it wants to go.
        boxes: The walls.

    Returns:
        The time in [0, 1] of the first contact, 1 if there is none; the coordinates of the face
        that is met; and the axis of its normal, none of them true if there is no contact.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    point, displacement = point[None], displacement[None]
    still = displacement == 0
    divisor = jnp.where(still, 1, displacement)
    near = jnp.where(displacement > 0, low, high)
    far = jnp.where(displacement > 0, high, low)
    between = (low < point) & (point < high)
    # Along an axis without motion the point is in the slab always or never.
    enters = jnp.where(still, jnp.where(between, -jnp.inf, jnp.inf), (near - point) / divisor)
    leaves = jnp.where(still, jnp.where(between, jnp.inf, -jnp.inf), (far - point) / divisor)
    enter, leave = enters.max(1), leaves.min(1)
    times = jnp.where((enter >= 0) & (enter < leave) & (enter < 1), enter, jnp.inf)
    box = times.argmin()
    hit = times[box] < 1
    normal = jnp.arange(2) == enters[box].argmax()
    return jnp.where(hit, times[box], 1.0), near[box], hit & normal


def slide(
    point: Float[Array, "2"],
    displacement: Float[Array, "2"],
    boxes: Float[Array, "b 4"],
    *,
    contacts: int = 3,
) -> Float[Array, "k 2"]:
    """Move a point by a displacement of any length, stopping at walls and sliding along them.

    The way is a chain of straight segments, none of which enters a box: there is no step size, so
    nothing is jumped over. What is left of the displacement after a contact loses its component
    into the wall. The coordinate of a face that is met is copied, not computed, so that a point
    that slides stays exactly on it.

    Args:
        point: Where it starts, in no box.
        displacement: How far it wants to go.
        boxes: The walls, already grown by the radius of what moves.
        contacts: Largest number of contacts in one step; after it the point stops.

    Returns:
        The corners of the way `(contacts + 1, 2)`: the start first, the new position last.

    Examples:
        >>> wall = jnp.array([[1.0, -9.0, 2.0, 9.0]])
        >>> slide(jnp.zeros(2), jnp.array([100.0, 1.0]), wall)[-1]
        Array([1., 1.], dtype=float32)
    """
    way = [point]
    for _ in range(contacts):
        time, face, normal = first_contact(point, displacement, boxes)
        there = jnp.where(normal, face, point + time * displacement)
        # Rounding beside a corner may put the point a last digit into another box: then it waits.
        stuck = inside(there, boxes)
        point = jnp.where(stuck, point, there)
        displacement = jnp.where(normal | stuck, 0.0, (1 - time) * displacement)
        way.append(point)
    return jnp.stack(way)


def visible(
    start: Float[Array, "2"], end: Float[Array, "2"], boxes: Float[Array, "b 4"]
) -> Bool[Array, ""]:
    """Say whether the straight segment between two points enters no box.

    Args:
        start: One end.
        end: The other.
        boxes: The walls.

    Returns:
        Whether it does not.
    """
    return ~first_contact(start, end - start, boxes)[2].any()


class Layout(NamedTuple):
    """Walls with what is worked out from them once, on the host.

    Attributes:
        boxes: Walls, grown by the radius of what moves.
        corners: Way points: the corners of walls that a shortest path can bend at.
        between: Lengths of the shortest paths between corners; infinite where there is none.
        regions: Boxes without walls, in which starts and goals are drawn.
        rooms: The room that each region belongs to.
    """

    boxes: Float[np.ndarray, "b 4"]
    corners: Float[np.ndarray, "k 2"]
    between: Float[np.ndarray, "k k"]
    regions: Float[np.ndarray, "r 4"]
    rooms: Int[np.ndarray, "r"]


def make_layout(
    boxes: Float[np.ndarray, "b 4"],
    regions: Float[np.ndarray, "r 4"],
    rooms: Int[np.ndarray, "r"],
    *,
    radius: float,
) -> Layout:
    """Grow walls by a radius and find the shortest paths between their corners.

    Args:
        boxes: The walls as drawn, the outer ones too.
        regions: Boxes without walls, already shrunk by the radius.
        rooms: The room of each region.
        radius: Radius of what moves.

    Returns:
        The layout.

    Raises:
        ValueError: If the radius is not positive: two walls that touch would let a point through.
    """
    check_positive("radius", radius)
    grown = grow(boxes, radius)
    outer = grow(grown, MARGIN)
    corners = np.concatenate([outer[:, [x, y]] for x in (0, 2) for y in (1, 3)])
    free = ~np.asarray(jax.vmap(inside, (0, None))(jnp.asarray(corners), jnp.asarray(grown)))
    low, high = regions[:, :2].min(0), regions[:, 2:].max(0)
    corners = corners[free & ((corners > low[None]) & (corners < high[None])).all(1)]
    if not len(corners):
        corners = np.asarray([(low + high) / 2], np.float32)
    sees = jax.jit(jax.vmap(jax.vmap(visible, (None, 0, None)), (0, None, None)))
    clear = np.asarray(sees(jnp.asarray(corners), jnp.asarray(corners), jnp.asarray(grown)))
    lengths = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    between = np.where(clear & clear.T, lengths, np.inf)
    for middle in range(len(corners)):  # Floyd and Warshall
        between = np.minimum(between, between[:, middle, None] + between[None, middle])
    between = between.astype(np.float32)
    return Layout(grown, corners.astype(np.float32), between, regions, rooms)


def shortest_path(
    start: Float[Array, "2"], goal: Float[Array, "2"], layout: Layout
) -> tuple[Float[Array, ""], Float[Array, "2"]]:
    r"""Find the length of the shortest path, and the point to go straight to.

    A shortest path among boxes is straight or bends at their corners,
    $\min_{ij} |x - c_i| + D_{ij} + |c_j - g|$ over corners seen from the start and from the goal.
    Way points keep :data:`MARGIN` away from corners, so a path is longer than the infimum by a few
    margins at most.

    Args:
        start: From where.
        goal: To where.
        layout: The walls.

    Returns:
        The length, infinite where there is no path; and the goal if it is seen, else the first
        corner of the path.
    """
    boxes, corners = jnp.asarray(layout.boxes), jnp.asarray(layout.corners)
    sees = jax.vmap(visible, (None, 0, None))
    straight = visible(start, goal, boxes)

    def leg(point):
        lengths = jnp.linalg.norm(corners - point[None], axis=1)
        return lengths, jnp.where(sees(point, corners, boxes), lengths, jnp.inf)

    first, reach = leg(start)
    rest = (jnp.asarray(layout.between) + leg(goal)[1][None]).min(1)
    # Of paths of one length the one whose corner is farther: a corner that was reached is done.
    corner = (reach * (1 - 1e-4) + rest).argmin()
    length = jnp.where(straight, jnp.linalg.norm(goal - start), first[corner] + rest[corner])
    length = jnp.where(straight | jnp.isfinite(reach[corner]), length, jnp.inf)
    return length, jnp.where(straight, goal, corners[corner])


def sample_region(
    key: PRNGKeyArray, layout: Layout, allowed: Bool[Array, "r"]
) -> Float[Array, "2"]:
    """Draw a point uniformly from the regions that are allowed.

    Args:
        key: Random key.
        layout: The walls.
        allowed: Which regions.

    Returns:
        The point.
    """
    at, within = jax.random.split(key)
    regions = jnp.asarray(layout.regions)
    sides = regions[:, 2:] - regions[:, :2]
    area = jnp.where(allowed, sides.prod(1), 0)
    region = jax.random.categorical(
        at, jnp.where(area > 0, jnp.log(jnp.maximum(area, 1e-12)), -jnp.inf)
    )
    return regions[region, :2] + jax.random.uniform(within, (2,)) * sides[region]


def same_room(point: Float[Array, "2"], layout: Layout) -> Bool[Array, "r"]:
    """Say which regions belong to the room of a point, the nearest room if it is in none.

    Args:
        point: The point.
        layout: The walls.

    Returns:
        True for the regions of its room.
    """
    regions, rooms = jnp.asarray(layout.regions), jnp.asarray(layout.rooms)
    outside = jnp.maximum(regions[:, :2] - point[None], point[None] - regions[:, 2:])
    nearest = jnp.maximum(outside, 0).max(1).argmin()
    return rooms == rooms[nearest]
