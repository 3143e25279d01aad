"""A disk passes through no wall, slides as it should, and takes the shortest path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.worldmodels.environments import point_maze, random_maze, two_room
from lejepa_jax.worldmodels.environments.walls import make_layout, shortest_path, slide

WALL = jnp.array([[0.4, -1.0, 0.6, 0.5]])


def crossings(way, boxes, slack=1e-6):
    """Count segments that enter a box shrunk by a slack, in double precision, by another formula.

    The segment is clipped to one side of the box after the other (Liang and Barsky).
    """
    start, end = np.float64(way[..., :-1, :]), np.float64(way[..., 1:, :])
    count = 0
    for low_x, low_y, high_x, high_y in np.float64(boxes):
        enter, leave = np.zeros(start.shape[:-1]), np.ones(start.shape[:-1])
        outside = np.zeros(start.shape[:-1], bool)
        for axis, low, high in ((0, low_x, high_x), (1, low_y, high_y)):
            step = end[..., axis] - start[..., axis]
            for p, q in (
                (-step, start[..., axis] - low - slack),
                (step, high - slack - start[..., axis]),
            ):
                outside |= (p == 0) & (q <= 0)
                ratio = np.divide(q, p, out=np.zeros_like(q), where=p != 0)
                enter = np.where(p < 0, np.maximum(enter, ratio), enter)
                leave = np.where(p > 0, np.minimum(leave, ratio), leave)
        count += int(((enter < leave) & ~outside).sum())
    return count


def test_the_count_of_crossings_sees_one():
    assert crossings(np.array([[0.0, 0.0], [1.0, 0.0]]), WALL) == 1
    assert crossings(np.array([[0.0, 0.6], [1.0, 0.6]]), WALL) == 0
    assert crossings(np.array([[0.4, 0.0], [0.4, 0.9]]), WALL) == 0


@pytest.mark.parametrize("scale", [0.05, 30.0])
def test_no_way_passes_through_a_wall(scale):
    layout = make_layout(
        two_room().outline, np.array([[0.1, 0.1, 0.4, 0.9]], np.float32), np.arange(1), radius=0.04
    )
    boxes = jnp.asarray(layout.boxes)

    def advance(point, displacement):
        way = slide(point, displacement, boxes)
        return way[-1], way

    starts = jax.random.uniform(jax.random.key(0), (50, 2), minval=0.11, maxval=0.4)
    moves = scale * jax.random.normal(jax.random.key(1), (50, 200, 2))
    end, ways = jax.jit(jax.vmap(lambda *x: jax.lax.scan(advance, *x)))(starts, moves)
    assert crossings(np.asarray(ways), layout.boxes) == 0
    points = np.asarray(ways).reshape(-1, 1, 2)
    assert not ((layout.boxes[:, :2] < points) & (points < layout.boxes[:, 2:])).all(-1).any()
    assert (np.asarray(end)[:, 0] > 0.5).any()  # some went through the door
    assert np.linalg.norm(np.diff(ways, axis=2), axis=-1).sum(-1).max() > 0.5 * min(scale, 0.5)


def test_a_point_stops_slides_and_leaves():
    move_point = jax.jit(slide)

    def go(start, move):
        return np.asarray(move_point(jnp.array(start), jnp.array(move), WALL)[-1])

    np.testing.assert_array_equal(go([0.0, 0.0], [9.0, 0.0]), np.float32([0.4, 0.0]))
    np.testing.assert_allclose(go([0.3, 0.0], [0.2, 0.2]), [0.4, 0.2], atol=1e-6)
    np.testing.assert_allclose(go([0.4, 0.0], [-0.1, 0.1]), [0.3, 0.1], atol=1e-6)
    # Along the face, exactly, and past its end it does not turn the corner.
    np.testing.assert_array_equal(go([0.4, 0.0], [0.0, 1.0]), np.float32([0.4, 1.0]))
    np.testing.assert_allclose(go([0.0, 0.7], [1.0, 0.0]), [1.0, 0.7], atol=1e-6)
    assert not np.any(go([0.2, 0.2], [0.0, 0.0]) - np.float32([0.2, 0.2]))


def test_the_shortest_path_goes_around_the_corner():
    layout = make_layout(
        np.asarray(WALL), np.array([[-1, 0, 2, 2]], np.float32), np.arange(1), radius=0.1
    )
    find = jax.jit(lambda start, goal: shortest_path(start, goal, layout))
    length, there = find(jnp.array([0.0, 0.3]), jnp.array([1.0, 0.3]))
    corner = np.hypot(0.3, 0.3)
    np.testing.assert_allclose(length, 2 * corner + 0.4, atol=5e-3)
    np.testing.assert_allclose(there, [0.3, 0.6], atol=2e-3)
    length, there = find(jnp.array([0.0, 0.9]), jnp.array([1.0, 0.9]))
    np.testing.assert_allclose([length, *there], [1.0, 1.0, 0.9], rtol=1e-6)


@pytest.mark.parametrize("world", [two_room(), point_maze(random_maze(3, 3, openings=0.3))])
def test_the_oracle_gets_there_in_nearly_the_shortest_steps(world):
    keys = jax.random.split(jax.random.key(2), 300)

    @jax.jit
    @jax.vmap
    def draw(key):
        state = world.reset(key)
        goal = world.sample_goal(jax.random.fold_in(key, 1), state)
        return state, goal, world.shortest_steps(state, goal)

    states, goals, least = draw(keys)
    least = np.asarray(least)
    assert np.isfinite(least).all()

    def run(state, goal):
        def advance(state, _):
            state = world.step(state, world.oracle(state, goal))
            return state, world.solved(state, goal)

        return jax.lax.scan(advance, state, length=int(1.5 * least.max()))[1]

    solved = np.asarray(jax.jit(jax.vmap(run))(states, goals))
    assert solved.any(1).all()
    # A part of a step is lost at every corner.
    assert (solved.argmax(1) + 1 <= np.maximum(1.25 * least, least + 2)).all()
