"""A disk that moves among walls: what all worlds of one point share."""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8, UInt32

from lejepa_jax.checks import check_choice, check_positive
from lejepa_jax.worldmodels.environments.protocol import Environment
from lejepa_jax.worldmodels.environments.walls import (
    make_layout,
    same_room,
    sample_region,
    shortest_path,
    slide,
)

Background = Literal["none", "episode", "frame"]
Where = Literal["any", "same", "other"]

FLOOR, WALL, AGENT = (235, 235, 235), (70, 70, 80), (200, 30, 30)
#: Squares of a random background along the longer side.
SQUARES = 8


class PointState(NamedTuple):
    """Where the disk is.

    Attributes:
        position: Its center.
        background: Number of the episode's random background.
        time: Steps since the start.
    """

    position: Float[Array, "2"]
    background: UInt32[Array, ""]
    time: Int[Array, ""]


def draw_walls(
    boxes: Float[np.ndarray, "b 4"], extent: tuple[float, float], shape: tuple[int, int]
) -> Float[np.ndarray, "h w"]:
    """Compute the share of each pixel that walls cover.

    Args:
        boxes: The walls as drawn.
        extent: Width and height of the scene.
        shape: Height and width of the picture in pixels.

    Returns:
        Shares in [0, 1], from 4 x 4 points a pixel.
    """
    fine = 4
    rows, columns = (
        (np.arange(fine * count) + 0.5) / (fine * count) * side
        for count, side in zip(shape, extent[::-1], strict=True)
    )
    x, y = columns[None], rows[:, None]
    covered = np.zeros((len(rows), len(columns)), bool)
    for low_x, low_y, high_x, high_y in boxes:
        covered |= (low_x < x) & (x < high_x) & (low_y < y) & (y < high_y)
    blocks = covered.reshape(shape[0], fine, shape[1], fine)
    return blocks.mean((1, 3)).astype(np.float32)


def render_point(
    state: PointState,
    walls: Float[np.ndarray, "h w"],
    *,
    extent: tuple[float, float],
    radius: float,
    background: Background,
) -> UInt8[Array, "h w 3"]:
    """Draw the disk, smooth at its edge, so that shifts of a fraction of a pixel are seen.

    Args:
        state: Where it is.
        walls: Share of each pixel that walls cover.
        extent: Width and height of the scene.
        radius: Radius of the disk.
        background: Whether the floor is plain, random squares of the episode, or of each frame.

    Returns:
        The picture; rows follow y, downward.
    """
    height, width = walls.shape
    pixel = extent[0] / width
    floor = jnp.broadcast_to(jnp.asarray(FLOOR, jnp.float32), (height, width, 3))
    if background != "none":
        key = jax.random.key(state.background)
        if background == "frame":
            key = jax.random.fold_in(key, state.time)
        colors = jax.random.uniform(key, (SQUARES, SQUARES, 3), minval=60.0, maxval=255.0)
        side = max(height, width)
        floor = colors[
            jnp.arange(height)[:, None] * SQUARES // side, jnp.arange(width)[None] * SQUARES // side
        ]
    cover = jnp.asarray(walls)[..., None]
    picture = floor * (1 - cover) + jnp.asarray(WALL, jnp.float32)[None, None] * cover
    x = (jnp.arange(width, dtype=jnp.float32) + 0.5) * pixel - state.position[0]
    y = (jnp.arange(height, dtype=jnp.float32) + 0.5) * pixel - state.position[1]
    gap = radius - jnp.sqrt(jnp.square(x)[None] + jnp.square(y)[:, None])
    disk = jnp.clip(gap / pixel + 0.5, 0, 1)[..., None]
    picture = picture * (1 - disk) + jnp.asarray(AGENT, jnp.float32)[None, None] * disk
    return jnp.round(picture).astype(jnp.uint8)


def clip_length(action: Float[Array, "2"]) -> Float[Array, "2"]:
    """Shorten an action to length one, so that no direction is faster than another.

    Args:
        action: The action.

    Returns:
        It, with a length of at most one.
    """
    length = jnp.sqrt(jnp.maximum(jnp.square(action).sum(), 1.0))
    return action / length


def point_world(
    name: str,
    boxes: Float[np.ndarray, "b 4"],
    regions: Float[np.ndarray, "r 4"],
    rooms: Int[np.ndarray, "r"],
    *,
    extent: tuple[float, float] = (1.0, 1.0),
    image_size: int = 64,
    radius: float = 0.04,
    speed: float = 0.05,
    tolerance: float = 0.0625,
    background: Background = "none",
) -> Environment:
    """Make the world of a disk among walls.

    A step moves the disk by `speed * action`, actions longer than 1 being shortened to 1, with
    exact collisions (:func:`~lejepa_jax.worldmodels.environments.walls.slide`).

    Args:
        name: Its name.
        boxes: Walls (low x, low y, high x, high y), the outer ones too.
        regions: Boxes in which the center of the disk can be, for starts and goals.
        rooms: The room of each region.
        extent: Width and height of the scene.
        image_size: Pixels along the longer side.
        radius: Radius of the disk.
        speed: Largest length of a step.
        tolerance: A goal is solved when its center is nearer than this.
        background: `none`; `episode` draws random squares that stay for the episode, which a
            predictive objective may encode in place of the disk; `frame` draws new ones each step,
            which nothing can predict.

    Returns:
        The environment. `sample_goal` has the option `where`: in `any` room, the `same` or an
        `other` one.

    Raises:
        ValueError: If a size is not positive, or there is no such background.
    """
    check_choice("background", background, get_args(Background))
    for label, value in {"speed": speed, "tolerance": tolerance, "image_size": image_size}.items():
        check_positive(label, value)
    layout = make_layout(boxes, regions, rooms, radius=radius)
    width, height = (round(image_size * side / max(extent)) for side in extent)
    walls = draw_walls(boxes, extent, (height, width))

    def start(position, background, time):
        return PointState(position, background, jnp.asarray(time, jnp.int32))

    def reset(key):
        place, look = jax.random.split(key)
        position = sample_region(place, layout, jnp.ones(len(regions), bool))
        return start(position, jax.random.bits(look, dtype=jnp.uint32), 0)

    def step(state, action):
        displacement = speed * clip_length(jnp.clip(action, -1, 1))
        way = slide(state.position, displacement, jnp.asarray(layout.boxes))
        return start(way[-1], state.background, state.time + 1)

    def render(state):
        return render_point(state, walls, extent=extent, radius=radius, background=background)

    def sample_goal(key, state, *, where: Where = "any"):
        check_choice("where", where, get_args(Where))
        own = same_room(state.position, layout)
        allowed = {"any": jnp.ones_like(own), "same": own, "other": ~own}[where]
        return start(sample_region(key, layout, allowed), state.background, 0)

    def distance(state, goal):
        return jnp.linalg.norm(state.position - goal.position)

    def solved(state, goal):
        return distance(state, goal) < tolerance

    def oracle(state, goal):
        there = shortest_path(state.position, goal.position, layout)[1]
        return clip_length((there - state.position) / speed)

    def shortest_steps(state, goal):
        return jnp.ceil(shortest_path(state.position, goal.position, layout)[0] / speed)

    return Environment(
        name=name,
        reset=reset,
        step=step,
        render=render,
        vector=lambda state: state.position,
        sample_goal=sample_goal,
        distance=distance,
        solved=solved,
        sample_action=lambda key: jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0),
        action_size=2,
        action_low=-np.ones(2, np.float32),
        action_high=np.ones(2, np.float32),
        vector_names=("x", "y"),
        stay=lambda state: jnp.zeros_like(state.position),
        oracle=oracle,
        shortest_steps=shortest_steps,
        outline=np.asarray(boxes, np.float32),
        extent=extent,
    )


def outer_walls(extent: tuple[float, float], thickness: float) -> list[list[float]]:
    """Give the four walls around a scene; they go on outside of it.

    Args:
        extent: Width and height of the scene.
        thickness: What is seen of them.

    Returns:
        Four boxes.
    """
    (width, height), far = extent, 1.0
    left, top, right, bottom = -far, -far, width + far, height + far
    return [
        [left, top, thickness, bottom],
        [width - thickness, top, right, bottom],
        [left, top, right, thickness],
        [left, height - thickness, right, bottom],
    ]
