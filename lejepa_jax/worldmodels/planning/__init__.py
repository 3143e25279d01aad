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
from lejepa_jax.worldmodels.planning.gradient import gradient_plan
from lejepa_jax.worldmodels.planning.path_integral import mppi
from lejepa_jax.worldmodels.planning.plans import Plan, Planner, shift_plan

__all__ = [
    "LatentAgent",
    "Plan",
    "Planner",
    "PlannerMemory",
    "agent_policy",
    "cem",
    "colored_basis",
    "gradient_plan",
    "icem",
    "inverse_dynamics_agent",
    "last_step_cost",
    "latent_planner",
    "mppi",
    "path_cost",
    "receding_horizon",
    "shift_plan",
]
