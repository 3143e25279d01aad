"""Environments of the host: gymnasium's, and Push-T with its traps."""

import builtins

import gymnasium
import numpy as np
import pytest

from lejepa_jax.checks import MissingExtra
from lejepa_jax.worldmodels.environments import GymnasiumEnvironment, HostEnvironment, PushT

STATE = np.array([150.0, 200.0, 250.0, 300.0, 0.7])
ACTIONS = np.linspace([180.0, 240.0], [300.0, 400.0], 8)


@pytest.fixture(scope="module")
def world():
    return PushT(relative=False)


def replay(world, state=STATE):
    world.set_state(state)
    found = [world.vector()]
    for action in ACTIONS:
        world.step(action)
        found.append(world.vector())
    return np.array(found)


def test_a_state_that_is_set_is_the_state(world):
    assert isinstance(world, HostEnvironment)
    world.set_state(STATE)
    np.testing.assert_allclose(world.vector(), STATE, atol=1e-9)
    world.reset(3)
    start = world.vector()
    world.reset(3)
    np.testing.assert_array_equal(world.vector(), start)
    world.reset(4)
    assert np.abs(world.vector() - start).max() > 1


def test_actions_replayed_from_a_state_lead_to_the_same_states(world):
    first = replay(world)
    assert np.abs(first[-1, 2:4] - first[0, 2:4]).max() > 10  # the block was pushed
    world.reset(5)
    replay(world, STATE + 20)
    np.testing.assert_array_equal(replay(world), first)
    np.testing.assert_array_equal(replay(PushT(relative=False)), first)


def test_frames_show_the_state_at_once(world):
    def middle_of_the_block(frame):
        block = (np.abs(np.int32(frame) - [119, 136, 153]).max(-1) < 12).nonzero()  # slate gray
        return np.array([block[1].mean(), block[0].mean()]) * 512 / 96

    centers = []
    for angle in (0.7, 0.7 + np.pi):
        world.set_state(np.array([*STATE[:4], angle]))
        frame = world.render()
        assert frame.shape == (96, 96, 3)
        assert frame.dtype == np.uint8
        centers.append(middle_of_the_block(frame))
    # The origin of the block is the middle of its bar's outer edge, so a turn by 180 degrees
    # mirrors what is drawn about it.
    np.testing.assert_allclose(np.mean(centers, 0), STATE[2:4], atol=4)
    assert np.linalg.norm(centers[0] - centers[1]) > 30


def test_relative_actions_are_from_where_the_agent_is():
    world = PushT(scale=50.0)
    world.set_state(STATE)
    np.testing.assert_allclose(world.target(np.array([0.5, -9.0])), [175.0, 150.0])
    np.testing.assert_allclose(world.target(world.stay()), STATE[:2])
    world.step(world.stay())
    np.testing.assert_allclose(world.vector(), STATE, atol=1e-6)
    world.set_state(np.array([10.0, 10.0, *STATE[2:]]))
    np.testing.assert_allclose(world.target(np.array([-1.0, 0.0])), [0.0, 10.0])
    with pytest.raises(ValueError, match="scale"):
        PushT(scale=0.0)


def test_a_goal_asks_for_positions_and_for_the_angle(world):
    world.set_state(STATE)
    assert world.solved(STATE + np.array([10, 10, 10, 8, 0]))
    assert not world.solved(STATE + np.array([10, 10, 10, 12, 0]))
    assert world.solved(STATE + np.array([0, 0, 0, 0, 0.34]))
    assert not world.solved(STATE + np.array([0, 0, 0, 0, 0.36]))
    world.set_state(np.array([*STATE[:4], 0.1]))
    assert world.solved(np.array([*STATE[:4], 2 * np.pi - 0.1]))


class Slider(gymnasium.Env):
    """A point on a line."""

    def __init__(self, kind="box"):
        box = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = box if kind == "box" else gymnasium.spaces.Discrete(2)
        self.observation_space = gymnasium.spaces.Box(-9.0, 9.0, (1,), np.float32)
        self.at = 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.uniform(-1, 1)
        return np.float32([self.at]), {}

    def step(self, action):
        assert action.dtype == np.float32
        self.at += float(action[0])
        return np.float32([self.at]), 0.0, False, False, {}

    def render(self):
        return np.full((4, 4, 3), 128 + 10 * self.at, np.uint8)


def slider(**options):
    def go(environment, state):
        environment.at = state[0]

    return GymnasiumEnvironment(
        Slider(), vector=lambda world: [world.at], set_state=go, tolerance=0.1, **options
    )


def test_gymnasium_environments_become_environments_of_the_host():
    world = slider()
    assert isinstance(world, HostEnvironment)
    world.reset(0)
    world.set_state(np.array([2.0]))
    world.step(np.array([7.0]))
    np.testing.assert_array_equal(world.vector(), [3.0])
    assert world.render()[0, 0, 0] == 158
    assert world.distance(np.array([2.5])) == 0.5
    assert world.solved(np.array([3.05]))
    assert not world.solved(np.array([3.2]))
    np.testing.assert_array_equal(world.stay(), [0.0])
    assert slider(distance=lambda state, goal: 0.0).solved(np.array([9.0]))
    assert slider(render=lambda world: np.zeros((2, 2, 3))).render().shape == (2, 2, 3)


def test_what_does_not_fit_is_refused(monkeypatch):
    options = {"vector": np.asarray, "set_state": lambda *_: None, "tolerance": 1.0}
    with pytest.raises(ValueError, match="Box of one axis, got Discrete"):
        GymnasiumEnvironment(Slider("switch"), **options)
    with pytest.raises(ValueError, match="render_mode='rgb_array'"):
        slider(render=lambda world: None).render()
    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] in ("gymnasium", "gym_pusht"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'lejepa-jax\[gym\]'"):
        slider()
    with pytest.raises(MissingExtra, match=r"pip install 'lejepa-jax\[pusht\]'"):
        PushT()
