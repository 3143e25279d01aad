"""Environments of gymnasium, as environments of the host."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from lejepa_jax.checks import needs_extra

if TYPE_CHECKING:
    import gymnasium  # pyright: ignore[reportMissingImports]


class GymnasiumEnvironment:
    """An environment of gymnasium with what planning needs beside it.

    It fits :class:`~lejepa_jax.worldmodels.environments.host.HostEnvironment`. Frames are those of
    `environment.render()` (make it with `render_mode="rgb_array"`) unless `render` says otherwise.

    Args:
        environment: The environment, or the id that `gymnasium.make` takes; its actions are a box
            of one axis.
        vector: `environment -> (s)`, the state.
        set_state: `(environment, state) -> None`.
        distance: `(state, goal) -> float`; the Euclidean one by default.
        tolerance: A goal is solved when the distance is below it.
        render: `environment -> frame`, uint8 `(h, w, c)`.
        stay: The action that changes least; zeros by default.

    Raises:
        ValueError: If the actions are no box of one axis.
        MissingExtra: If gymnasium is not installed.
    """

    def __init__(
        self,
        environment: "gymnasium.Env | str",
        *,
        vector: Callable[[Any], np.ndarray],
        set_state: Callable[[Any, np.ndarray], None],
        tolerance: float,
        distance: Callable[[np.ndarray, np.ndarray], float] | None = None,
        render: Callable[[Any], np.ndarray] | None = None,
        stay: Float[np.ndarray, "a"] | None = None,
    ):
        with needs_extra("gym"):
            import gymnasium  # pyright: ignore[reportMissingImports]

        made: Any = environment
        if isinstance(environment, str):
            made = gymnasium.make(environment, render_mode="rgb_array")
        space = made.action_space
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"action_space must be a Box of one axis, got {space}")
        self.name = made.spec.id if made.spec else type(made).__name__
        self.environment = made
        self.action_low = np.asarray(space.low, np.float32)
        self.action_high = np.asarray(space.high, np.float32)
        self.tolerance = tolerance
        self._vector, self._set_state, self._render = vector, set_state, render
        self._distance = distance
        self._stay = np.zeros_like(self.action_low) if stay is None else stay

    def reset(self, seed: int) -> None:
        """Start anew."""
        self.environment.reset(seed=seed)

    def set_state(self, state: Float[np.ndarray, "s"]) -> None:
        """Go to a state, after a reset: limits on the number of steps begin anew."""
        self.environment.reset(seed=0)
        self._set_state(self.environment, state)

    def vector(self) -> Float[np.ndarray, "s"]:
        """Return the state."""
        return np.asarray(self._vector(self.environment), np.float64)

    def step(self, action: Float[np.ndarray, "a"]) -> None:
        """Act; actions out of bounds are clipped. What gymnasium says of an end is not heeded."""
        action = np.clip(action, self.action_low, self.action_high)
        self.environment.step(action.astype(self.environment.action_space.dtype))

    def render(self) -> UInt8[np.ndarray, "h w c"]:
        """Return a frame of the present state."""
        frame = (
            self.environment.render() if self._render is None else self._render(self.environment)
        )
        if not isinstance(frame, np.ndarray):
            raise ValueError(
                "environment must be made with render_mode='rgb_array', its frames are "
                f"{type(frame).__name__}"
            )
        return np.asarray(frame, np.uint8)

    def distance(self, goal: Float[np.ndarray, "s"]) -> float:
        """Return the distance of the state from a goal."""
        if self._distance is not None:
            return float(self._distance(self.vector(), goal))
        return float(np.linalg.norm(self.vector() - goal))

    def solved(self, goal: Float[np.ndarray, "s"]) -> bool:
        """Say whether the state is nearer to a goal than the tolerance."""
        return self.distance(goal) < self.tolerance

    def stay(self) -> Float[np.ndarray, "a"]:
        """Return the action that changes least."""
        return self._stay
