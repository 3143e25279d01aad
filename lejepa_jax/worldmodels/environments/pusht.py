"""Push-T: a disk pushes a T-shaped block to a pose, through `gym-pusht`."""

import os

import numpy as np
from jaxtyping import Float, UInt8

from lejepa_jax.checks import check_positive, needs_extra

#: Side of the scene in pixels, the unit of its positions.
SIDE = 512.0


class PushT:
    """Push-T as an environment of the host, its frames the 96 x 96 observations.

    The state is (agent x, agent y, block x, block y, block angle); a state that is set is at rest.
    Replayed from a recorded state, actions that were recorded lead to what was recorded but for
    tenths of a pixel, which the unknown velocities are worth.

    A goal is solved as in LeWM's evaluation, not as in the environment's own (which asks for an
    overlap with the green T that is drawn, and ignores the goal): positions of agent and block
    together within 20 pixels, and the angle within 20 degrees.

    Args:
        relative: Whether actions are where to go from where the agent is, in units of `scale`
            pixels, as world models are trained; else target positions in pixels, as recorded.
        scale: Unit of relative actions in pixels.
        distance_tolerance: In pixels.
        angle_tolerance: In radians.

    Raises:
        MissingExtra: If `gym-pusht` is not installed.

    References:
        Chi et al., "Diffusion Policy", arXiv:2303.04137.
    """

    def __init__(
        self,
        *,
        relative: bool = True,
        scale: float = 100.0,
        distance_tolerance: float = 20.0,
        angle_tolerance: float = np.pi / 9,
    ):
        check_positive("scale", scale)
        # Nothing is shown; SDL reads this when it is loaded.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        with needs_extra("pusht"):
            from gym_pusht.envs.pusht import PushTEnv  # pyright: ignore[reportMissingImports]

        self.name = "push-t"
        self.relative, self.scale = relative, scale
        self.distance_tolerance, self.angle_tolerance = distance_tolerance, angle_tolerance
        self.action_low = np.full(2, -1.0 if relative else 0.0, np.float32)
        self.action_high = np.full(2, 1.0 if relative else SIDE, np.float32)
        self._environment = PushTEnv(obs_type="state")
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start anew, agent and block at random."""
        self._environment.reset(seed=seed)
        self.set_state(self.vector())

    def set_state(self, state: Float[np.ndarray, "s"]) -> None:
        """Go to a state, at rest.

        The package's own `reset_to_state` sets the position first: the angle then turns the block
        about its center of mass, and moves it by some 30 pixels.
        """
        environment = self._environment
        environment._setup()  # a new space: nothing of earlier contacts is left
        agent, block = environment.agent, environment.block
        agent.position = tuple(map(float, state[:2]))
        block.angle = float(state[4])
        block.position = tuple(map(float, state[2:4]))
        # Shapes follow their bodies at the next step only, and would be drawn where they were.
        environment.space.reindex_shapes_for_body(agent)
        environment.space.reindex_shapes_for_body(block)

    def vector(self) -> Float[np.ndarray, "s"]:
        """Return the state; the angle is in [0, 2 pi)."""
        agent, block = self._environment.agent, self._environment.block
        return np.array([*agent.position, *block.position, block.angle % (2 * np.pi)])

    def target(self, action: Float[np.ndarray, "a"]) -> Float[np.ndarray, "a"]:
        """Return the target position that an action means, within the scene."""
        action = np.clip(np.asarray(action, np.float64), self.action_low, self.action_high)
        if self.relative:
            action = np.array(self._environment.agent.position) + self.scale * action
        return np.clip(action, 0, SIDE)

    def step(self, action: Float[np.ndarray, "a"]) -> None:
        """Act for a tenth of a second."""
        self._environment.step(self.target(action))

    def render(self) -> UInt8[np.ndarray, "h w c"]:
        """Return the 96 x 96 observation (the environment's `render()` gives 680 x 680)."""
        return np.asarray(self._environment._render(), np.uint8)

    def distance(self, goal: Float[np.ndarray, "s"]) -> float:
        """Return the distance of agent and block from their goals together, in pixels."""
        return float(np.linalg.norm(self.vector()[:4] - goal[:4]))

    def solved(self, goal: Float[np.ndarray, "s"]) -> bool:
        """Say whether positions and angle are within their tolerances."""
        turn = (self.vector()[4] - goal[4] + np.pi) % (2 * np.pi) - np.pi
        near = self.distance(goal) < self.distance_tolerance
        return bool(near and abs(turn) < self.angle_tolerance)

    def stay(self) -> Float[np.ndarray, "a"]:
        """Return the action whose target is where the agent is."""
        return np.zeros(2) if self.relative else np.array(self._environment.agent.position)
