"""A simulator of the host for tests, which needs no package."""

import numpy as np


class Point:
    """A point in a square whose frame is its position in 200 gray values."""

    name = "point"
    action_low, action_high = -np.ones(2, np.float32), np.ones(2, np.float32)

    def __init__(self):
        self.reset(0)

    def reset(self, seed):
        self.at = np.random.default_rng(seed).uniform(size=2)

    def set_state(self, state):
        self.at = np.array(state)

    def vector(self):
        return self.at.copy()

    def step(self, action):
        self.at = np.clip(self.at + 0.1 * np.clip(action, -1, 1), 0, 1)

    def render(self):
        return np.round(200 * self.at).astype(np.uint8).reshape(1, 2, 1)

    def distance(self, goal):
        return float(np.linalg.norm(self.at - goal))

    def solved(self, goal):
        return self.distance(goal) < 0.05

    def stay(self):
        return np.zeros(2)


def record(environment, actions, starts):
    """Frames and states at which each of `actions` (e t a) is done."""
    frames, states = [], []
    for start, plan in zip(starts, actions, strict=True):
        environment.set_state(start)
        for action in plan:
            frames.append(environment.render())
            states.append(environment.vector())
            environment.step(action)
    return np.stack(frames), np.stack(states).astype(np.float32)
