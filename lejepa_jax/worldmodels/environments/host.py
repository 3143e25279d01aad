"""What an environment of the host is: one simulator with a state that can be set."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from lejepa_jax.choices import choose
from lejepa_jax.worldmodels.environments.pusht import PushT


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


#: Environments of the host by name, with hyphens for underscores in what a person writes.
HOST_ENVIRONMENTS: Mapping[str, Callable[..., HostEnvironment]] = MappingProxyType(
    {"push_t": PushT}
)


def host_environment_by_name(text: str) -> Callable[[], HostEnvironment]:
    """Find what makes the environment of the host that a line of text asks for.

    Args:
        text: `push-t`, alone or called with options that are literals: `push-t(relative=False)`.

    Returns:
        What makes it; nothing is imported or made yet.

    Raises:
        ValueError: If there is no such name or option.

    Examples:
        >>> host_environment_by_name("push-t(scale=50.0)").keywords
        {'scale': 50.0}
    """
    head, bracket, rest = text.partition("(")
    return choose("environment", head.replace("-", "_") + bracket + rest, HOST_ENVIRONMENTS)


def is_host_environment(name: str) -> bool:
    """Say whether a name is that of an environment of the host.

    Examples:
        >>> is_host_environment("push-t"), is_host_environment("two-room")
        (True, False)
    """
    return name.partition("(")[0].replace("-", "_") in HOST_ENVIRONMENTS
