"""Two rooms with a door between them, the usual first test of planning in a latent space."""

import numpy as np

from lejepa_jax.worldmodels.environments.points import Background, outer_walls, point_world
from lejepa_jax.worldmodels.environments.protocol import Environment


def two_room(
    *,
    image_size: int = 64,
    background: Background = "none",
    door_at: float = 0.5,
    door_width: float = 0.25,
    wall_width: float = 0.06,
    radius: float = 0.04,
    speed: float = 0.05,
    tolerance: float = 0.0625,
) -> Environment:
    """Make a unit square with a wall down its middle, and a door in it.

    Args:
        image_size: Pixels along a side, 32 to 64 being usual.
        background: `none`, `episode` (random squares that stay for an episode) or `frame`.
        door_at: Height of the middle of the door.
        door_width: Its width.
        wall_width: Thickness of all walls.
        radius: Radius of the disk that moves.
        speed: Largest length of a step.
        tolerance: A goal is solved when the center is nearer than this.

    Returns:
        The environment; `sample_goal(..., where="other")` asks for goals behind the door.

    Raises:
        ValueError: If the disk does not fit through the door, or a size is not positive.

    Examples:
        >>> import jax
        >>> world = two_room(image_size=32)
        >>> state = world.reset(jax.random.key(0))
        >>> world.render(state).shape
        (32, 32, 3)
        >>> goal = world.sample_goal(jax.random.key(1), state, where="other")
        >>> bool((state.position[0] < 0.5) != (goal.position[0] < 0.5))
        True

    References:
        Sobal et al., "Joint Embedding Predictive Architectures Focus on Slow Features",
        arXiv:2211.10831, for the background that stays.
    """
    if not 0 < 2 * radius < door_width:
        raise ValueError(
            f"door_width must be above twice the radius {radius}, which is positive, "
            f"got {door_width}"
        )
    if not wall_width + door_width / 2 <= door_at <= 1 - wall_width - door_width / 2:
        raise ValueError(f"door_at must leave the door within the wall, got {door_at}")
    left, right = 0.5 - wall_width / 2, 0.5 + wall_width / 2
    low, high = door_at - door_width / 2, door_at + door_width / 2
    middle = [[left, -1.0, right, low], [left, high, right, 2.0]]
    boxes = np.array(outer_walls((1.0, 1.0), wall_width) + middle, np.float32)
    edge = wall_width + radius
    regions = np.array(
        [[edge, edge, left - radius, 1 - edge], [right + radius, edge, 1 - edge, 1 - edge]],
        np.float32,
    )
    return point_world(
        "two-room",
        boxes,
        regions,
        np.arange(2),
        image_size=image_size,
        radius=radius,
        speed=speed,
        tolerance=tolerance,
        background=background,
    )
