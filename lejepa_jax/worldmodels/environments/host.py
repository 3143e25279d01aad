"""What an environment of the host is: one simulator with a state that can be set."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8


@runtime_checkable
class HostEnvironment(Protocol):
    """A simulator that is not written in JAX; several of them run in step, planned for at once.

    States are vectors `(s)` that say all there is to say: a goal is one as well.

    Attributes:
        name: For tables.
        action_low: Lower bounds of the actions `(a)`.
        action_high: Upper bounds.
    """

    name: str
    action_low: Float[np.ndarray, "a"]
    action_high: Float[np.ndarray, "a"]

    def reset(self, seed: int) -> None:
        """Start anew."""
        ...

    def set_state(self, state: Float[np.ndarray, "s"]) -> None:
        """Go to a state."""
        ...

    def vector(self) -> Float[np.ndarray, "s"]:
        """Return the state."""
        ...

    def step(self, action: Float[np.ndarray, "a"]) -> None:
        """Act; actions out of bounds are clipped."""
        ...

    def render(self) -> UInt8[np.ndarray, "h w c"]:
        """Return a frame of the present state."""
        ...

    def distance(self, goal: Float[np.ndarray, "s"]) -> float:
        """Return the distance of the state from a goal."""
        ...

    def solved(self, goal: Float[np.ndarray, "s"]) -> bool:
        """Say whether the state solves a goal."""
        ...

    def stay(self) -> Float[np.ndarray, "a"]:
        """Return the action that changes least."""
        ...
