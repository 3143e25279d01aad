"""Point mazes: a disk in a grid of walls."""

import numpy as np

from lejepa_jax.worldmodels.environments.points import Background, outer_walls, point_world
from lejepa_jax.worldmodels.environments.protocol import Environment

#: Mazes by name; `#` is a wall.
MAZES = {
    "u": ("#####", "#...#", "###.#", "#...#", "#####"),
    "medium": (
        "#########",
        "#...#...#",
        "#.#.#.#.#",
        "#.#...#.#",
        "#.#####.#",
        "#...#...#",
        "###.#.#.#",
        "#.....#.#",
        "#########",
    ),
}


def random_maze(seed: int, rooms: int = 4, *, openings: float = 0.1) -> tuple[str, ...]:
    r"""Make a maze by a random depth-first search, with some more openings for loops.

    Args:
        seed: Seed of the maze.
        rooms: Cells without walls along a side; the grid has `2 rooms + 1` of all.
        openings: Share of the remaining inner walls between two cells that are opened.

    Returns:
        Rows of `#` and `.`; every open cell can be reached from every other.

    Raises:
        ValueError: If there is no room.

    Examples:
        >>> print(*random_maze(0, 3), sep="\n")
        #######
        ...
        #######
    """
    if rooms < 1:
        raise ValueError(f"rooms must be at least 1, got {rooms}")
    rng = np.random.default_rng(seed)
    grid = np.full((2 * rooms + 1, 2 * rooms + 1), "#")
    grid[1, 1] = "."
    trail = [(1, 1)]
    while trail:
        row, column = trail[-1]
        ways = [(row + dr, column + dc) for dr, dc in ((0, 2), (2, 0), (0, -2), (-2, 0))]
        ways = [at for at in ways if min(at) > 0 and max(at) < 2 * rooms and grid[at] == "#"]
        if not ways:
            trail.pop()
            continue
        there = ways[rng.integers(len(ways))]
        grid[there] = grid[(row + there[0]) // 2, (column + there[1]) // 2] = "."
        trail.append(there)
    for row in range(1, 2 * rooms):
        for column in range(1 + row % 2, 2 * rooms, 2):
            if rng.uniform() < openings:
                grid[row, column] = "."
    return tuple("".join(line) for line in grid)


def merge_cells(walls: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Cover the walls of a grid with few boxes.

    Args:
        walls: True where there is a wall, `(rows, columns)`.

    Returns:
        Boxes (low column, low row, high column, high row), each as wide and then as high as it
        can be; they hold every wall once and nothing else.

    Examples:
        >>> merge_cells(np.array([[True, True], [True, False]]))
        [(0, 0, 2, 1), (0, 1, 1, 2)]
    """
    left, boxes = walls.copy(), []
    while left.any():
        row, column = np.argwhere(left)[0]
        wide = column + 1
        while wide < left.shape[1] and left[row, wide]:
            wide += 1
        high = row + 1
        while high < left.shape[0] and left[high, column:wide].all():
            high += 1
        left[row:high, column:wide] = False
        boxes.append((int(column), int(row), int(wide), int(high)))
    return boxes


def point_maze(
    rows: str | tuple[str, ...] = "medium",
    *,
    image_size: int = 64,
    background: Background = "none",
    radius: float = 0.25,
    speed: float = 0.4,
    tolerance: float = 0.5,
) -> Environment:
    """Make a maze of square cells whose longer side has length one.

    Args:
        rows: A name of :data:`MAZES`, or rows of `#` (wall) and `.`, such as those of
            :func:`random_maze`.
        image_size: Pixels along the longer side.
        background: `none`, `episode` (random squares that stay for an episode) or `frame`.
        radius: Radius of the disk that moves, in cells.
        speed: Largest length of a step, in cells.
        tolerance: A goal is solved when the center is nearer than this, in cells.

    Returns:
        The environment. Its oracle and its shortest steps follow the exact shortest path; cells of
        one connected part are one room.

    Raises:
        ValueError: If the rows are no grid of walls and cells, or the disk does not fit.

    Examples:
        >>> import jax
        >>> world = point_maze(("#####", "#...#", "###.#"), image_size=40)
        >>> world.render(world.reset(jax.random.key(0))).shape
        (24, 40, 3)
    """
    grid = _read_grid(MAZES.get(rows, (rows,)) if isinstance(rows, str) else rows)
    if not 0 < radius < 0.5:
        raise ValueError(f"radius must be above 0 and below half a cell, got {radius}")
    cell = 1 / max(grid.shape)
    extent = grid.shape[1] * cell, grid.shape[0] * cell
    boxes = outer_walls(extent, 0.0) + [
        [side * cell for side in box] for box in merge_cells(grid == "#")
    ]
    free = np.argwhere(grid != "#")[:, ::-1]
    regions = np.concatenate([free + radius, free + 1 - radius], 1) * cell
    return point_world(
        "point-maze",
        np.array(boxes, np.float32),
        regions.astype(np.float32),
        _connected(free),
        extent=extent,
        image_size=image_size,
        radius=radius * cell,
        speed=speed * cell,
        tolerance=tolerance * cell,
        background=background,
    )


def _read_grid(rows: tuple[str, ...]) -> np.ndarray:
    if len({len(row) for row in rows}) != 1 or set("".join(rows)) - set("#."):
        names = ", ".join(MAZES)
        raise ValueError(
            f"rows must be one of {names}, or equally long rows of # and ., got {rows}"
        )
    grid = np.array([list(row) for row in rows])
    if not (grid == ".").any():
        raise ValueError("rows must have an open cell, got walls alone")
    return grid


def _connected(cells: np.ndarray) -> np.ndarray:
    """Number the connected parts of open cells by a breadth-first search."""
    numbers = {tuple(cell): -1 for cell in cells.tolist()}
    parts = 0
    for cell in numbers:
        if numbers[cell] >= 0:
            continue
        numbers[cell], front = parts, [cell]
        while front:
            x, y = front.pop(0)
            for there in ((x + 1, y), (x, y + 1), (x - 1, y), (x, y - 1)):
                if numbers.get(there, 0) < 0:
                    numbers[there] = parts
                    front.append(there)
        parts += 1
    return np.array(list(numbers.values()))
