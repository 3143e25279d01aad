"""Planning in a latent space: planners are pure functions of a key and a cost."""

from lejepa_jax.worldmodels.planning.costs import last_step_cost, path_cost

__all__ = ["last_step_cost", "path_cost"]
