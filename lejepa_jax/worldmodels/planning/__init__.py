"""Planning in a latent space: planners are pure functions of a key and a cost."""

from lejepa_jax.worldmodels.planning.agents import (
    LatentAgent,
    PlannerMemory,
    agent_policy,
    inverse_dynamics_agent,
    latent_planner,
    receding_horizon,
)
from lejepa_jax.worldmodels.planning.costs import last_step_cost, path_cost
from lejepa_jax.worldmodels.planning.cross_entropy import cem, colored_basis, icem
from lejepa_jax.worldmodels.planning.drawing import draw_paths, draw_scene
from lejepa_jax.worldmodels.planning.gradient import gradient_plan
from lejepa_jax.worldmodels.planning.host import (
    evaluate_on_host,
    run_agent_on_host,
    run_on_host,
)
from lejepa_jax.worldmodels.planning.path_integral import mppi
from lejepa_jax.worldmodels.planning.plans import Plan, Planner, shift_plan
from lejepa_jax.worldmodels.planning.success import (
    Paths,
    Success,
    SuccessRow,
    Trials,
    count_success,
    draw_trials,
    evaluate_success,
    first_solved,
    imagined_and_true,
    run_trials,
    wilson_interval,
)

__all__ = [
    "LatentAgent",
    "Paths",
    "Plan",
    "Planner",
    "PlannerMemory",
    "Success",
    "SuccessRow",
    "Trials",
    "agent_policy",
    "cem",
    "colored_basis",
    "count_success",
    "draw_paths",
    "draw_scene",
    "draw_trials",
    "evaluate_on_host",
    "evaluate_success",
    "first_solved",
    "gradient_plan",
    "icem",
    "imagined_and_true",
    "inverse_dynamics_agent",
    "last_step_cost",
    "latent_planner",
    "mppi",
    "path_cost",
    "receding_horizon",
    "run_agent_on_host",
    "run_on_host",
    "run_trials",
    "shift_plan",
    "wilson_interval",
]
