"""Agents in environments of the host: several in step, planned for by one program."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray, UInt8

from lejepa_jax.checks import check_positive
from lejepa_jax.worldmodels.environments.host import HostEnvironment
from lejepa_jax.worldmodels.environments.protocol import episode_keys
from lejepa_jax.worldmodels.planning.agents import Encode, LatentAgent
from lejepa_jax.worldmodels.planning.success import Paths, Success, count_success, first_solved

#: `(episode, time, environment) -> action (a)`, for policies that need no latents.
HostAct = Callable[[int, int, HostEnvironment], Any]


class _Record:
    """States, distances and whether they solve, of a batch of episodes."""

    def __init__(self, environments: Sequence[HostEnvironment], goals: np.ndarray):
        self.environments, self.goals = environments, goals
        self.rows: list[list[Any]] = []
        self.note()

    def note(self) -> None:
        self.rows.append(
            [
                (world.vector(), world.distance(goal), world.solved(goal))
                for world, goal in zip(self.environments, self.goals, strict=True)
            ]
        )

    def arrays(self) -> list[np.ndarray]:
        return [
            np.array([[row[i][part] for row in self.rows] for i in range(len(self.goals))])
            for part in range(3)
        ]


def _in_batches(
    environments: Sequence[HostEnvironment],
    starts: np.ndarray,
    goals: np.ndarray,
    budget: int,
    run: Callable[[np.ndarray, _Record], None],
) -> tuple[Paths, Bool[np.ndarray, "e"]]:
    """Call `run(episodes, record)` a batch at a time, and gather what it recorded."""
    check_positive("budget", budget)
    if not len(environments) or len(starts) != len(goals):
        raise ValueError(
            f"starts and goals must be equally many, and environments at least one; got "
            f"{len(starts)}, {len(goals)} and {len(environments)}"
        )
    pieces = []
    for first in range(0, len(starts), len(environments)):
        # The last batch begins anew, so that one program plans for all.
        rows = (first + np.arange(len(environments))) % len(starts)
        for world, row in zip(environments, rows, strict=True):
            world.set_state(starts[row])
        record = _Record(environments, goals[rows])
        run(rows, record)
        pieces.append([part[: len(starts) - first, : budget + 1] for part in record.arrays()])
    vectors, distances, solved = (np.concatenate(part) for part in zip(*pieces, strict=True))
    budgets = np.full(len(starts), budget)
    return Paths(vectors, distances, first_solved(solved, budgets)), solved[:, 0]


def run_on_host(
    environments: Sequence[HostEnvironment],
    act: HostAct,
    starts: Float[np.ndarray, "e s"],
    goals: Float[np.ndarray, "e s"],
    *,
    budget: int,
) -> tuple[Paths, Bool[np.ndarray, "e"]]:
    """Let a policy act that sees no frames: at random, staying, or replaying what was recorded.

    Args:
        environments: Simulators, any number of them.
        act: `(episode, time, environment) -> action`.
        starts: States to start from.
        goals: States to reach.
        budget: Actions an episode.

    Returns:
        Where it went, and which starts solve their goal.
    """

    def run(rows, record):
        for time in range(budget):
            for row, world in zip(rows, environments, strict=True):
                world.step(np.asarray(act(int(row), time, world)))
            record.note()

    return _in_batches(environments, starts, goals, budget, run)


def run_agent_on_host(
    key: PRNGKeyArray,
    environments: Sequence[HostEnvironment],
    agent: LatentAgent,
    encode: Encode,
    starts: Float[np.ndarray, "e s"],
    goals: Float[np.ndarray, "e s"],
    *,
    budget: int,
    goal_frames: UInt8[np.ndarray, "e h w c"] | None = None,
) -> tuple[Paths, Bool[np.ndarray, "e"]]:
    """Let an agent act: a batch of episodes in step, whose plans are one program.

    Args:
        key: Random key; every episode has one of its own.
        environments: Simulators, as many as episodes in step.
        agent: Who acts.
        encode: `frames (b, h, w, c) uint8 -> (b, d)`.
        starts: States to start from.
        goals: States to reach.
        budget: Actions an episode.
        goal_frames: Frames of the goals, such as recorded ones; rendered if not given.

    Returns:
        Where it went, and which starts solve their goal.
    """
    keys = episode_keys(key, len(starts))
    look = jax.jit(encode)
    init, act, observe = (jax.jit(jax.vmap(f)) for f in (agent.init, agent.act, agent.observe))
    numbered = jax.jit(jax.vmap(jax.random.fold_in, (0, None)))
    frames_of = [world.render for world in environments]

    def targets(rows):
        if goal_frames is not None:
            return goal_frames[rows]
        frames = []
        for world, row in zip(environments, rows, strict=True):
            world.set_state(goals[row])
            frames.append(world.render())
            world.set_state(starts[row])
        return np.stack(frames)

    def run(rows, record):
        memory = init(look(np.stack([f() for f in frames_of])), look(targets(rows)))
        for number in range(-(-budget // agent.steps)):
            actions, memory = act(numbered(keys[rows], number), memory)
            latents = []
            for time, now in enumerate(np.asarray(actions).swapaxes(0, 1)):
                for world, action in zip(environments, now, strict=True):
                    world.step(action)
                record.note()
                if (time + 1) % agent.block == 0:
                    latents.append(look(np.stack([f() for f in frames_of])))
            memory = observe(memory, actions, jax.numpy.stack(latents, 1))

    return _in_batches(environments, starts, goals, budget, run)


def evaluate_on_host(
    key: PRNGKeyArray,
    environments: Sequence[HostEnvironment],
    agents: Sequence[LatentAgent],
    encode: Encode,
    starts: Float[np.ndarray, "e s"],
    goals: Float[np.ndarray, "e s"],
    *,
    budget: int,
    goal_frames: UInt8[np.ndarray, "e h w c"] | None = None,
    replays: Mapping[str, Float[np.ndarray, "e steps a"]] | None = None,
) -> Success:
    """Compare agents with acting at random, with staying, and with replays, on the same episodes.

    Args:
        key: Random key.
        environments: Simulators, as many as episodes in step.
        agents: Who acts; their names differ.
        encode: `frames (b, h, w, c) uint8 -> (b, d)`.
        starts: States to start from, such as recorded ones.
        goals: States to reach, such as those recorded some steps later.
        budget: Actions an episode.
        goal_frames: Frames of the goals; rendered if not given.
        replays: Actions by name, such as those recorded between start and goal: what an oracle
            does. After their end the policy stays.

    Returns:
        The table and the paths; starts that solve their goal are excluded, and counted.
    """
    world = environments[0]
    low, high = world.action_low, world.action_high
    draws = np.asarray(
        jax.random.uniform(jax.random.fold_in(key, 0), (len(starts), budget, len(low)))
    )
    simple: dict[str, HostAct] = {
        "random": lambda episode, time, world: low + draws[episode, time] * (high - low),
        "stay": lambda episode, time, world: world.stay(),
    }

    def replay(actions):
        def act(episode, time, world):
            return actions[episode, time] if time < actions.shape[1] else world.stay()

        return act

    simple |= {name: replay(actions) for name, actions in (replays or {}).items()}
    found = {
        agent.name: run_agent_on_host(
            jax.random.fold_in(key, 1),
            environments,
            agent,
            encode,
            starts,
            goals,
            budget=budget,
            goal_frames=goal_frames,
        )
        for agent in agents
    }
    found |= {
        name: run_on_host(environments, act, starts, goals, budget=budget)
        for name, act in simple.items()
    }
    already = next(iter(found.values()))[1]
    budgets = np.full(len(starts), budget)
    return Success(
        rows=tuple(
            count_success(name, paths, budgets, ~already) for name, (paths, _) in found.items()
        ),
        already_solved=int(already.sum()),
        unreachable=0,
        counted=~already,
        budgets=budgets,
        goals=goals,
        paths={name: paths for name, (paths, _) in found.items()},
    )
