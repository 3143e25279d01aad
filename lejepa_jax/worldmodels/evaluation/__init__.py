"""What is measured of a world model: probes, imagined paths, surprise, and goals reached."""

from lejepa_jax.worldmodels.evaluation.acting import evaluate_acting, model_agent, model_policy
from lejepa_jax.worldmodels.evaluation.acting_on_host import check_units, evaluate_acting_on_host
from lejepa_jax.worldmodels.evaluation.evaluators import world_model_evaluators
from lejepa_jax.worldmodels.evaluation.imagination import evaluate_imagination
from lejepa_jax.worldmodels.evaluation.probes import r2_scores, ridge_predict

__all__ = [
    "check_units",
    "evaluate_acting",
    "evaluate_acting_on_host",
    "evaluate_imagination",
    "model_agent",
    "model_policy",
    "r2_scores",
    "ridge_predict",
    "world_model_evaluators",
]
