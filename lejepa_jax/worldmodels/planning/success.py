"""How often goals are reached: the same starts and goals for every policy, with intervals."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from lejepa_jax.checks import check_positive
from lejepa_jax.worldmodels.environments.policies import Policy
from lejepa_jax.worldmodels.environments.protocol import Environment, State, episode_keys
from lejepa_jax.worldmodels.environments.rollouts import rollout


def wilson_interval(
    successes: int, trials: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    r"""Compute Wilson's interval of a rate.

    $\frac{1}{1 + z^2/n}\left(\hat p + \frac{z^2}{2n} \pm
    z\sqrt{\frac{\hat p (1 - \hat p)}{n} + \frac{z^2}{4 n^2}}\right)$, which is sound near 0 and 1
    too, where the usual interval has length zero.

    Args:
        successes: Number of successes.
        trials: Number of trials n; without any the interval is [0, 1].
        confidence: Probability that it covers the rate.

    Returns:
        Its ends.

    Raises:
        ValueError: If there are more successes than trials.

    Examples:
        >>> [round(end, 3) for end in wilson_interval(95, 100)]
        [0.888, 0.978]

    References:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be within 0 and {trials} trials, got {successes}")
    if trials == 0:
        return 0.0, 1.0
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    rate, shrink = successes / trials, 1 + z**2 / trials
    center = (rate + z**2 / (2 * trials)) / shrink
    half = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2)) / shrink
    # At its ends the interval is closed exactly, which rounding would spoil.
    return (center - half if successes else 0.0), (center + half if successes < trials else 1.0)


class SuccessRow(NamedTuple):
    """One policy's success; `_asdict()` of it is a row of a table.

    Attributes:
        policy: Who acted.
        rate: Share of the episodes that were solved within their budget, at any step.
        low: Lower end of Wilson's interval of 95 %.
        high: Upper end.
        solved: How many.
        episodes: Of how many, those excluded not counted.
        steps: Median over the solved ones of steps taken, NaN if there is none.
        distance: Mean distance from the goal at the end of the budget, or when solved.
    """

    policy: str
    rate: float
    low: float
    high: float
    solved: int
    episodes: int
    steps: float
    distance: float


class Paths(NamedTuple):
    """Where a policy went, for pictures.

    Attributes:
        vectors: `vector` of every state, all of them from the start on.
        distances: Distances from the goal.
        solved_at: Step at which the goal was reached first, -1 if not within the budget.
    """

    vectors: Float[np.ndarray, "e t s"]
    distances: Float[np.ndarray, "e t"]
    solved_at: Int[np.ndarray, "e"]


class Success(NamedTuple):
    """The table, and what it was made from; everything is on the host.

    Attributes:
        rows: One a policy.
        already_solved: Episodes excluded because their start solves the goal.
        unreachable: Episodes excluded because no path leads to the goal.
        counted: The episodes that the rows count.
        budgets: Actions each may take.
        goals: `vector` of the goals.
        paths: By policy.
    """

    rows: tuple[SuccessRow, ...]
    already_solved: int
    unreachable: int
    counted: Bool[np.ndarray, "e"]
    budgets: Int[np.ndarray, "e"]
    goals: Float[np.ndarray, "e s"]
    paths: Mapping[str, Paths]


def first_solved(
    solved: Bool[np.ndarray, "e t"], budgets: Int[np.ndarray, "e"]
) -> Int[np.ndarray, "e"]:
    """Find the step at which each episode is solved first, success being latched.

    Args:
        solved: Whether a state solves the goal; state i is that after i actions.
        budgets: Number of actions that count.

    Returns:
        The step, -1 if there is none within the budget.

    Examples:
        >>> first_solved(np.array([[0, 1, 0], [0, 0, 1]], bool), np.array([2, 1]))
        array([ 1, -1])
    """
    solved = solved & (np.arange(solved.shape[1])[None] <= budgets[:, None])
    return np.where(solved.any(1), solved.argmax(1), -1)


def count_success(
    policy: str, paths: Paths, budgets: Int[np.ndarray, "e"], counted: Bool[np.ndarray, "e"]
) -> SuccessRow:
    """Count the successes of a policy.

    Args:
        policy: Its name.
        paths: Where it went.
        budgets: Actions each episode may take.
        counted: Which episodes count.

    Returns:
        A row of the table.
    """
    reached = paths.solved_at >= 0
    solved, episodes = int((reached & counted).sum()), int(counted.sum())
    low, high = wilson_interval(solved, episodes)
    ends = np.where(reached, paths.solved_at, budgets)
    final = np.take_along_axis(paths.distances, ends[:, None], 1)[:, 0]
    steps = paths.solved_at[reached & counted]
    return SuccessRow(
        policy=policy,
        rate=solved / episodes if episodes else math.nan,
        low=low,
        high=high,
        solved=solved,
        episodes=episodes,
        steps=float(np.median(steps)) if solved else math.nan,
        distance=float(final[counted].mean()) if episodes else math.nan,
    )


class Trials(NamedTuple):
    """Starts and goals that policies share.

    Attributes:
        keys: A key an episode.
        states: Starts, stacked.
        goals: Goals, stacked.
        budgets: Actions each may take.
        already_solved: Whether the start solves the goal.
        reachable: Whether a path leads to it.
    """

    keys: Any
    states: State
    goals: State
    budgets: Int[np.ndarray, "e"]
    already_solved: Bool[np.ndarray, "e"]
    reachable: Bool[np.ndarray, "e"]


def draw_trials(
    key: PRNGKeyArray,
    environment: Environment,
    *,
    episodes: int,
    factor: float = 2.0,
    budget: int | None = None,
    **goal_options: Any,
) -> Trials:
    """Draw starts and goals, and what each may take to get there.

    Args:
        key: Random key; episode i is the same however many there are.
        environment: The environment.
        episodes: Number of episodes e.
        factor: Budget in units of the shortest path, where that is known.
        budget: Budget of every episode in its place.
        **goal_options: For `sample_goal`.

    Returns:
        The trials.

    Raises:
        ValueError: If neither a shortest path is known nor a budget given.
    """
    check_positive("episodes", episodes)
    check_positive("factor", factor)
    shortest_steps = environment.shortest_steps
    if shortest_steps is None and budget is None:
        raise ValueError(f"budget must be given: {environment.name} knows no shortest path")

    @jax.jit
    @jax.vmap
    def draw(key):
        start, end, act = (jax.random.fold_in(key, number) for number in range(3))
        state = environment.reset(start)
        goal = environment.sample_goal(end, state, **goal_options)
        least = 0.0 if shortest_steps is None else shortest_steps(state, goal)
        return act, state, goal, least, environment.solved(state, goal)

    keys, states, goals, least, solved = draw(episode_keys(key, episodes))
    least = np.asarray(least, np.float64)
    reachable = np.isfinite(least)
    budgets = np.ceil(factor * np.where(reachable, least, 0)) if budget is None else budget
    budgets = np.broadcast_to(np.maximum(budgets, 1), (episodes,)).astype(np.int64)
    return Trials(keys, states, goals, budgets, np.asarray(solved), reachable)


def run_trials(
    environment: Environment, policy: Policy, trials: Trials, *, batch_size: int = 64
) -> Paths:
    """Let a policy act in all trials, a batch at a time; every batch is one program.

    Args:
        environment: The environment.
        policy: Who acts.
        trials: Starts and goals.
        batch_size: Episodes at once, as many as memory holds.

    Returns:
        Where it went.
    """
    episodes, steps = len(trials.budgets), int(trials.budgets.max())
    batch_size = min(batch_size, episodes)

    @jax.jit
    @jax.vmap
    def run(key, state, goal):
        states, _ = rollout(key, environment, policy, state, goal, steps=steps)
        along = [environment.distance, environment.solved]
        distances, solved = (jax.vmap(measure, (0, None))(states, goal) for measure in along)
        return jax.vmap(environment.vector)(states), distances, solved

    pieces = []
    for first in range(0, episodes, batch_size):
        # The last batch begins anew, so that one program runs them all.
        rows = (first + np.arange(batch_size)) % episodes
        batch = jax.tree.map(lambda x, rows=rows: x[rows], trials[:3])
        piece = jax.device_get(run(*batch))
        pieces.append([array[: episodes - first] for array in piece])
    vectors, distances, solved = (np.concatenate(part) for part in zip(*pieces, strict=True))
    return Paths(vectors, distances, first_solved(solved, trials.budgets))


def evaluate_success(
    key: PRNGKeyArray,
    environment: Environment,
    policies: Sequence[Policy],
    *,
    episodes: int = 200,
    factor: float = 2.0,
    budget: int | None = None,
    batch_size: int = 64,
    **goal_options: Any,
) -> Success:
    """Compare policies on the same starts and goals.

    An episode is solved if any state within its budget is. Starts that solve their goal say
    nothing about a policy: they are excluded, and counted. Give the policies that a planner must
    beat beside it: :func:`~lejepa_jax.worldmodels.environments.policies.random_policy`,
    `stay_policy`, and as a ceiling `expert_policy`.

    Args:
        key: Random key.
        environment: The environment.
        policies: Who acts; their names differ.
        episodes: Number of episodes e.
        factor: Budget in units of the shortest path.
        budget: Budget of every episode in its place.
        batch_size: Episodes at once.
        **goal_options: For `sample_goal`, such as `where="other"`.

    Returns:
        The table and the paths.

    Raises:
        ValueError: If two policies have one name, or there is no budget.

    Examples:
        >>> from lejepa_jax.worldmodels.environments.policies import expert_policy, stay_policy
        >>> from lejepa_jax.worldmodels.environments.rooms import two_room
        >>> world = two_room(image_size=16)
        >>> policies = [stay_policy(world), expert_policy(world)]
        >>> found = evaluate_success(jax.random.key(0), world, policies, episodes=20)
        >>> [(row.policy, row.rate) for row in found.rows]
        [('stay', 0.0), ('oracle', 1.0)]
    """
    names = [policy.name for policy in policies]
    if len(set(names)) != len(names):
        raise ValueError(f"policies must have different names, got {names}")
    trials = draw_trials(
        key, environment, episodes=episodes, factor=factor, budget=budget, **goal_options
    )
    counted = trials.reachable & ~trials.already_solved
    paths = {
        policy.name: run_trials(environment, policy, trials, batch_size=batch_size)
        for policy in policies
    }
    return Success(
        rows=tuple(count_success(name, paths[name], trials.budgets, counted) for name in names),
        already_solved=int(trials.already_solved.sum()),
        unreachable=int((~trials.reachable).sum()),
        counted=counted,
        budgets=trials.budgets,
        goals=np.asarray(jax.vmap(environment.vector)(trials.goals)),
        paths=paths,
    )


def imagined_and_true(
    environment: Environment,
    encode: Any,
    imagine: Any,
    state: State,
    actions: Float[Any, "h ka"],
    *,
    block: int = 1,
) -> tuple[Float[np.ndarray, "h d"], Float[np.ndarray, "h d"], Float[np.ndarray, "h s"]]:
    """Follow a plan in the model and in the environment.

    Args:
        environment: The environment.
        encode: `frames (b, h, w, c) -> (b, d)`.
        imagine: As for :func:`~lejepa_jax.worldmodels.planning.agents.latent_planner`.
        state: Where it starts.
        actions: Blocks of the plan.
        block: Actions k of a block.

    Returns:
        Imagined latents, latents of the frames that really follow, and `vector` of their states.
    """
    latents = encode(environment.render(state)[None])
    imagined = imagine(latents, jnp.zeros((0, actions.shape[1])), actions[None])[0]

    def advance(state, action):
        state = environment.step(state, action)
        return state, state

    _, states = jax.lax.scan(advance, state, actions.reshape(len(actions) * block, -1))
    ends = jax.tree.map(lambda x: x[block - 1 :: block], states)
    true = encode(jax.vmap(environment.render)(ends))
    vectors = jax.vmap(environment.vector)(ends)
    return np.asarray(imagined), np.asarray(true), np.asarray(vectors)
