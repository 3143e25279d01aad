"""Worlds of one point: pictures, starts, goals and backgrounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lejepa_jax.worldmodels.environments import point_maze, random_maze, two_room
from lejepa_jax.worldmodels.environments.mazes import merge_cells
from tests.lejepa_jax.worldmodels.environments.cases import jitted

KEYS = jax.random.split(jax.random.key(0), 64)


@pytest.fixture(scope="module")
def world():
    return jitted(two_room(image_size=32, background="episode"))


def test_a_picture_shows_the_disk_where_it_is(world):
    plain = jitted(two_room(image_size=32))
    state = plain.reset(KEYS[0])
    for x, y in ((0.25, 0.7), (0.25, 0.715)):  # half a pixel apart
        picture = np.float64(plain.render(state._replace(position=jnp.array([x, y]))))
        redness = picture[..., 0] - picture[..., 1]
        redness = np.maximum(redness - 1, 0)
        rows, columns = (np.arange(32) + 0.5) / 32, (np.arange(32) + 0.5) / 32
        np.testing.assert_allclose((redness.sum(1) @ rows) / redness.sum(), y, atol=3e-3)
        np.testing.assert_allclose((redness.sum(0) @ columns) / redness.sum(), x, atol=3e-3)


def test_backgrounds_stay_for_an_episode_or_change_each_frame(world):
    state = world.reset(KEYS[0])
    later = state._replace(time=jnp.int32(5))
    other = world.reset(KEYS[1])._replace(position=state.position)
    goal = world.sample_goal(KEYS[2], state)
    assert (world.render(state) == world.render(later)).all()
    assert (world.render(state) != world.render(other)).mean() > 0.5
    assert goal.background == state.background
    noisy = jitted(two_room(image_size=32, background="frame"))
    assert (noisy.render(state) != noisy.render(later)).mean() > 0.5
    assert (noisy.render(state) == noisy.render(state)).all()


def test_goals_are_in_the_room_that_is_asked_for(world):
    states = jax.vmap(world.reset)(KEYS)
    left = np.asarray(states.position)[:, 0] < 0.5
    assert 10 < left.sum() < 54
    for where, expected in (("same", left), ("other", ~left)):
        goals = jax.vmap(lambda key, state, at=where: world.sample_goal(key, state, where=at))(
            KEYS, states
        )
        assert ((np.asarray(goals.position)[:, 0] < 0.5) == expected).all()


def test_no_direction_is_faster(world):
    state = world.reset(KEYS[0])._replace(position=jnp.array([0.25, 0.5]))
    for action in ([1.0, 1.0], [5.0, 0.0], [0.0, -1.0]):
        moved = world.step(state, jnp.array(action))
        np.testing.assert_allclose(world.distance(moved, state), 0.05, rtol=1e-5)
    np.testing.assert_array_equal(world.step(state, world.stay(state)).position, state.position)
    assert not world.solved(world.reset(KEYS[0]), world.reset(KEYS[1]))
    assert world.solved(state, world.step(state, jnp.ones(2)))


def test_bad_arguments_are_refused(unchecked):
    with pytest.raises(ValueError, match="door_width"):
        two_room(door_width=0.05)
    with pytest.raises(ValueError, match="door_at"):
        two_room(door_at=0.95)
    with pytest.raises(ValueError, match="background"):
        two_room(background="stars")
    with pytest.raises(ValueError, match="where must be one of any, same, other"):
        two_room().sample_goal(KEYS[0], two_room().reset(KEYS[0]), where="here")
    with pytest.raises(ValueError, match="rows must be one of u, medium"):
        point_maze("nowhere")
    with pytest.raises(ValueError, match="an open cell"):
        point_maze(("##", "##"))
    with pytest.raises(ValueError, match="radius"):
        point_maze(radius=0.5)


def breadth_first(rows, start):
    """Least number of cells from a start, by a search of the test's own."""
    found, front = {start: 0}, [start]
    while front:
        row, column = front.pop(0)
        for there in ((row + 1, column), (row, column + 1), (row - 1, column), (row, column - 1)):
            if rows[there[0]][there[1]] == "." and there not in found:
                found[there] = found[row, column] + 1
                front.append(there)
    return found


@pytest.mark.parametrize("rows", [random_maze(1, 3), random_maze(5, 3, openings=0.4)])
def test_shortest_paths_of_a_maze_agree_with_a_search_of_its_cells(rows):
    world = point_maze(rows, image_size=16, speed=0.01)
    side = len(rows)
    cells = [(r, c) for r in range(side) for c in range(side) if rows[r][c] == "."]
    where = jnp.array([[(c + 0.5) / side, (r + 0.5) / side] for r, c in cells])
    state = world.reset(KEYS[0])

    def steps(goal):
        return world.shortest_steps(
            state._replace(position=where[0]), state._replace(position=goal)
        )

    lengths = np.asarray(jax.jit(jax.vmap(steps))(where)) * 0.01
    cell_steps = np.array([breadth_first(rows, cells[0]).get(cell, np.inf) for cell in cells])
    assert np.isfinite(cell_steps).all()  # the maze is connected
    assert (lengths <= cell_steps + 0.1).all()
    # Cutting all corners saves at most as much as straight diagonals would.
    assert (lengths >= cell_steps / np.sqrt(2) - 0.01).all()


def test_boxes_cover_the_walls_of_a_grid_once():
    walls = np.array([[cell == "#" for cell in row] for row in random_maze(2, 4)])
    count = np.zeros(walls.shape, int)
    for low_x, low_y, high_x, high_y in merge_cells(walls):
        count[low_y:high_y, low_x:high_x] += 1
    np.testing.assert_array_equal(count, walls)
